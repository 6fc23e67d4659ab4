//! Joins each row to the one row of its key that is nearest in time: the price at the time of a trade.
//!
//! Definition: out(t) = each left row of the inputs accumulated up to t with, of the right rows of equal keys whose
//! time fulfils the [`AsofCondition`], the nearest in time; of several at that time the greatest by the bytes of the
//! whole row (`arrow-row` order: column after column, NULL first). A left row meets one right row however often
//! that is there. A NULL key or time meets nothing. As in `tests/reference/asof_join.rs`.
//!
//! State: the rows of both sides by key in the order of time: of the left the columns that are shown, of the right all.
//! With [`AsofClosing`], left rows leave when what they meet is final, and of the right rows those stay that are not
//! final and, looking back, the newest final one of each key; looking ahead, left rows stay until they meet a final one.
//! Reorg: a retraction of a right row gives its left rows to the one before it (or after it).
//! Cost: a left row costs a search; a right row the left rows between it and its neighbour in time.

mod spec;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};
use highwater_engine::rows::{KeyTable, RowCodec};

use crate::broadcast_join::{all_present, taken};
use crate::codec::mismatch;
use crate::join::{Changes, refuse};
use crate::rows::{Loaded, Saved, as_i64};
pub use spec::{AsofClosing, AsofColumn, AsofCondition, AsofError, AsofKind, AsofSpec};
use timeline::{Before, Row, Timeline};

const LEFT: usize = 0;
const RIGHT: usize = 1;
/// Rows that go out as one batch.
const BATCH_ROWS: usize = 1 << 14;

/// Rows of the tick by key and time, with a change or with what they were.
type ByRow<T> = BTreeMap<(u32, i64, Row), T>;
/// A row of the output: its left and its right row, and the change.
type Met = (Row, Option<Row>, i64);

/// An ASOF join. Inputs: left, right.
pub struct AsofJoin {
    name: String,
    spec: AsofSpec,
    output: SchemaRef,
    /// Key columns of each side.
    keys: [Vec<usize>; 2],
    /// Columns of each side that are kept.
    kept: [Vec<usize>; 2],
    key_codec: RowCodec,
    codecs: [RowCodec; 2],
    key_ids: KeyTable,
    /// By key id.
    timelines: Vec<Timeline>,
    /// Keys with rows of a time that was not final when they came.
    closing: BTreeMap<i64, Vec<u32>>,
    /// Nothing before this time comes or goes any more.
    horizon_ms: Option<i64>,
}

impl AsofJoin {
    /// A join of nothing with nothing. `name` is that of its state, for messages.
    ///
    /// # Errors
    /// If columns are missing, keys differ in type, or the times cannot be compared.
    pub fn new(name: &str, spec: AsofSpec) -> Result<AsofJoin, AsofError> {
        let output = spec.output_schema()?;
        let mut shown: Vec<usize> = Vec::new();
        for column in &spec.output {
            match column {
                AsofColumn::Left(index) if !shown.contains(index) => shown.push(*index),
                AsofColumn::Left(_) | AsofColumn::Right(_) => {}
            }
        }
        let kept = [shown, (0..spec.right.fields().len()).collect()];
        let keys: [Vec<usize>; 2] =
            [spec.keys.iter().map(|(left, _)| *left).collect(), spec.keys.iter().map(|(_, right)| *right).collect()];
        Ok(AsofJoin {
            name: name.to_owned(),
            output,
            key_codec: RowCodec::new(&spec.left, &keys[LEFT])?,
            codecs: [RowCodec::new(&spec.left, &kept[LEFT])?, RowCodec::new(&spec.right, &kept[RIGHT])?],
            spec,
            keys,
            kept,
            key_ids: KeyTable::default(),
            timelines: Vec::new(),
            closing: BTreeMap::new(),
            horizon_ms: None,
        })
    }

    /// Columns of the output, in the order asked for.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows of the left and of the right side reach it: equal keys meet. Float keys must come with one zero.
    pub fn routes(&self) -> [Route; 2] {
        match self.spec.keys.is_empty() {
            true => [Route::First, Route::First],
            false => self.keys.clone().map(Route::Key),
        }
    }

