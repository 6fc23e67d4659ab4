//! From the text of blocks, receipts and traces to the tables of a run.

use std::collections::BTreeMap;
use std::fmt::Display;

use arrow::error::ArrowError;
use highwater_engine::model::evm;
use highwater_engine::model::{BlockHash, BlockRef, BlockRun};
use highwater_engine::source::{ReadRequest, SourceError};

use super::decode::Feeds;
use super::decode::called::CalledPool;
use super::decode::transaction::LogReader;
use super::field::{Fault, Field};
use super::json::reader::Json;
use super::json::{self, Block, Log, PoolAnswer, Receipt, TraceItem, Transaction};
use super::tables::{self, Place, RECEIPT_COLUMNS, TABLES, Table, decoded, transactions};
use super::traces::{self, TraceRow};
use super::validate::{self, Violation};
use super::verify::{Level, Unchecked, Verified, Verifier};
use crate::columns::{Column, TableBuilder};

pub use super::decode::transaction::SkippedLogs;

/// How blocks are taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestSettings {
    /// Value of the column `chain`.
    pub chain: String,
    /// Value of the column `chain_id`.
    pub chain_id: u64,
    /// Whether every block must pass [`super::validate`]. Without, a value that cannot be read becomes
    /// NULL where its column allows that.
    pub validate: bool,
    /// Which hashes are recomputed. The bloom filter counts only with `validate`.
    pub verify: Level,
    /// Factories of pools to be trusted besides those known, by their addresses.
    pub factories: Vec<[u8; 20]>,
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            chain: "ethereum".to_owned(),
            chain_id: 1,
            validate: true,
            verify: Level::default(),
            factories: Vec::new(),
        }
    }
}

/// What has to be read for the wanted columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Receipts: logs, token transfers, or a column of `transactions` that only they know.
    pub receipts: bool,
    /// Traces.
    pub traces: bool,
}

/// One block with what was read along with it.
#[derive(Clone, Debug, Default)]
pub struct BlockData<'a> {
    /// The block with its transactions.
    pub block: Block<'a>,
    /// Its receipts, if they were read.
    pub receipts: Option<Vec<Receipt<'a>>>,
    /// Its traces, if they were read.
    pub traces: Option<Vec<TraceItem<'a>>>,
    /// What a node answered about its pools.
    pub(crate) pools: Vec<PoolAnswer<'a>>,
}

/// Collects blocks and turns them into the tables of a [`BlockRun`].
///
/// ```
/// use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
/// use highwater_engine::source::{ReadRequest, TableRequest};
///
/// let tables = vec![TableRequest { name: "blocks".into(), columns: vec![2, 8] }];
/// let request = ReadRequest { tables, ..ReadRequest::default() };
/// let mut ingest = EvmIngest::new(&request, IngestSettings { validate: false, ..IngestSettings::default() })?;
/// let hash = format!("0x{}", "11".repeat(32));
/// let text = format!(r#"{{"number":"0x5","hash":"{hash}","parentHash":"{hash}","timestamp":"0x10","gasUsed":"0x7"}}"#);
/// ingest.push(&"example", &text, None, None)?;
/// let run = ingest.finish()?;
/// assert_eq!(run.blocks[0].number, 5);
/// assert_eq!(run.tables[0].batch.num_rows(), 1);
/// # Ok::<(), highwater_engine::source::SourceError>(())
/// ```
pub struct EvmIngest {
    settings: IngestSettings,
    tables: Vec<(Table, TableBuilder)>,
    blocks: Vec<BlockRef>,
    verifier: Verifier,
    /// What could not be verified lately, of how many blocks, and the first reason.
    unverified: Option<SkippedLogs>,
    needs: Needs,
    logs: LogReader,
}

fn internal(source: ArrowError) -> SourceError {
    SourceError::Read { action: "building", place: "the tables of a block".to_owned(), source: source.into() }
}

