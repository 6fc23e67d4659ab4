//! Hands the simulated chain over as if it were read.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bloom};
use arrow::error::ArrowError;
use highwater_engine::model::{BlockHash, BlockRef, BlockRun};
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader, TableRequest};

use super::block::{self, SimBlock, SimTransaction};
use super::market::World;
use super::options::Settings;
use super::plan::{Plan, Planned};
use super::truth;
use crate::columns::TableBuilder;
use crate::evm::field::Field;
use crate::evm::ingest::{BlockData, EvmIngest, IngestSettings, Needs};
use crate::evm::json::{Block, Log, Receipt, Topics, Transaction};
use crate::evm::tables::Place;
use crate::evm::validate::Violation;
use crate::range::BlockRange;

/// The longest wait of one call of [`SourceReader::next`].
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Where a wanted table is made.
enum Made {
    /// By the ingest of EVM tables.
    Chain,
    /// Here, from what was planted.
    Truth(&'static str, TableBuilder),
}

/// Delivers one step of the plan a run.
pub(super) struct SimulatorReader {
    settings: Settings,
    world: World,
    plan: Plan,
    ingest: EvmIngest,
    made: Vec<Made>,
    with_bloom: bool,
    range: BlockRange,
    wait: Duration,
}

fn internal(source: ArrowError) -> SourceError {
    SourceError::Read { action: "building", place: "the tables of a block".to_owned(), source: source.into() }
}

impl SimulatorReader {
    pub(super) fn start(settings: Settings, request: &ReadRequest) -> Result<SimulatorReader, SourceError> {
        let mut made = Vec::with_capacity(request.tables.len());
        let mut chain: Vec<TableRequest> = Vec::new();
        for wanted in &request.tables {
            match truth::tables().iter().find(|(name, _)| *name == wanted.name) {
                Some((name, schema)) => {
                    made.push(Made::Truth(name, TableBuilder::new(schema, &wanted.columns).map_err(internal)?));
                }
                None => {
                    made.push(Made::Chain);
                    chain.push(wanted.clone());
                }
            }
        }
        let bloom =
            highwater_engine::model::evm::schema("blocks").and_then(|blocks| blocks.index_of("logs_bloom").ok());
        let with_bloom = chain
            .iter()
            .any(|wanted| wanted.name == "blocks" && bloom.is_some_and(|bloom| wanted.columns.contains(&bloom)));
        // What is made here agrees with itself; the tests hold that with the rules switched on.
        let ingest_settings = IngestSettings {
            chain: settings.chain.clone(),
            chain_id: settings.chain_id,
            validate: false,
            ..IngestSettings::default()
        };
        let ingest = EvmIngest::new(&ReadRequest { tables: chain, ..ReadRequest::default() }, ingest_settings)?;
        let mut plan = Plan::new();
        while plan.step() < request.resume.unwrap_or(0) && plan.next(&settings).is_some() {}
        let world = World::new(settings.seed);
        let range = BlockRange::of(request);
        Ok(SimulatorReader { settings, world, plan, ingest, made, with_bloom, range, wait: Duration::ZERO })
    }

    fn make_run(&mut self, planned: Vec<Planned>) -> Result<BlockRun, SourceError> {
        let Needs { receipts, .. } = self.ingest.needs();
        for planned in planned {
            let block = block::make(&self.settings, &self.world, planned);
            let names = Names::new(&block, &self.settings, self.with_bloom);
            let reference = names.reference;
            let data = names.data(&block, receipts);
            self.ingest.push_data(&"the simulator", data)?;
            self.add_truth(&block, &reference)?;
        }
        let chain = self.ingest.finish()?;
        let mut chain_tables = chain.tables.into_iter();
        let mut tables = Vec::with_capacity(self.made.len());
        for made in &mut self.made {
            tables.push(match made {
                Made::Chain => chain_tables.next().expect("the ingest makes every table that is not made here"),
                Made::Truth(_, builder) => builder.finish().map_err(internal)?,
            });
        }
        Ok(BlockRun { blocks: chain.blocks, tables })
    }

