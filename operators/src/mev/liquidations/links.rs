//! Which earlier event a step of a liquidation goes back to.
//!
//! * Maker: `bark` puts a vault up for auction. `kick` (the auction house's word for the same, in the same
//!   transaction) and every later `take` go back to it, by auction house and number of the auction.
//! * Compound III: `absorb_collateral` leaves the market with collateral for sale. `buy_collateral` goes back
//!   to the nearest absorption of that asset by that market before it. A market does not sell by absorption,
//!   so this says which stock was sold, not whose.
//!
//! Maker's older auctions begin with `bite` and are told by no event that a source decodes after it.
//!
//! Memory: one entry for each beginning in the last so many blocks, about 200 bytes; a step that comes later
//! has no link. One look-up in a sorted map for each step, whatever the history.

use std::collections::BTreeMap;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{Array, FixedSizeBinaryArray, StringArray};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::StateSize;

use crate::codec::{Decoder, Encode, Truncated, mismatch};
use crate::mev::columns::{address_at, bytes_at};
use crate::mev::recent_blocks::RecentBlocks;
use crate::mev::{Address, LookBack};
use crate::rows::{Loaded, Saved};

/// A market, and an auction or an asset in it.
type Key = (Address, [u8; 32]);

/// Block, transaction, log.
type Place = (u64, i64, i64);

/// What later steps go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) block: u64,
    pub(super) log_index: i64,
    pub(super) transaction_hash: [u8; 32],
    pub(super) borrower: Option<Address>,
    pub(super) market_id: Option<[u8; 32]>,
}

/// The steps that have to do with an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// An auction or a stock begins.
    Begins(Family),
    /// Told in the same transaction as the beginning.
    Accompanies(Family),
    /// Comes at any time after it.
    Follows(Family),
}

/// Whose liquidations take several steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Maker,
    CompoundV3,
}

impl Family {
    fn index(self) -> usize {
        match self {
            Family::Maker => 0,
            Family::CompoundV3 => 1,
        }
    }

    /// The event that begins it.
    fn beginning(self) -> &'static str {
        match self {
            Family::Maker => "bark",
            Family::CompoundV3 => "absorb_collateral",
        }
    }
}

fn step(event: &str) -> Option<Step> {
    match event {
        "bark" => Some(Step::Begins(Family::Maker)),
        "kick" => Some(Step::Accompanies(Family::Maker)),
        "take" => Some(Step::Follows(Family::Maker)),
        "absorb_collateral" => Some(Step::Begins(Family::CompoundV3)),
        "buy_collateral" => Some(Step::Follows(Family::CompoundV3)),
        _ => None,
    }
}

/// The events of a block as links need them, by column.
pub(super) struct Steps<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    transaction_hash: &'a FixedSizeBinaryArray,
    event: &'a StringArray,
    market: &'a FixedSizeBinaryArray,
    market_id: &'a FixedSizeBinaryArray,
    borrower: &'a FixedSizeBinaryArray,
    collateral: &'a FixedSizeBinaryArray,
    auction: &'a FixedSizeBinaryArray,
}

impl<'a> Steps<'a> {
    /// Reads all columns of `liquidation_events`.
    pub(super) fn of(batch: &'a RecordBatch) -> Steps<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Steps {
            transaction_index: int(5),
            log_index: int(6),
            transaction_hash: fixed(7),
            event: batch.column(10).as_string(),
            market: fixed(11),
            market_id: fixed(12),
            borrower: fixed(14),
            collateral: fixed(16),
            auction: fixed(21),
        }
    }

    fn key(&self, row: usize, family: Family) -> Option<Key> {
        let what = match family {
            Family::Maker => hash_at(self.auction, row)?,
            Family::CompoundV3 => padded(address_at(self.collateral, row)?),
        };
        Some((address_at(self.market, row)?, what))
    }

    fn place(&self, number: u64, row: usize) -> Place {
        (number, self.transaction_index[row], self.log_index[row])
    }
}

fn hash_at(column: &FixedSizeBinaryArray, row: usize) -> Option<[u8; 32]> {
    bytes_at(column, row).map(|bytes| bytes.try_into().expect("a word has 32 bytes"))
}

fn padded(address: Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address);
    word
}

/// A beginning with where later steps look for it.
type Told = (Key, Place, Beginning);

/// The beginnings of one family.
struct Beginnings {
    blocks: u64,
    by_key: BTreeMap<(Key, Place), Beginning>,
    /// Which of them each block told.
    recent: RecentBlocks<Vec<(Key, Place)>>,
}

impl Beginnings {
    fn new(blocks: u64) -> Beginnings {
        Beginnings { blocks, by_key: BTreeMap::new(), recent: RecentBlocks::new(blocks) }
    }

    fn keep(&mut self, number: u64, told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        self.recent.keep(number, told.iter().map(|(key, place, _)| (*key, *place)).collect());
        self.by_key.extend(told.into_iter().map(|(key, place, beginning)| ((key, place), beginning)));
    }

    fn remove(&mut self, blocks: BTreeMap<u64, Vec<(Key, Place)>>) {
        for key in blocks.into_values().flatten() {
            self.by_key.remove(&key);
        }
    }

    /// The nearest before a place, not too many blocks away.
    fn before(&self, key: Key, place: Place) -> Option<&Beginning> {
        let first = (place.0.saturating_sub(self.blocks), i64::MIN, i64::MIN);
        self.by_key.range((key, first)..(key, place)).next_back().map(|(_, beginning)| beginning)
    }