impl EvmIngest {
    /// An ingest for the wanted tables and columns.
    ///
    /// # Errors
    /// A table or column that EVM sources do not have.
    pub fn new(request: &ReadRequest, settings: IngestSettings) -> Result<EvmIngest, SourceError> {
        let mut ingest = EvmIngest {
            settings,
            tables: Vec::with_capacity(request.tables.len()),
            blocks: Vec::new(),
            verifier: Verifier::default(),
            unverified: None,
            needs: Needs::default(),
            logs: LogReader::default(),
        };
        let mut feeds = Feeds::NONE;
        for wanted in &request.tables {
            let table = TABLES.iter().find(|(name, _)| *name == wanted.name);
            let (Some((_, table)), Some(schema)) = (table, evm::schema(&wanted.name)) else {
                let detail = format!("there is no table {}", wanted.name);
                return Err(SourceError::Malformed { place: "an EVM source".to_owned(), detail });
            };
            let mut builder = TableBuilder::new(&schema, &wanted.columns).map_err(internal)?;
            if !ingest.settings.validate {
                builder.columns.iter_mut().for_each(Column::be_lenient);
            }
            match table {
                Table::Logs => ingest.needs.receipts = true,
                Table::Decoded(table) => {
                    ingest.needs.receipts = true;
                    feeds = feeds.and(*table);
                }
                Table::Traces => ingest.needs.traces = true,
                Table::Transactions => {
                    ingest.needs.receipts |=
                        builder.columns.iter().any(|column| RECEIPT_COLUMNS.contains(&column.name()));
                }
                Table::Blocks => {}
            }
            ingest.tables.push((*table, builder));
        }
        ingest.logs = LogReader::new(feeds, ingest.settings.factories.clone());
        Ok(ingest)
    }

    /// What must be given to [`EvmIngest::push`] for the wanted columns.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The block taken in last, unless [`EvmIngest::finish`] was called since.
    pub fn last_block(&self) -> Option<BlockRef> {
        self.blocks.last().copied()
    }

    /// Takes in one block from JSON text; `place` says where the text came from.
    ///
    /// Receipts and traces are looked at only if [`EvmIngest::needs`] says so.
    ///
    /// # Errors
    /// Text that is not the JSON of a block, or a broken rule. The block is then left out altogether.
    pub fn push(
        &mut self,
        place: &dyn Display,
        block: &str,
        receipts: Option<&str>,
        traces: Option<&str>,
    ) -> Result<BlockRef, SourceError> {
        self.push_told(place, [Some(block), receipts, traces, None])
    }

    /// The same for the texts of block, receipts, traces, and what a node answered about the block's pools.
    pub(crate) fn push_told(
        &mut self,
        place: &dyn Display,
        [block, receipts, traces, pools]: [Option<&str>; 4],
    ) -> Result<BlockRef, SourceError> {
        let receipts = receipts.filter(|_| self.needs.receipts);
        let traces = traces.filter(|_| self.needs.traces);
        let data = BlockData {
            block: parse(place, "the block", block.unwrap_or_default())?,
            receipts: receipts.map(|text| parse(place, "the receipts", text)).transpose()?,
            traces: traces.map(|text| parse(place, "the traces", text)).transpose()?,
            pools: pools.map(|text| parse(place, "the pools", text)).transpose()?.unwrap_or_default(),
        };
        self.push_data(place, data)
    }

    /// Takes in one block that was read already.
    ///
    /// # Errors
    /// A broken rule. The block is then left out altogether.
    pub fn push_data(&mut self, place: &dyn Display, data: BlockData<'_>) -> Result<BlockRef, SourceError> {
        let blocks = self.blocks.len();
        let block = data.block.clone_header();
        let added = self.add(data);
        added.map_err(|violation| {
            for (_, table) in &mut self.tables {
                table.truncate(blocks);
            }
            self.blocks.truncate(blocks);
            invalid(place, &block, violation)
        })
    }