    /// The changes of a side by row, and of the rows that cannot meet any.
    fn net(&mut self, side: usize, deltas: &[Delta], output: &mut Output) -> (ByRow<i64>, BTreeMap<Row, i64>) {
        let (mut net, mut alone) = (ByRow::new(), BTreeMap::new());
        let time = if side == LEFT { self.spec.times.0 } else { self.spec.times.1 };
        let columns: Vec<usize> = self.kept[side].iter().copied().chain([time]).collect();
        let mut changes = Changes::gather(deltas, &self.keys[side], &columns);
        let Some(times) = changes.columns.pop() else { return (net, alone) };
        let keys = self.key_codec.encode(&changes.keys, changes.len());
        let rows = self.codecs[side].encode(&changes.columns, changes.len());
        let known: Vec<ArrayRef> = changes.keys.iter().cloned().chain([times.clone()]).collect();
        let present = all_present(&known);
        let times = as_i64(&times);
        let times = times.as_primitive::<Int64Type>();
        let mut late = Vec::new();
        for (row, diff) in changes.diffs.iter().enumerate() {
            let bytes = || Row::from(rows.row(row).data());
            if times.is_valid(row) && self.horizon_ms.is_some_and(|horizon| times.value(row) < horizon) {
                late.push(row);
            } else if present.as_ref().is_none_or(|present| present.is_valid(row)) {
                let key = self.key(keys.row(row).data(), times.value(row));
                *net.entry((key, times.value(row), bytes())).or_default() += diff;
            } else if side == LEFT && self.spec.kind == AsofKind::Left {
                *alone.entry(bytes()).or_default() += diff;
            }
        }
        refuse(deltas, &late, output);
        (net, alone)
    }

    /// The id of a key, and a note that it has a row of this time.
    fn key(&mut self, bytes: &[u8], time: i64) -> u32 {
        let key = self.key_ids.find_or_insert(bytes);
        if key as usize >= self.timelines.len() {
            self.timelines.resize_with(key as usize + 1, Timeline::default);
        }
        if self.spec.closing.is_some() {
            let keys = self.closing.entry(time).or_default();
            if keys.last() != Some(&key) {
                keys.push(key);
            }
        }
        key
    }

    /// Takes the changes into the state; what each touched left row was before.
    fn apply(&mut self, left: ByRow<i64>, right: ByRow<i64>) -> ByRow<Before> {
        let (mut touched, condition) = (ByRow::new(), self.spec.condition);
        for ((key, time, row), diff) in self.in_order(right) {
            self.timelines[key as usize].change_right(condition, (time, row), diff, |(time, row), before| {
                touched.entry((key, *time, row.clone())).or_insert(before);
            });
        }
        for (row, diff) in left.into_iter().filter(|(_, diff)| *diff != 0) {
            let timeline = &mut self.timelines[row.0 as usize];
            let count = timeline.change_left((row.1, row.2.clone()), diff);
            // Where no right row has touched it, it met what it meets.
            touched.entry(row).or_insert_with_key(|row| (count, timeline.met(condition, row.1).cloned()));
        }
        touched
    }

    /// Retractions first, and both in the order in which each right row has its neighbour to end at, so that many
    /// changes of one tick go over the left rows twice at most.
    fn in_order(&self, right: ByRow<i64>) -> Vec<((u32, i64, Row), i64)> {
        let (mut added, mut removed): (Vec<_>, Vec<_>) =
            right.into_iter().filter(|(_, diff)| *diff != 0).partition(|(_, diff)| *diff > 0);
        match self.spec.condition {
            AsofCondition::AtOrBefore | AsofCondition::Before => added.reverse(),
            AsofCondition::AtOrAfter | AsofCondition::After => removed.reverse(),
        }
        removed.extend(added);
        removed
    }

    /// What the touched left rows meet now, against what they met.
    fn compare(&self, touched: ByRow<Before>) -> Vec<Met> {
        let mut changes = Vec::with_capacity(touched.len());
        for ((key, time, row), (count_before, met_before)) in touched {
            let timeline = &self.timelines[key as usize];
            let met = timeline.met(self.spec.condition, time).cloned();
            let left = (time, row);
            let count = timeline.count(&left);
            if met == met_before {
                changes.push((left.1, met, count - count_before));
            } else {
                changes.push((left.1.clone(), met_before, -count_before));
                changes.push((left.1, met, count));
            }
        }
        changes
    }

    fn emit(&self, changes: &[Met], output: &mut Output) {
        let inner = self.spec.kind == AsofKind::Inner;
        let shown = changes.iter().filter(|(_, right, diff)| *diff != 0 && (right.is_some() || !inner));
        let shown: Vec<&Met> = shown.collect();
        output.deltas.extend(shown.chunks(BATCH_ROWS).map(|rows| self.delta(rows)));
    }

    fn delta(&self, rows: &[&Met]) -> Delta {
        let left = self.codecs[LEFT].decode(rows.iter().map(|(left, ..)| left.as_ref()));
        // Neighbours mostly meet one row, which is decoded once.
        let (mut met, mut places): (Vec<&Row>, Vec<Option<u32>>) = (Vec::new(), Vec::with_capacity(rows.len()));
        for (_, right, _) in rows {
            if let Some(right) = right
                && !met.last().is_some_and(|last| Arc::ptr_eq(last, right))
            {
                met.push(right);
            }
            let last = || u32::try_from(met.len() - 1).expect("at most a batch of rows");
            places.push(right.as_ref().map(|_| last()));
        }
        let right = self.codecs[RIGHT].decode(met.into_iter().map(|row| row.as_ref()));
        let places = UInt32Array::from(places);
        let column = |column: &AsofColumn| match *column {
            AsofColumn::Left(index) => {
                let place = self.kept[LEFT].iter().position(|kept| *kept == index).expect("what is shown is kept");
                left.column(place).clone()
            }
            AsofColumn::Right(index) => taken(right.column(index), &places),
        };
        let columns = self.spec.output.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
            .expect("the columns are those of the output schema");
        Delta::derived(batch, rows.iter().map(|(.., diff)| *diff).collect())
    }

