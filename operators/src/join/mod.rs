//! Joins two relations, both of which may change at any time.
//!
//! Definition: out(t) = SQL's join of the two inputs accumulated up to t, by [`JoinKind`], over keys that
//! are equal and a condition on the pair, with PostgreSQL's rules for NULL. As in `tests/reference/join.rs`.
//!
//! State: the rows of both sides by key, reduced to the columns that the output or the condition reads, without the
//! keys where rows show only in pairs. [`Retain`] says what bounds it.
//! Reorg: a retraction takes its pairs back, and shows again what has lost its last match.
//! Cost: the pairs of the rows that changed. Whether a row matches is a count (of its key, or of the row if there
//! is a condition), so what a key holds is gone over only when its first match comes or its last goes, and then
//! all of it changes. A `NOT IN` goes over everything when the first NULL comes or the last goes. In an inner join
//! the side of a tick that only grows enters and meets in one pass, delta by delta.
//!
//! Under [`Retain::Block`] the rows of a block go out as rows of that block, so that views over them stay linear.

mod changes;
mod emit;
mod records;
mod saved;
mod spec;
mod state;
mod tick;

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Origin, Progress, Regions};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};
use highwater_engine::rows::{KeyTable, PackedCodec};

use crate::rows::all_nullable;
use spec::{Columns, LEFT, RIGHT, Solo};
use state::{Counted, Side};

pub(crate) use changes::{Changes, refuse};
pub use spec::{JoinColumn, JoinError, JoinKind, JoinSpec, PairCondition, Retain};

/// The time of keys that are not dropped by time.
const NEVER: i64 = i64::MAX;

/// A join of two relations. Inputs: left, right.
pub struct Join {
    name: String,
    spec: JoinSpec,
    condition: Option<Box<dyn PairCondition>>,
    columns: Columns,
    key_codec: PackedCodec,
    /// Of the columns kept of each side.
    codecs: [PackedCodec; 2],
    /// The key that is NULL.
    null_key: Vec<u8>,
    /// Keys of both sides, so that one id finds the rows of both.
    keys: KeyTable,
    regions: Regions,
    sides: [Side; 2],
    /// By key id: the time or block with which it is dropped.
    closes: Vec<i64>,
    closing: BTreeMap<i64, Vec<u32>>,
    /// Keys up to this time are dropped.
    closed_ms: Option<i64>,
    /// Room for work, all zeros between uses.
    places: Vec<u32>,
    /// Room for packed rows.
    buffer: Vec<u8>,
}

impl Join {
    /// A join of nothing with nothing. `name` is that of its state, for messages.
    ///
    /// # Errors
    /// If columns are missing, keys differ in type, or the kind of join does not have what is asked for.
    pub fn new(name: &str, spec: JoinSpec, condition: Option<Box<dyn PairCondition>>) -> Result<Join, JoinError> {
        let columns = Columns::new(&spec, condition.as_deref())?;
        let key_codec = PackedCodec::new(&all_nullable(&spec.left), &columns.keys[LEFT])?;
        let codecs =
            [PackedCodec::new(&spec.left, &columns.kept[LEFT])?, PackedCodec::new(&spec.right, &columns.kept[RIGHT])?];
        let null_key = key_codec.null_row();
        let mut join = Join {
            name: name.to_owned(),
            keys: KeyTable::default(),
            regions: Regions::new(key_codec.schema()),
            sides: [LEFT, RIGHT].map(|_| Side::new(false, Counted::default())),
            spec,
            condition,
            columns,
            key_codec,
            codecs,
            null_key,
            closes: Vec::new(),
            closing: BTreeMap::new(),
            closed_ms: None,
            places: Vec::new(),
            buffer: Vec::new(),
        };
        join.clear();
        Ok(join)
    }

