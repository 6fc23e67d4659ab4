//! What rule J1 remembers of the blocks before, where positions may live longer than one block.
//!
//! Of each block: the mints whose burn has not come in it, what their transactions paid, the trades of pools
//! that hold an open mint, and which earlier mints had their burn in it. The last makes a burn's mint used for
//! good, and open again when a reorg takes the burn's block away.

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::evm;
use highwater_engine::operator::StateSize;
use highwater_engine::rows::RowCodec;

use super::MevSettings;
use super::columns::{TRADE_COLUMNS, Trades};
use super::costs::{Costs, Paid};
use super::dex_trades;
use super::jit_rule::{Changes, Found, LIQUIDITY_EVENTS, MintPlace, View};
use super::recent_blocks::RecentBlocks;
use crate::codec::{Decoder, Encode, Truncated, mismatch};
use crate::rows::{Loaded, Saved};

/// What one block told.
pub(super) struct Remembered {
    mints: RecordBatch,
    /// What the transaction of each mint paid.
    paid: Vec<Paid>,
    trades: RecordBatch,
    /// Mints of blocks before that had their burn in the block.
    used: Vec<MintPlace>,
}

/// The blocks that the next one looks back at.
pub(super) struct JitMemory {
    recent: RecentBlocks<Remembered>,
    trade_codec: RowCodec,
    change_codec: RowCodec,
}

/// The rows of a block after those of the blocks it looks back at.
pub(super) struct Rows {
    pub(super) trades: RecordBatch,
    pub(super) changes: RecordBatch,
    trade_blocks: Vec<u64>,
    change_blocks: Vec<u64>,
    used: Vec<MintPlace>,
    number: u64,
    /// What the transactions of the remembered mints paid; they are the first changes.
    pub(super) paid: Vec<Paid>,
}

impl Rows {
    /// For the rule.
    pub(super) fn view<'a>(&'a self, settings: &'a MevSettings) -> View<'a> {
        View {
            settings,
            trades: Trades::of(&self.trades),
            changes: Changes::of(&self.changes),
            trade_blocks: self.trade_blocks.clone(),
            change_blocks: self.change_blocks.clone(),
            used: self.used.clone(),
        }
    }
}

const NAME: &str = "jit_liquidity";
const SHAPE: &str = "1: mints, trades, used mints by block";

/// What a row of the saved batch is.
const MINT: i64 = 0;
const TRADE: i64 = 1;
const USED: i64 = 2;

fn codec(schema: &SchemaRef, names: &[&str]) -> RowCodec {
    let places: Vec<usize> = names.iter().map(|name| schema.index_of(name).expect("a column of the table")).collect();
    RowCodec::new(schema, &places).expect("columns of chain tables can be encoded")
}

fn picked(batch: &RecordBatch, schema: &SchemaRef, rows: &[usize]) -> RecordBatch {
    let rows = rows.iter().map(|row| u32::try_from(*row).expect("the rows of a few blocks fit"));
    let taken = take_record_batch(batch, &UInt32Array::from_iter_values(rows)).expect("rows of the batch");
    RecordBatch::try_new(schema.clone(), taken.columns().to_vec()).expect("the columns are those of the table")
}

impl JitMemory {
    /// An empty memory for positions that live at most so many blocks, the first and the last counted.
    pub(super) fn new(blocks: u64) -> JitMemory {
        let changes = evm::schema(LIQUIDITY_EVENTS.name).expect("the engine defines liquidity_events");
        JitMemory {
            recent: RecentBlocks::new(blocks.saturating_sub(1)),
            trade_codec: codec(&(dex_trades::RELATION.schema)(), TRADE_COLUMNS),
            change_codec: codec(&changes, LIQUIDITY_EVENTS.columns),
        }
    }

    /// The rows of a block with those that it looks back at.
    pub(super) fn with_earlier(&self, number: u64, trades: &RecordBatch, changes: &RecordBatch) -> Rows {
        let earlier = || self.recent.before(number);
        let heights = |rows: fn(&Remembered) -> usize, own: usize| {
            let of = |(number, told): (u64, &Remembered)| std::iter::repeat_n(number, rows(told));
            earlier().flat_map(of).chain(std::iter::repeat_n(number, own)).collect()
        };
        let mut used: Vec<MintPlace> = earlier().flat_map(|(_, told)| told.used.iter().copied()).collect();
        used.sort_unstable();
        Rows {
            trade_blocks: heights(|told| told.trades.num_rows(), trades.num_rows()),
            change_blocks: heights(|told| told.mints.num_rows(), changes.num_rows()),
            trades: joined(earlier().map(|(_, told)| &told.trades), trades),
            changes: joined(earlier().map(|(_, told)| &told.mints), changes),
            paid: earlier().flat_map(|(_, told)| told.paid.iter().copied()).collect(),
            used,
            number,
        }
    }