    fn add_truth(&mut self, block: &SimBlock, reference: &BlockRef) -> Result<(), SourceError> {
        let place = Place { chain: &self.settings.chain, chain_id: self.settings.chain_id, block: reference };
        for made in &mut self.made {
            let Made::Truth(name, builder) = made else { continue };
            truth::fill(builder, name, place, block).map_err(|fault| {
                let Violation { rule, detail } = Violation::of(fault, name);
                SourceError::InvalidBlock {
                    place: "the simulator".to_owned(),
                    number: reference.number,
                    hash: reference.hash.to_string(),
                    rule,
                    detail,
                }
            })?;
        }
        Ok(())
    }
}

impl SourceReader for SimulatorReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if !self.wait.is_zero() {
            let now = self.wait.min(LONGEST_WAIT);
            std::thread::sleep(now);
            self.wait -= now;
            return Ok(SourceEvent::Idle);
        }
        loop {
            let before = self.plan.step();
            let Some(mut planned) = self.plan.next(&self.settings) else { return Ok(SourceEvent::End) };
            // A step that reaches over the end of the range is made again when the run goes on later.
            let reaches_over = planned.last().is_some_and(|block| block.number > self.range.to);
            let cursor = if reaches_over { before } else { self.plan.step() };
            planned.retain(|block| self.range.contains(block.number));
            let Some(last) = planned.last() else {
                // A reorg never reaches deeper than this below a block that is not wanted any more.
                let settled = planned_past(&self.plan, &self.settings, self.range);
                if settled {
                    return Ok(SourceEvent::End);
                }
                continue;
            };
            let finalized = last.number.checked_sub(self.settings.confirmations);
            if let Some(pace) = self.settings.pace {
                self.wait = pace;
            }
            let mut run = self.make_run(planned)?;
            for block in &mut run.blocks {
                if block.number == self.range.from && self.range.from > 0 {
                    // Both branches of a reorg that began below the first wanted block start there, so
                    // they need one parent.
                    block.parent = BlockHash::default();
                }
            }
            return Ok(SourceEvent::Blocks { run, cursor, finalized });
        }
    }
}

/// Whether no later step can touch the wanted range.
fn planned_past(plan: &Plan, settings: &Settings, range: BlockRange) -> bool {
    plan.head() > range.to.saturating_add(settings.reorg_depth)
}

/// What a block's values are borrowed from, beside the block itself.
struct Names {
    reference: BlockRef,
    bloom: Option<Bloom>,
    gas_used: u64,
    cumulative: Vec<u64>,
}

impl Names {
    fn new(block: &SimBlock, settings: &Settings, with_bloom: bool) -> Names {
        let bloom = with_bloom.then(|| {
            let mut bloom = Bloom::ZERO;
            for log in block.transactions.iter().flat_map(|tx| &tx.logs) {
                let topics: Vec<B256> = log.topics.iter().map(|topic| B256::from(*topic)).collect();
                bloom.accrue_raw_log(Address::from(log.address), &topics);
            }
            bloom
        });
        let mut gas_used = 0;
        let cumulative = block.transactions.iter().map(|tx| {
            gas_used += tx.gas_used;
            gas_used
        });
        let cumulative = cumulative.collect();
        let timestamp_ms = i64::try_from(block.timestamp.saturating_mul(1000)).unwrap_or(i64::MAX);
        let reference = BlockRef {
            number: block.planned.number,
            hash: block.planned.hash(settings.seed),
            parent: block.planned.parent_hash(settings.seed),
            timestamp_ms,
        };
        Names { reference, bloom, gas_used, cumulative }
    }

    fn data<'a>(&'a self, block: &'a SimBlock, with_receipts: bool) -> BlockData<'a> {
        let transactions = (0u64..).zip(&block.transactions);
        let mut next_log = 0;
        let receipts = with_receipts.then(|| {
            let receipts = transactions.clone().zip(&self.cumulative);
            receipts.map(|((index, tx), gas)| self.receipt(block, tx, index, *gas, &mut next_log)).collect()
        });
        let block = Block {
            number: Field::Number(self.reference.number),
            hash: Field::Bytes(&self.reference.hash.0),
            parent_hash: Field::Bytes(&self.reference.parent.0),
            timestamp: Field::Number(block.timestamp),
            miner: Field::Bytes(&block.miner),
            gas_limit: Field::Number(self.gas_used.max(30_000_000)),
            gas_used: Field::Number(self.gas_used),
            base_fee_per_gas: Field::Number(block.base_fee),
            extra_data: Field::Bytes(b"simulated"),
            logs_bloom: self.bloom.as_ref().map_or(Field::Absent, |bloom| Field::Bytes(&bloom.0.0)),
            transactions: transactions.map(|(index, tx)| self.transaction(block, tx, index)).collect(),
            ..Block::default()
        };
        BlockData { block, receipts, ..BlockData::default() }
    }

