//! The rows of a view as they are now, kept up to date from raw, unconsolidated deltas.
//!
//! A row is its packed bytes (key columns first) and a count; rows live in generations by the
//! value of the closing column, so that what becomes final leaves as whole generations and nothing is
//! ever searched for it. Rows that never become final live in generations by stretches of a time they have.
//! Adding a delta row costs one hash probe in the index of its generation, which is small enough to stay in the
//! processor's cache.
//!
//! State: the rows that are not final. A retraction lowers the count; a row whose count is zero leaves.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};
use highwater_engine::model::{Delta, Progress, RegionColumn, Regions};
use highwater_engine::rows::{Arena, Forms, Hash, Index, PackedCodec};
use highwater_engine::sink::{Closing, SinkRequest};

use crate::{byte_order, direct};

/// Rows decoded at once: bounds the memory of a snapshot of a large view.
const DECODE_ROWS: usize = 1 << 13;
/// Emptied generations kept for reuse.
const SPARE_GENERATIONS: usize = 64;
/// The generation of rows that are never final before the end of the input.
const OPEN: i64 = i64::MAX;

/// When rows become final.
#[derive(Clone, Copy, Debug)]
enum Seal {
    /// Not before the sink ends.
    Never,
    /// At once: the view sends final rows only.
    Always,
    /// By a column of the row.
    By(Closing),
}

/// Final rows that have left the contents.
pub(crate) struct Sealed {
    /// The rows, by closing value, then key.
    pub(crate) batch: RecordBatch,
    /// The closing values, ascending.
    pub(crate) closings: Vec<i64>,
    /// The row after the last row of each closing value.
    pub(crate) ends: Vec<usize>,
}

/// The rows of a view that are not final.
pub(crate) struct Contents {
    schema: SchemaRef,
    /// Columns in the order of the packed row: key first.
    order: Vec<usize>,
    /// Where each column of the view is in the packed row.
    places: Vec<usize>,
    codec: PackedCodec,
    /// Of the text of the rows so far.
    forms: Forms,
    /// Columns that identify a row, and their encoding, if there are any.
    key: Option<(Vec<usize>, RowConverter)>,
    seal: Seal,
    /// How rows that never become final are divided.
    regions: Regions,
    generations: BTreeMap<i64, Generation>,
    spare: Vec<Generation>,
}

impl Contents {
    /// Empty contents whose final rows can leave by [`Contents::seal`].
    pub(crate) fn sealing(request: &SinkRequest) -> Result<Contents, ArrowError> {
        let seal = match request.closing {
            Some(closing) => Seal::By(closing),
            None if !request.corrections => Seal::Always,
            None => Seal::Never,
        };
        let regions = if matches!(seal, Seal::Never) { Regions::new(&request.schema) } else { Regions::none() };
        Contents::new(request, seal, regions)
    }

    /// Empty contents that keep all rows, in order of their key.
    pub(crate) fn whole(request: &SinkRequest) -> Result<Contents, ArrowError> {
        Contents::new(request, Seal::Never, Regions::none())
    }

    fn new(request: &SinkRequest, seal: Seal, regions: Regions) -> Result<Contents, ArrowError> {
        let schema = request.schema.clone();
        let key = request.key.clone().unwrap_or_default();
        let rest = (0..schema.fields().len()).filter(|index| !key.contains(index));
        let order: Vec<usize> = key.iter().copied().chain(rest).collect();
        let mut places = vec![0; order.len()];
        for (place, column) in order.iter().enumerate() {
            places[*column] = place;
        }
        let codec = PackedCodec::new(&schema, &order)?;
        let key = if key.is_empty() {
            None
        } else {
            let fields = key.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
            let converter = RowConverter::new(fields.collect())?;
            Some((key, converter))
        };
        Ok(Contents {
            schema,
            order,
            places,
            codec,
            forms: Forms::default(),
            key,
            seal,
            regions,
            generations: BTreeMap::new(),
            spare: Vec::new(),
        })
    }

