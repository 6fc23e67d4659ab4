//! The state of the trades kernel: pools, samples of the native price, and how to take blocks back.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::StateSize;

use super::native_price::NativePrice;
use super::registry::{Pool, PoolBefore, PoolKey, Registry};
use crate::codec::{Decoder, Truncated, mismatch};
use crate::rows::{Loaded, Saved};

const NAME: &str = "dex_trades";
const SHAPE: &str = "1: pools, native price, changes of open blocks";

/// What a row of the saved batch is.
const POOL: i64 = 0;
const PRICE: i64 = 1;
const POOL_BEFORE: i64 = 2;
const PRICE_BEFORE: i64 = 3;

/// Rows of the saved batch: kind, block, key, value.
type SavedRow = (i64, i64, Vec<u8>, Vec<u8>);

/// What a block changed: the state before it.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) pools: Vec<PoolBefore>,
    pub(super) price: Option<NativePrice>,
}

/// Everything that blocks told.
#[derive(Default)]
pub(super) struct Memories {
    pub(super) registry: Registry,
    pub(super) price: NativePrice,
    /// By height, for blocks that changed anything and are not final.
    open: BTreeMap<u64, Changes>,
}

impl Memories {
    /// Keeps what takes a block back.
    pub(super) fn keep(&mut self, number: u64, changes: Changes) {
        if !changes.pools.is_empty() || changes.price.is_some() {
            self.open.insert(number, changes);
        }
    }

    /// Goes back to the state before a block.
    pub(super) fn forget(&mut self, number: u64) {
        while let Some(newest) = self.open.last_entry().filter(|newest| *newest.key() >= number) {
            let changes = newest.remove();
            changes.pools.into_iter().rev().for_each(|before| self.registry.restore(before));
            if let Some(price) = changes.price {
                self.price = price;
            }
        }
    }

    /// Blocks up to this one stay.
    pub(super) fn finalize(&mut self, number: u64) {
        self.open = self.open.split_off(&number.saturating_add(1));
    }

    pub(super) fn size(&self) -> StateSize {
        let undo: usize = self.open.values().map(|changes| changes.pools.len()).sum();
        let pool_bytes = size_of::<PoolKey>() + size_of::<Pool>();
        let prices = self.open.len() + 1;
        StateSize {
            entries: self.registry.len() + undo + prices,
            bytes: (self.registry.len() * 8 / 7 + undo) * pool_bytes + prices * 2048,
        }
    }

    pub(super) fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let mut rows: Vec<SavedRow> = Vec::new();
        let pools = self.registry.sorted();
        rows.extend(pools.into_iter().map(|(key, pool)| (POOL, 0, key.to_vec(), pool_bytes(Some(pool)))));
        rows.push((PRICE, 0, Vec::new(), price_bytes(&self.price)));
        for (number, changes) in &self.open {
            let block = i64::try_from(*number).expect("heights fit 63 bits");
            let before = |(key, pool): &PoolBefore| (POOL_BEFORE, block, key.to_vec(), pool_bytes(pool.as_ref()));
            rows.extend(changes.pools.iter().map(before));
            rows.extend(changes.price.iter().map(|price| (PRICE_BEFORE, block, Vec::new(), price_bytes(price))));
        }
        let saved = Saved::new(NAME, SHAPE)
            .numbers("kind", rows.iter().map(|row| row.0))
            .numbers("block", rows.iter().map(|row| row.1))
            .bytes("key", rows.iter().map(|row| &row.2))
            .bytes("value", rows.iter().map(|row| &row.3));
        Ok(vec![saved.finish()?])
    }

    pub(super) fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        *self = Memories::default();
        for batch in state {
            let loaded = Loaded::open(NAME, SHAPE, batch)?;
            let (kinds, blocks) = (loaded.numbers("kind")?, loaded.numbers("block")?);
            let (keys, values) = (loaded.bytes("key")?, loaded.bytes("value")?);
            for row in 0..batch.num_rows() {
                let place = (kinds.value(row), blocks.value(row));
                self.load_row(place, keys.value(row), values.value(row))?;
            }
        }
        Ok(())
    }

    fn load_row(&mut self, (kind, block): (i64, i64), key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let block = u64::try_from(block).map_err(|_| mismatch(NAME, "a height is negative"))?;
        let pool = || -> Result<PoolBefore, StateError> {
            let key = key.try_into().map_err(|_| mismatch(NAME, "a pool's key has another length"))?;
            Ok((key, decode_pool(value).map_err(|truncated| truncated.of(NAME))?))
        };
        let price = || NativePrice::decode(&mut Decoder(value)).map_err(|truncated| truncated.of(NAME));
        match kind {
            POOL => self.registry.restore(pool()?),
            PRICE => self.price = price()?,
            POOL_BEFORE => self.open.entry(block).or_default().pools.push(pool()?),
            PRICE_BEFORE => self.open.entry(block).or_default().price = Some(price()?),
            _ => return Err(mismatch(NAME, format!("a row of kind {kind}"))),
        }
        Ok(())
    }
}

/// A pool as bytes; none for one that was not known.
fn pool_bytes(pool: Option<&Pool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pool) = pool {
        pool.encode(&mut bytes);
    }
    bytes
}

fn decode_pool(bytes: &[u8]) -> Result<Option<Pool>, Truncated> {
    if bytes.is_empty() { Ok(None) } else { Pool::decode(&mut Decoder(bytes)).map(Some) }
}

fn price_bytes(price: &NativePrice) -> Vec<u8> {
    let mut bytes = Vec::new();
    price.encode(&mut bytes);
    bytes
}