    fn transaction<'a>(&'a self, block: &SimBlock, tx: &'a SimTransaction, index: u64) -> Transaction<'a> {
        Transaction {
            hash: Field::Bytes(&tx.hash),
            block_hash: Field::Bytes(&self.reference.hash.0),
            block_number: Field::Number(self.reference.number),
            transaction_index: Field::Number(index),
            nonce: Field::Number(tx.nonce),
            from: Field::Bytes(&tx.from),
            to: Field::Bytes(&tx.to),
            value: Field::Bytes(&tx.value),
            input: Field::Bytes(&tx.input),
            gas: Field::Number(tx.gas_limit),
            gas_price: Field::Number(block.base_fee + tx.tip),
            max_fee_per_gas: Field::Number(2 * block.base_fee + tx.tip),
            max_priority_fee_per_gas: Field::Number(tx.tip),
            transaction_type: Field::Number(2),
            ..Transaction::default()
        }
    }

    fn receipt<'a>(
        &'a self,
        block: &SimBlock,
        tx: &'a SimTransaction,
        index: u64,
        cumulative: u64,
        next_log: &mut u64,
    ) -> Receipt<'a> {
        let logs = tx.logs.iter().map(|log| {
            let mut topics = [Field::Absent; 4];
            for (slot, topic) in topics.iter_mut().zip(&log.topics) {
                *slot = Field::Bytes(topic);
            }
            let log_index = *next_log;
            *next_log += 1;
            Log {
                address: Field::Bytes(&log.address),
                topics: Topics::new(&topics[..log.topics.len()]),
                data: Field::Bytes(&log.data),
                block_hash: Field::Bytes(&self.reference.hash.0),
                block_number: Field::Number(self.reference.number),
                transaction_hash: Field::Bytes(&tx.hash),
                transaction_index: Field::Number(index),
                log_index: Field::Number(log_index),
            }
        });
        Receipt {
            logs: logs.collect(),
            transaction_hash: Field::Bytes(&tx.hash),
            transaction_index: Field::Number(index),
            block_hash: Field::Bytes(&self.reference.hash.0),
            block_number: Field::Number(self.reference.number),
            from: Field::Bytes(&tx.from),
            to: Field::Bytes(&tx.to),
            cumulative_gas_used: Field::Number(cumulative),
            gas_used: Field::Number(tx.gas_used),
            effective_gas_price: Field::Number(block.base_fee + tx.tip),
            status: Field::Number(u64::from(tx.success)),
            ..Receipt::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_engine::model::evm;
    use highwater_engine::options::Options;

    use super::*;

    #[test]
    fn simulated_blocks_pass_every_rule() {
        let given = [("sandwich_rate", "1"), ("arbitrage_rate", "1"), ("transactions_per_block", "20")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let settings = Settings::read(Options::new("the test", "/", given)).unwrap();
        let tables = evm::tables().iter().filter(|table| table.name != "traces").map(|table| TableRequest {
            name: table.name.to_owned(),
            columns: (0..table.schema.fields().len()).collect(),
        });
        let tables: Vec<_> = tables.collect();
        let request = ReadRequest { tables: tables.clone(), ..ReadRequest::default() };
        let mut ingest = EvmIngest::new(&request, IngestSettings::default()).unwrap();
        let (world, mut plan) = (World::new(settings.seed), Plan::new());
        for planned in std::iter::from_fn(|| plan.next(&settings)).take(5).flatten() {
            let block = block::make(&settings, &world, planned);
            let names = Names::new(&block, &settings, true);
            ingest.push_data(&"the test", names.data(&block, true)).unwrap();
        }
        assert!(ingest.take_skipped().is_none());
        let run = ingest.finish().unwrap();
        // The simulator has pools and trades, and nothing else that logs tell.
        let made = tables.iter().zip(&run.tables).filter(|(_, rows)| rows.batch.num_rows() > 0);
        let made: Vec<_> = made.map(|(table, _)| table.name.as_str()).collect();
        assert_eq!(made, ["blocks", "transactions", "logs", "token_transfers", "dex_swaps"]);
    }
}