    /// Takes in a delta; the rows may be in any order and cancel each other.
    pub(crate) fn add(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self.order.iter().map(|index| delta.batch.column(*index).clone()).collect();
        let rows = self.codec.encode(&columns, delta.len());
        rows.forms().into_iter().for_each(|forms| self.forms.add(forms));
        let closings = Closings::of(self.seal, self.regions, &delta.batch)?;
        let mut row = 0;
        while row < delta.len() {
            let closing = closings.at(row);
            let spare = &mut self.spare;
            let generation = self.generations.entry(closing).or_insert_with(|| spare.pop().unwrap_or_default());
            while row < delta.len() && closings.at(row) == closing {
                generation.add(rows.row(row), delta.diffs.at(row));
                row += 1;
            }
        }
        Ok(())
    }

    /// Takes in the deltas of a tick and hands out the rows that are final by now, in order of closing
    /// value.
    pub(crate) fn commit(&mut self, deltas: &[Delta], progress: &Progress) -> Result<Option<Sealed>, ArrowError> {
        let direct = self.add_or_pass(deltas, progress)?;
        let sealed = self.seal(progress)?;
        match (direct, sealed) {
            (Some(direct), Some(sealed)) => merge(&self.schema, &[direct, sealed]).map(Some),
            (direct, sealed) => Ok(direct.or(sealed)),
        }
    }

    /// Takes in what is not final; gives back what is final as it comes.
    fn add_or_pass(&mut self, deltas: &[Delta], progress: &Progress) -> Result<Option<Sealed>, ArrowError> {
        let (Some(bound), Some((key, converter))) = (self.bound(progress), &self.key) else {
            deltas.iter().try_for_each(|delta| self.add(delta))?;
            return Ok(None);
        };
        let mut runs = Vec::new();
        for (index, delta) in deltas.iter().enumerate() {
            let closings = Closings::of(self.seal, self.regions, &delta.batch)?;
            direct::add_runs(&mut runs, index, delta, |row| closings.at(row));
        }
        let is_known = |closing| closing > bound || self.generations.contains_key(&closing);
        let (passing, staying) = direct::split(runs, is_known);
        if !passing.is_empty()
            && let Some(sealed) = direct::sort(&passing, deltas, key, converter)?
        {
            direct::slices(&staying, deltas).iter().try_for_each(|delta| self.add(delta))?;
            return Ok(Some(sealed));
        }
        deltas.iter().try_for_each(|delta| self.add(delta))?;
        Ok(None)
    }

    /// Hands out the rows that are final by now, in order of closing value.
    fn seal(&mut self, progress: &Progress) -> Result<Option<Sealed>, ArrowError> {
        let Some(bound) = self.bound(progress) else { return Ok(None) };
        let (mut closings, mut generations) = (Vec::new(), Vec::new());
        while let Some(entry) = self.generations.first_entry()
            && *entry.key() <= bound
        {
            closings.push(*entry.key());
            generations.push(entry.remove());
        }
        if generations.is_empty() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        let mut ends = Vec::with_capacity(generations.len());
        for generation in &generations {
            self.append_sorted(generation, &mut rows);
            ends.push(rows.len());
        }
        let negative: usize = generations.iter().map(Generation::negative).sum();
        if negative > 0 {
            tracing::error!(rows = negative, "final rows were taken back more often than sent");
        }
        let sealed = if rows.is_empty() { None } else { Some(Sealed { batch: self.decode(&rows)?, closings, ends }) };
        for mut generation in generations {
            if self.spare.len() < SPARE_GENERATIONS {
                generation.clear();
                self.spare.push(generation);
            }
        }
        Ok(sealed)
    }

    /// Everything up to this closing value is final.
    fn bound(&self, progress: &Progress) -> Option<i64> {
        match self.seal {
            Seal::Never => None,
            Seal::Always => Some(OPEN),
            Seal::By(_) if progress.end_of_input => Some(OPEN),
            Seal::By(Closing::Time(_)) => progress.finalized_ms,
            Seal::By(Closing::Block(_)) => {
                progress.finalized_number.map(|number| i64::try_from(number).unwrap_or(OPEN - 1))
            }
        }
    }