    /// Everything taken in since the last call, as one run.
    ///
    /// # Errors
    /// Only if Arrow refuses a column, which would be a bug.
    pub fn finish(&mut self) -> Result<BlockRun, SourceError> {
        let tables = self.tables.iter_mut().map(|(_, table)| table.finish());
        let tables = tables.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        Ok(BlockRun { blocks: std::mem::take(&mut self.blocks), tables })
    }

    /// The logs skipped since the last call; else the blocks whose hashes could not all be recomputed.
    pub fn take_skipped(&mut self) -> Option<SkippedLogs> {
        self.logs.take_skipped().or_else(|| self.unverified.take())
    }

    fn note(&mut self, block: &BlockRef, verified: Verified) {
        let Verified::Partly(unchecked) = verified else { return };
        let Some(Unchecked { rule, reason }) = unchecked.into_iter().next() else { return };
        let first = || SkippedLogs {
            count: 0,
            reason: format!("block {} was not wholly verified: no {rule}, because {reason}", block.number),
        };
        self.unverified.get_or_insert_with(first).count += 1;
    }

    fn add(&mut self, data: BlockData<'_>) -> Result<BlockRef, Violation> {
        let block = block_ref(&data.block)?;
        if self.settings.validate {
            validate::check(&data.block, data.receipts.as_deref(), data.traces.as_deref())?;
        }
        let level = self.settings.verify;
        if self.settings.validate || level == Level::Roots {
            let verified = self.verifier.check(&data.block, data.receipts.as_deref(), level)?;
            self.note(&block, verified);
        }
        self.fill(&block, data)?;
        self.blocks.push(block);
        Ok(block)
    }

    fn fill(&mut self, block: &BlockRef, data: BlockData<'_>) -> Result<(), Violation> {
        let receipts = data.receipts.as_deref().unwrap_or_default();
        let rows = transaction_rows(&data.block.transactions, receipts);
        let ordered = receipts_in_order(receipts);
        let logs: Vec<&Log<'_>> = ordered.iter().flat_map(|receipt| &receipt.logs).collect();
        let answers = data.pools.iter().map(CalledPool::read).collect::<Result<Vec<_>, _>>();
        let answers = answers.map_err(|fault| Violation::of(fault, "an answer about a pool"))?;
        self.logs.read_with(ordered.iter().copied(), &answers);
        let mut trace_items = data.traces;
        let place = Place { chain: &self.settings.chain, chain_id: self.settings.chain_id, block };
        for (table, builder) in &mut self.tables {
            match table {
                Table::Blocks => fill_table(builder, place, 1, |column| tables::blocks::fill(column, &data.block))?,
                Table::Transactions => {
                    fill_table(builder, place, rows.len(), |column| transactions::fill(column, &rows))?;
                }
                Table::Logs => fill_table(builder, place, logs.len(), |column| tables::logs::fill(column, &logs))?,
                Table::Decoded(table) => {
                    let rows = self.logs.decoded();
                    let count = decoded::count(rows, *table);
                    fill_table(builder, place, count, |column| decoded::fill(column, rows, *table, &ordered))?;
                }
                Table::Traces => {
                    let traces: Vec<TraceRow<'_>> = traces::flatten(trace_items.take().unwrap_or_default());
                    fill_table(builder, place, traces.len(), |column| tables::traces::fill(column, &traces))?;
                }
            }
        }
        Ok(())
    }
}

/// Reads JSON, with the place and the position in the text in the error.
pub(crate) fn parse<'a, T: Json<'a>>(place: &dyn Display, what: &str, text: &'a str) -> Result<T, SourceError> {
    json::reader::from_str(text).map_err(|error| SourceError::Malformed {
        place: place.to_string(),
        detail: format!("{what} cannot be read: {error}"),
    })
}