    /// Forgets keys without rows, of those that the tick has touched.
    fn tidy(&mut self, keys: impl Iterator<Item = u32>) {
        for key in keys {
            if self.timelines[key as usize].is_empty() {
                self.key_ids.remove(key);
            }
        }
    }

    /// Drops what is final.
    fn close(&mut self, progress: &Progress) {
        let (Some(closing), Some(finalized_ms)) = (self.spec.closing, progress.finalized_ms) else { return };
        let horizon = finalized_ms.saturating_sub(closing.left_ms.max(closing.right_ms));
        self.horizon_ms = self.horizon_ms.max(Some(horizon));
        let open = self.closing.split_off(&horizon);
        let mut due: Vec<u32> = std::mem::replace(&mut self.closing, open).into_values().flatten().collect();
        due.sort_unstable();
        due.dedup();
        due.iter().for_each(|key| self.timelines[*key as usize].close(self.spec.condition, horizon));
        self.tidy(due.into_iter());
    }

    fn shape(&self) -> String {
        let types = |codec: &RowCodec| -> Vec<DataType> {
            codec.schema().fields().iter().map(|field| field.data_type().clone()).collect()
        };
        let [left, right] = &self.codecs;
        format!(
            "{:?} {:?} ASOF join by {:?} of {:?} and {:?}, closing {:?}",
            self.spec.kind,
            self.spec.condition,
            types(&self.key_codec),
            types(left),
            types(right),
            self.spec.closing
        )
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.horizon_ms = self.horizon_ms.max(loaded.fact("horizon_ms")?);
        let (sides, keys, times) = (loaded.numbers("side")?, loaded.bytes("key")?, loaded.numbers("time")?);
        let (rows, counts) = (loaded.bytes("row")?, loaded.numbers("count")?);
        for row in 0..batch.num_rows() {
            let bytes = keys.value(row);
            let owned = if self.spec.keys.is_empty() { share.index == 0 } else { share.owns(bytes) };
            if !owned {
                continue;
            }
            let key = self.key(bytes, times.value(row));
            let is_right = match sides.value(row) {
                0 => false,
                1 => true,
                side => return Err(mismatch(&name, format!("there is no side {side}"))),
            };
            let at = (times.value(row), Row::from(rows.value(row)));
            self.timelines[key as usize].restore(is_right, at, counts.value(row));
        }
        Ok(())
    }
}

impl TablesOperator for AsofJoin {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output) {
        let mut inputs = <[Vec<Delta>; 2]>::try_from(inputs).expect("the left and the right side");
        inputs.iter_mut().for_each(|deltas| deltas.retain(|delta| !delta.is_empty()));
        let (left, alone) = self.net(LEFT, &inputs[LEFT], output);
        let (right, _) = self.net(RIGHT, &inputs[RIGHT], output);
        let mut keys: Vec<u32> = left.keys().chain(right.keys()).map(|(key, ..)| *key).collect();
        keys.dedup();
        let touched = self.apply(left, right);
        let mut changes = self.compare(touched);
        changes.extend(alone.into_iter().map(|(row, diff)| (row, None, diff)));
        self.emit(&changes, output);
        self.tidy(keys.into_iter());
        self.close(progress);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let ids = self.key_ids.ids();
        let rows = || ids.iter().flat_map(|id| self.timelines[*id as usize].rows().map(move |row| (*id, row)));
        let saved = Saved::new(&self.name, &self.shape())
            .fact("horizon_ms", self.horizon_ms)
            .numbers("side", rows().map(|(_, (is_right, ..))| i64::from(is_right)))
            .bytes("key", rows().map(|(key, _)| self.key_ids.key(key)))
            .numbers("time", rows().map(|(_, (_, time, ..))| time))
            .bytes("row", rows().map(|(_, (_, _, row, _))| row))
            .numbers("count", rows().map(|(_, (.., count))| count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.key_ids.clear();
        self.timelines.clear();
        self.closing.clear();
        self.horizon_ms = None;
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let rows = || self.timelines.iter().flat_map(Timeline::rows);
        let bytes: usize = rows().map(|(_, _, row, _)| row.len() + 64).sum();
        StateSize { entries: rows().count(), bytes: bytes + self.key_ids.bytes() + self.closing.len() * 48 }
    }
}