    /// All rows, by generation, then key, some thousand at a time; a row with count n comes n times.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        let mut generations = self.generations.values();
        let (mut rows, mut start) = (Vec::new(), 0);
        std::iter::from_fn(move || {
            if start == rows.len() {
                start = 0;
                rows.clear();
                while rows.len() < DECODE_ROWS
                    && let Some(generation) = generations.next()
                {
                    self.append_sorted(generation, &mut rows);
                }
            }
            let chunk = &rows[start..rows.len().min(start + DECODE_ROWS)];
            start += chunk.len();
            (!chunk.is_empty()).then(|| self.decode(chunk))
        })
    }

    /// Rows of [`Contents::batches`].
    pub(crate) fn len(&self) -> usize {
        self.generations.values().map(Generation::len).sum()
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.generations.clear();
    }

    /// Appends the rows of a generation in order, each as often as it counts.
    fn append_sorted<'a>(&self, generation: &'a Generation, rows: &mut Vec<&'a [u8]>) {
        let start = rows.len();
        rows.reserve(generation.len());
        rows.extend(generation.rows_present());
        let all = &mut rows[start..];
        if self.forms.in_order() {
            byte_order::sort(all);
        } else {
            let portable = self.codec.portable(all);
            let mut order: Vec<(usize, &[u8])> = all.iter().copied().enumerate().collect();
            order.sort_unstable_by(|(a, _), (b, _)| portable.row(*a).cmp(&portable.row(*b)));
            all.iter_mut().zip(order).for_each(|(place, (_, row))| *place = row);
        }
    }

    fn decode(&self, rows: &[&[u8]]) -> Result<RecordBatch, ArrowError> {
        let batch = self.codec.decode(rows.iter().copied());
        let columns = self.places.iter().map(|place| batch.column(*place).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

/// Final rows of several kinds as one, in order of closing value. No closing value is in two of them.
fn merge(schema: &SchemaRef, all: &[Sealed]) -> Result<Sealed, ArrowError> {
    let mut parts: Vec<(i64, RecordBatch)> = Vec::new();
    for sealed in all {
        let mut start = 0;
        for (closing, end) in sealed.closings.iter().zip(&sealed.ends) {
            parts.push((*closing, sealed.batch.slice(start, end - start)));
            start = *end;
        }
    }
    parts.sort_by_key(|(closing, _)| *closing);
    let batch = concat_batches(schema, parts.iter().map(|(_, rows)| rows))?;
    let (mut closings, mut ends) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    for (closing, rows) in &parts {
        closings.push(*closing);
        ends.push(ends.last().copied().unwrap_or(0) + rows.num_rows());
    }
    Ok(Sealed { batch, closings, ends })
}

/// The generation of each row of a batch.
enum Closings<'a> {
    Region(RegionColumn<'a>),
    Column(&'a [i64], Option<&'a NullBuffer>),
}

impl<'a> Closings<'a> {
    fn of(seal: Seal, regions: Regions, batch: &'a RecordBatch) -> Result<Closings<'a>, ArrowError> {
        let Seal::By(closing) = seal else { return Ok(Closings::Region(regions.of(batch.columns()))) };
        let (index, values) = match closing {
            Closing::Time(index) => {
                (index, batch.column(index).as_primitive_opt::<TimestampMillisecondType>().map(|a| &**a.values()))
            }
            Closing::Block(index) => {
                (index, batch.column(index).as_primitive_opt::<Int64Type>().map(|a| &**a.values()))
            }
        };
        match values {
            Some(values) => Ok(Closings::Column(values, batch.column(index).nulls())),
            None => Err(ArrowError::SchemaError(format!(
                "column {} cannot tell when a row is final",
                batch.schema_ref().field(index).name()
            ))),
        }
    }

    #[inline]
    fn at(&self, row: usize) -> i64 {
        match self {
            Closings::Region(regions) => regions.at(row),
            Closings::Column(_, Some(nulls)) if nulls.is_null(row) => OPEN,
            Closings::Column(values, _) => values[row],
        }
    }
}

/// The rows of one closing value, and how often each is there.
#[derive(Default)]
struct Generation {
    index: Index,
    rows: Arena,
    /// By row id; zero only for an id without a row.
    counts: Vec<i64>,
    /// Rows, each as often as it counts.
    present: usize,
}

impl Generation {
    #[inline]
    fn add(&mut self, row: &[u8], diff: i64) {
        if diff == 0 {
            return;
        }
        let hash = Hash::of(row);
        let (id, _) = self.index.find_or_insert(&mut self.rows, hash, row);
        if id as usize == self.counts.len() {
            self.counts.push(0);
        }
        let count = &mut self.counts[id as usize];
        let before = *count;
        *count = before + diff;
        self.present = self.present + times(*count) - times(before);
        if *count == 0 {
            self.index.remove(&mut self.rows, hash, id);
        }
    }

    /// The rows as they lie in memory, each as often as it counts.
    fn rows_present(&self) -> impl Iterator<Item = &[u8]> {
        let present = (0..).zip(&self.counts).filter(|(_, count)| **count > 0);
        present.flat_map(|(id, count)| std::iter::repeat_n(self.rows.get(id), times(*count)))
    }

    /// Rows, each as often as it counts.
    fn len(&self) -> usize {
        self.present
    }

    /// Rows taken back more often than sent.
    fn negative(&self) -> usize {
        self.counts.iter().filter(|count| **count < 0).count()
    }

    fn clear(&mut self) {
        self.index.clear();
        self.rows.clear();
        self.counts.clear();
        self.present = 0;
    }
}

/// How often a row with this count is there.
fn times(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use highwater_engine::testing::sink_request;
    use proptest::prelude::*;

    use super::*;

    /// Time, who, how many.
    type Row = (i64, Option<String>, i64);

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("total", DataType::Int64, false),
            Field::new("who", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ]))
    }

    fn contents() -> Contents {
        let request = SinkRequest { key: Some(vec![2, 1]), ..sink_request("rows", "totals", schema()) };
        Contents::sealing(&request).expect("a schema with an order")
    }

    fn delta(changes: &[(Row, i64)]) -> Delta {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(changes.iter().map(|((_, _, total), _)| Some(*total)).collect::<Int64Array>()),
            Arc::new(changes.iter().map(|((_, who, _), _)| who.as_deref()).collect::<StringArray>()),
            Arc::new(changes.iter().map(|((at, _, _), _)| Some(*at)).collect::<TimestampMillisecondArray>()),
        ];
        let batch = RecordBatch::try_new(schema(), columns).expect("the columns of the schema");
        Delta::derived(batch, changes.iter().map(|(_, diff)| *diff).collect())
    }

    fn read(contents: &Contents) -> Vec<Row> {
        let mut rows = Vec::new();
        for batch in contents.batches() {
            let batch = batch.expect("rows that were packed");
            let (totals, who) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
            let at = batch.column(2).as_primitive::<TimestampMillisecondType>();
            let who_is = |row| who.is_valid(row).then(|| who.value(row).to_owned());
            rows.extend((0..batch.num_rows()).map(|row| (at.value(row), who_is(row), totals.value(row))));
        }
        rows
    }

    fn who() -> impl Strategy<Value = Option<String>> {
        let address = (0_u8..4).prop_map(|byte| format!("0x{}", format!("{byte:02x}").repeat(20)));
        let label = prop::sample::select(vec!["0x", "router", "0x02", "0xZZ", ""]);
        proptest::option::of(prop_oneof![8 => address, 1 => label.prop_map(str::to_owned)])
    }

    proptest! {
        /// Rows are those that were sent and not taken back, in the order of their key, whatever text they have.
        #[test]
        fn rows_are_in_the_order_of_their_key(
            ticks in prop::collection::vec(prop::collection::vec(((-9_i64..9, who(), 0_i64..3), -1_i64..3), 0..20), 0..8),
        ) {
            let mut contents = contents();
            let mut expected: BTreeMap<Row, i64> = BTreeMap::new();
            for changes in ticks {
                // Half an hour apart: some of the rows share a stretch of time.
                let changes: Vec<(Row, i64)> =
                    changes.into_iter().map(|((at, who, total), diff)| ((at * 1_800_000, who, total), diff)).collect();
                for (row, diff) in &changes {
                    *expected.entry(row.clone()).or_default() += diff;
                }
                contents.add(&delta(&changes)).expect("rows of the schema");
                let present = expected.iter().filter(|(_, count)| **count > 0);
                let rows: Vec<Row> =
                    present.flat_map(|(row, count)| std::iter::repeat_n(row.clone(), usize::try_from(*count).unwrap_or(0))).collect();
                prop_assert_eq!(contents.len(), rows.len());
                prop_assert_eq!(read(&contents), rows);
            }
        }
    }

    #[test]
    fn many_rows_of_one_time_come_in_parts() {
        let mut contents = contents();
        let rows: Vec<(Row, i64)> = (0..20_000).map(|total| ((0, None, total), 1)).collect();
        contents.add(&delta(&rows)).expect("rows of the schema");
        assert_eq!(contents.batches().count(), 3);
        assert_eq!(read(&contents).len(), 20_000);
    }
}