    /// The one in the transaction of a place.
    fn beside(&self, key: Key, (block, transaction, _): Place) -> Option<&Beginning> {
        let (first, last) = ((block, transaction, i64::MIN), (block, transaction, i64::MAX));
        self.by_key.range((key, first)..=(key, last)).next_back().map(|(_, beginning)| beginning)
    }
}

/// Memory of what later steps go back to.
pub(super) struct Links([Beginnings; 2]);

/// A link: the event and where it was.
pub(super) type Link<'l> = (&'static str, &'l Beginning);

const NAME: &str = "liquidations";
const SHAPE: &str = "1: beginnings by family and block";

impl Links {
    /// Without memories.
    pub(super) fn new(look_back: &LookBack) -> Links {
        Links([Beginnings::new(look_back.auction_blocks), Beginnings::new(look_back.compound_v3_blocks)])
    }

    /// Keeps the beginnings of a block.
    pub(super) fn keep(&mut self, number: u64, steps: &Steps<'_>) {
        for family in [Family::Maker, Family::CompoundV3] {
            let begins = |row: &usize| step(steps.event.value(*row)) == Some(Step::Begins(family));
            let told = (0..steps.event.len()).filter(begins).filter_map(|row| {
                let beginning = Beginning {
                    block: number,
                    log_index: steps.log_index[row],
                    transaction_hash: hash_at(steps.transaction_hash, row)?,
                    borrower: address_at(steps.borrower, row),
                    market_id: hash_at(steps.market_id, row),
                };
                Some((steps.key(row, family)?, steps.place(number, row), beginning))
            });
            self.0[family.index()].keep(number, told.collect());
        }
    }

    /// What a step goes back to; the beginnings of its own block are known already.
    pub(super) fn link(&self, number: u64, steps: &Steps<'_>, row: usize) -> Option<Link<'_>> {
        let place = steps.place(number, row);
        let (family, found) = match step(steps.event.value(row))? {
            Step::Begins(_) => return None,
            Step::Accompanies(family) => (family, self.0[family.index()].beside(steps.key(row, family)?, place)),
            Step::Follows(family) => (family, self.0[family.index()].before(steps.key(row, family)?, place)),
        };
        found.map(|beginning| (family.beginning(), beginning))
    }

    /// Goes back to the state before a block.
    pub(super) fn forget(&mut self, number: u64) {
        for beginnings in &mut self.0 {
            let gone = beginnings.recent.forget(number);
            beginnings.remove(gone);
        }
    }

    /// Blocks up to this one stay.
    pub(super) fn finalize(&mut self, number: u64) {
        for beginnings in &mut self.0 {
            let gone = beginnings.recent.finalize(number);
            beginnings.remove(gone);
        }
    }

    pub(super) fn size(&self) -> StateSize {
        let entries = self.0.iter().map(|beginnings| beginnings.by_key.len()).sum();
        let bytes = size_of::<(Key, Place)>() * 2 + size_of::<Beginning>();
        StateSize { entries, bytes: entries * bytes }
    }

    pub(super) fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let mut rows: Vec<(i64, Vec<u8>)> = Vec::new();
        for (family, beginnings) in (0..).zip(&self.0) {
            rows.extend(beginnings.by_key.iter().map(|(key, beginning)| (family, bytes_of(key, beginning))));
        }
        let saved = Saved::new(NAME, SHAPE)
            .numbers("family", rows.iter().map(|row| row.0))
            .bytes("beginning", rows.iter().map(|row| &row.1));
        Ok(vec![saved.finish()?])
    }

    pub(super) fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        let mut told: [BTreeMap<u64, Vec<Told>>; 2] = Default::default();
        for batch in state {
            let loaded = Loaded::open(NAME, SHAPE, batch)?;
            let (families, beginnings) = (loaded.numbers("family")?, loaded.bytes("beginning")?);
            for row in 0..batch.num_rows() {
                let family = usize::try_from(families.value(row)).ok().and_then(|family| told.get_mut(family));
                let family = family.ok_or_else(|| mismatch(NAME, "an unknown family of liquidations"))?;
                let (key, place, beginning) = decode(beginnings.value(row)).map_err(|end| end.of(NAME))?;
                family.entry(place.0).or_default().push((key, place, beginning));
            }
        }
        for (beginnings, told) in self.0.iter_mut().zip(told) {
            *beginnings = Beginnings::new(beginnings.blocks);
            told.into_iter().for_each(|(number, told)| beginnings.keep(number, told));
        }
        Ok(())
    }
}

fn bytes_of(((market, what), (block, transaction, log)): &(Key, Place), beginning: &Beginning) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(market);
    bytes.extend(what);
    bytes.put_u64(*block);
    bytes.put_i64(*transaction);
    bytes.put_i64(*log);
    bytes.extend(&beginning.transaction_hash);
    bytes.put_bytes(beginning.borrower.as_ref().map_or(&[], |address| address));
    bytes.put_bytes(beginning.market_id.as_ref().map_or(&[], |id| id));
    bytes
}

fn decode(bytes: &[u8]) -> Result<Told, Truncated> {
    let mut bytes = Decoder(bytes);
    let key = (bytes.take()?, bytes.take()?);
    let place = (bytes.u64()?, bytes.i64()?, bytes.i64()?);
    let transaction_hash = bytes.take()?;
    let borrower = bytes.bytes()?.try_into().ok();
    let market_id = bytes.bytes()?.try_into().ok();
    Ok((key, place, Beginning { block: place.0, log_index: place.2, transaction_hash, borrower, market_id }))
}