    /// Keeps what later blocks look back at.
    pub(super) fn keep(&mut self, rows: &Rows, view: &View<'_>, found: &Found, costs: &Costs<'_>) {
        let is_own = |row: &usize| rows.change_blocks[*row] == rows.number;
        let open = |row: &usize| !found.used.contains(row) && view.used.binary_search(&view.mint_place(*row)).is_err();
        let open: Vec<usize> = view.of_kind("mint").into_iter().filter(open).collect();
        let mut pools: Vec<&[u8]> = open.iter().map(|row| view.changes.pool.value(*row)).collect();
        pools.sort_unstable();
        let own: Vec<usize> = open.into_iter().filter(is_own).collect();
        let traded: Vec<usize> = (0..rows.trade_blocks.len())
            .filter(|row| rows.trade_blocks[*row] == rows.number)
            .filter(|row| pools.binary_search(&view.trades.pool.value(*row)).is_ok())
            .collect();
        let used: Vec<MintPlace> =
            found.used.iter().filter(|row| !is_own(row)).map(|row| view.mint_place(*row)).collect();
        if own.is_empty() && traded.is_empty() && used.is_empty() {
            return;
        }
        let remembered = Remembered {
            mints: picked(&rows.changes, self.change_codec.schema(), &own),
            paid: own.iter().map(|row| costs.of_all(&[view.changes.transaction_index[*row]])).collect(),
            trades: picked(&rows.trades, self.trade_codec.schema(), &traded),
            used,
        };
        self.recent.keep(rows.number, remembered);
    }

    /// Goes back to the state before a block.
    pub(super) fn forget(&mut self, number: u64) {
        self.recent.forget(number);
    }

    /// Blocks up to this one stay.
    pub(super) fn finalize(&mut self, number: u64) {
        self.recent.finalize(number);
    }

    pub(super) fn size(&self) -> StateSize {
        let mut size = StateSize::default();
        for (_, told) in self.recent.iter() {
            size.entries += told.mints.num_rows() + told.trades.num_rows() + told.used.len();
            size.bytes += told.mints.get_array_memory_size() + told.trades.get_array_memory_size();
            size.bytes += told.used.len() * size_of::<MintPlace>() + told.paid.len() * size_of::<Paid>();
        }
        size
    }

    pub(super) fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let mut rows: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = Vec::new();
        for (number, told) in self.recent.iter() {
            let block = i64::try_from(number).expect("heights fit 63 bits");
            let mints = self.change_codec.encode(told.mints.columns(), told.mints.num_rows());
            let mints = mints.iter().zip(&told.paid);
            rows.extend(mints.map(|(mint, paid)| (MINT, block, mint.data().to_vec(), paid_bytes(paid))));
            let trades = self.trade_codec.encode(told.trades.columns(), told.trades.num_rows());
            rows.extend(trades.iter().map(|trade| (TRADE, block, trade.data().to_vec(), Vec::new())));
            let used = told.used.iter().map(|(height, log)| {
                let mut bytes = Vec::new();
                bytes.put_u64(*height);
                bytes.put_i64(*log);
                (USED, block, bytes, Vec::new())
            });
            rows.extend(used);
        }
        let saved = Saved::new(NAME, SHAPE)
            .numbers("kind", rows.iter().map(|row| row.0))
            .numbers("block", rows.iter().map(|row| row.1))
            .bytes("row", rows.iter().map(|row| &row.2))
            .bytes("paid", rows.iter().map(|row| &row.3));
        Ok(vec![saved.finish()?])
    }

    pub(super) fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        self.recent.clear();
        for batch in state {
            let loaded = Loaded::open(NAME, SHAPE, batch)?;
            let (kinds, blocks) = (loaded.numbers("kind")?, loaded.numbers("block")?);
            let (rows, paid) = (loaded.bytes("row")?, loaded.bytes("paid")?);
            let mut start = 0;
            for run in blocks.values().chunk_by(|a, b| a == b) {
                let number = u64::try_from(run[0]).map_err(|_| mismatch(NAME, "a height is negative"))?;
                let all = start..start + run.len();
                let of = |kind: i64| all.clone().filter(move |row| kinds.value(*row) == kind);
                let paid: Result<_, Truncated> = of(MINT).map(|row| decode_paid(paid.value(row))).collect();
                let used: Result<_, Truncated> = of(USED).map(|row| decode_used(rows.value(row))).collect();
                let remembered = Remembered {
                    mints: self.change_codec.decode(of(MINT).map(|row| rows.value(row))),
                    trades: self.trade_codec.decode(of(TRADE).map(|row| rows.value(row))),
                    paid: paid.map_err(|end| end.of(NAME))?,
                    used: used.map_err(|end| end.of(NAME))?,
                };
                self.recent.keep(number, remembered);
                start = all.end;
            }
        }
        Ok(())
    }
}

/// The rows of earlier blocks and of this one; just those of this one if there are no others.
fn joined<'a>(earlier: impl Iterator<Item = &'a RecordBatch>, own: &RecordBatch) -> RecordBatch {
    let mut pieces: Vec<&RecordBatch> = earlier.collect();
    if pieces.is_empty() {
        return own.clone();
    }
    pieces.push(own);
    let schema = own.schema();
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema: SchemaRef = Arc::new(Schema::new(nullable.collect::<Vec<Field>>()));
    concat_batches(&schema, pieces).expect("pieces of one table have one schema")
}

fn paid_bytes(paid: &Paid) -> Vec<u8> {
    let mut bytes = Vec::new();
    for amount in [paid.gas, paid.tip] {
        bytes.put_u64(u64::from(amount.is_some()));
        bytes.extend(amount.unwrap_or_default().to_be_bytes::<32>());
    }
    bytes
}

fn decode_paid(bytes: &[u8]) -> Result<Paid, Truncated> {
    let mut bytes = Decoder(bytes);
    let mut amount = || -> Result<Option<U256>, Truncated> {
        let known = bytes.u64()? != 0;
        let amount = U256::from_be_bytes(bytes.take::<32>()?);
        Ok(known.then_some(amount))
    };
    Ok(Paid { gas: amount()?, tip: amount()? })
}

fn decode_used(bytes: &[u8]) -> Result<MintPlace, Truncated> {
    let mut bytes = Decoder(bytes);
    Ok((bytes.u64()?, bytes.i64()?))
}