    /// Columns of the output, in the order asked for. Those of a side that may be missing are nullable.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.columns.output_schema
    }

    /// How rows of the left and of the right side reach it: equal keys meet. Float keys must come with one zero.
    pub fn routes(&self) -> [Route; 2] {
        match self.at_first_worker() {
            true => [Route::First, Route::First],
            false => self.columns.keys.clone().map(Route::Key),
        }
    }

    /// Without keys every row meets every row; a `NOT IN` asks of all rows whether one is NULL.
    fn at_first_worker(&self) -> bool {
        self.spec.keys.is_empty() || self.spec.kind == JoinKind::NullAwareAnti
    }

    fn clear(&mut self) {
        self.keys = KeyTable::default();
        self.sides = [LEFT, RIGHT].map(|side| {
            let alone = |side| self.spec.kind.solo(side) != Solo::Never;
            let by_row = self.condition.is_some();
            // Without a condition the rows of a key match all rows of the other side's, or none.
            let counted = Counted { matches: by_row && alone(side), totals: !by_row && alone(1 - side) };
            Side::new(self.columns.kept[side].is_empty(), counted)
        });
        self.closes.clear();
        self.closing.clear();
        self.closed_ms = None;
    }

    /// Works a tick off block by block: rows of two blocks never meet.
    fn change_blocks(&mut self, inputs: [Vec<Delta>; 2], progress: &Progress, output: &mut Output) {
        let blocks = || inputs.iter().flatten().filter_map(block_of);
        // Final blocks need not be told apart.
        let newest_final = blocks().filter(|block| progress.is_final(*block)).max();
        let mut parts: BTreeMap<Option<u64>, [Vec<Delta>; 2]> = BTreeMap::new();
        for (side, deltas) in inputs.iter().enumerate() {
            for delta in deltas {
                let block =
                    block_of(delta).map(|block| if progress.is_final(block) { newest_final } else { Some(block) });
                parts.entry(block.flatten()).or_default()[side].push(delta.clone());
            }
        }
        for (block, part) in parts {
            let closes = block.map(|block| i64::try_from(block).expect("heights are below 2^63"));
            self.change(&part, closes, block.map_or(Origin::Derived, Origin::Block), output);
        }
    }

    /// Drops the keys that cannot change any more.
    fn close(&mut self, progress: &Progress) {
        let limit = match self.spec.retain {
            Retain::Forever => None,
            Retain::KeyTime(_) => progress.finalized_ms,
            Retain::Block => {
                progress.finalized_number.map(|block| i64::try_from(block).expect("heights are below 2^63"))
            }
        };
        let Some(limit) = limit else { return };
        if matches!(self.spec.retain, Retain::KeyTime(_)) {
            self.closed_ms = self.closed_ms.max(Some(limit));
        }
        while let Some(entry) = self.closing.first_entry().filter(|entry| *entry.key() <= limit) {
            for key in entry.remove() {
                self.sides.iter_mut().for_each(|side| side.drop_key(key));
                self.closes[key as usize] = NEVER;
                self.keys.remove(key);
            }
        }
    }
}

impl TablesOperator for Join {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output) {
        let mut inputs = <[Vec<Delta>; 2]>::try_from(inputs).expect("the left and the right side");
        inputs.iter_mut().for_each(|deltas| deltas.retain(|delta| !delta.is_empty()));
        match self.spec.retain {
            Retain::Block => self.change_blocks(inputs, progress, output),
            Retain::Forever | Retain::KeyTime(_) => self.change(&inputs, None, Origin::Derived, output),
        }
        self.close(progress);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(vec![self.saved()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let rows: usize = self.sides.iter().map(Side::len).sum();
        let bytes: usize = self.sides.iter().map(Side::bytes).sum();
        StateSize { entries: rows, bytes: bytes + self.keys.bytes() + self.closes.capacity() * 8 }
    }
}

fn block_of(delta: &Delta) -> Option<u64> {
    match delta.origin {
        Origin::Block(number) => Some(number),
        Origin::Derived => None,
    }
}