/// The place of a block in its chain.
pub(crate) fn block_ref(block: &Block<'_>) -> Result<BlockRef, Violation> {
    let hash = |field: Field<'_>, name| field.fixed().map(BlockHash).map_err(|fault| Violation::of(fault, name));
    let seconds = block.timestamp.u64().map_err(|fault| Violation::of(fault, "block timestamp"))?;
    let timestamp_ms = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1000))
        .ok_or_else(|| Violation::of(Fault::TooLarge, "block timestamp"))?;
    Ok(BlockRef {
        number: block.number.i64().and(block.number.u64()).map_err(|fault| Violation::of(fault, "block number"))?,
        hash: hash(block.hash, "block hash")?,
        parent: hash(block.parent_hash, "block parentHash")?,
        timestamp_ms,
    })
}

struct Header {
    number: u64,
    hash: String,
}

impl Block<'_> {
    /// What an error says about the block, as far as it can be read.
    fn clone_header(&self) -> Header {
        let hash = self.hash.fixed().map_or_else(|_| "unknown hash".to_owned(), |hash| BlockHash(hash).to_string());
        Header { number: self.number.u64().unwrap_or(0), hash }
    }
}

fn invalid(place: &dyn Display, header: &Header, violation: Violation) -> SourceError {
    SourceError::InvalidBlock {
        place: place.to_string(),
        number: header.number,
        hash: header.hash.clone(),
        rule: violation.rule,
        detail: violation.detail,
    }
}

fn fill_table(
    builder: &mut TableBuilder,
    place: Place<'_>,
    rows: usize,
    fill: impl Fn(&mut Column) -> Result<(), Fault>,
) -> Result<(), Violation> {
    for column in &mut builder.columns {
        let filled = tables::fill_common(column, place, rows);
        let filled = filled.and_then(|common| if common { Ok(()) } else { fill(column) });
        filled.map_err(|fault| Violation::of(fault, column.name()))?;
    }
    builder.end_block(rows);
    Ok(())
}

/// The receipt of each transaction, found by index; nodes list both in order, so the search is rare.
pub(crate) fn receipts_by_transaction<'b, 'a>(
    transactions: &[Transaction<'a>],
    receipts: &'b [Receipt<'a>],
) -> Vec<Option<&'b Receipt<'a>>> {
    let in_order = transactions.len() == receipts.len()
        && transactions.iter().zip(receipts).all(|(tx, receipt)| tx.transaction_index == receipt.transaction_index);
    if in_order {
        return receipts.iter().map(Some).collect();
    }
    let mut by_index = BTreeMap::new();
    for receipt in receipts {
        if let Ok(index) = receipt.transaction_index.u64() {
            by_index.entry(index).or_insert(receipt);
        }
    }
    let find = |tx: &Transaction<'a>| tx.transaction_index.u64().ok().and_then(|index| by_index.get(&index).copied());
    transactions.iter().map(find).collect()
}

fn transaction_rows<'b, 'a>(
    transactions: &'b [Transaction<'a>],
    receipts: &'b [Receipt<'a>],
) -> Vec<transactions::Row<'b, 'a>> {
    let mut rows: Vec<_> = transactions.iter().zip(receipts_by_transaction(transactions, receipts)).collect();
    sort_by_index(&mut rows, |(tx, _)| tx.transaction_index);
    rows
}

pub(crate) fn receipts_in_order<'b, 'a>(receipts: &'b [Receipt<'a>]) -> Vec<&'b Receipt<'a>> {
    let mut ordered: Vec<_> = receipts.iter().collect();
    sort_by_index(&mut ordered, |receipt| receipt.transaction_index);
    ordered
}

/// Brings rows into the order of the block; what has no index stays where it is among its likes, last.
fn sort_by_index<T>(rows: &mut [T], index: impl Fn(&T) -> Field<'_>) {
    let key = |row: &T| index(row).u64().unwrap_or(u64::MAX);
    if !rows.is_sorted_by_key(key) {
        rows.sort_by_key(key);
    }
}
