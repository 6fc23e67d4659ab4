//! The rows of a view as they are now, kept up to date from raw, unconsolidated deltas.
//!
//! A row is its `arrow-row` bytes (key columns first) and a count; rows live in generations by the
//! value of the closing column, so that what becomes final leaves as whole generations and nothing is
//! ever searched for it. Rows that never become final live in generations by stretches of a time they have.
//! Adding a delta row costs one hash probe in the table of its generation, which is small enough to stay in the
//! processor's cache.
//!
//! State: the rows that are not final, plus at most as many that came and went since a generation was
//! last packed. A retraction lowers the count; a row whose count is zero is not in the view.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use highwater_engine::model::{Delta, Progress, RegionColumn, Regions};
use highwater_engine::sink::{Closing, SinkRequest};

use crate::direct::{self, prefix};

/// Rows decoded at once: bounds the memory of a snapshot of a large view.
const DECODE_ROWS: usize = 1 << 16;
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
    /// Columns in the order of the encoded row: key first.
    order: Vec<usize>,
    /// Where each column of the view is in the encoded row.
    places: Vec<usize>,
    converter: RowConverter,
    /// Columns that identify a row, and their encoding, if there are any.
    key: Option<(Vec<usize>, RowConverter)>,
    scratch: Rows,
    seal: Seal,
    /// How rows that never become final are divided.
    regions: Regions,
    generations: BTreeMap<i64, Generation>,
    spare: Vec<Generation>,
    hasher: FixedState,
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
        let field = |index: &usize| SortField::new(schema.field(*index).data_type().clone());
        let converter = RowConverter::new(order.iter().map(field).collect())?;
        let scratch = converter.empty_rows(0, 0);
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
            converter,
            key,
            scratch,
            seal,
            regions,
            generations: BTreeMap::new(),
            spare: Vec::new(),
            hasher: FixedState::with_seed(0x6869_6768_7761_7465),
        })
    }

    /// Takes in a delta; the rows may be in any order and cancel each other.
    pub(crate) fn add(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self.order.iter().map(|index| delta.batch.column(*index).clone()).collect();
        self.scratch.clear();
        self.converter.append(&mut self.scratch, &columns)?;
        let closings = Closings::of(self.seal, self.regions, &delta.batch)?;
        let mut row = 0;
        while row < delta.len() {
            let closing = closings.at(row);
            let spare = &mut self.spare;
            let generation = self.generations.entry(closing).or_insert_with(|| spare.pop().unwrap_or_default());
            while row < delta.len() && closings.at(row) == closing {
                generation.add(self.scratch.row(row).data(), delta.diffs.at(row), &self.hasher);
                row += 1;
            }
            generation.pack_if_sparse();
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
        let mut negative = 0;
        for generation in &generations {
            negative += generation.sorted_rows(&mut rows);
            ends.push(rows.len());
        }
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

    /// All rows, by generation, then key; a row with count n comes n times.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut rows = Vec::new();
        for generation in self.generations.values() {
            generation.sorted_rows(&mut rows);
        }
        rows.chunks(DECODE_ROWS).map(|chunk| self.decode(chunk)).collect()
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.generations.clear();
    }

    fn decode(&self, rows: &[&[u8]]) -> Result<RecordBatch, ArrowError> {
        let parser: RowParser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))?;
        let columns = self.places.iter().map(|place| columns[*place].clone()).collect();
        RecordBatch::try_new(self.schema.clone(), columns)
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

/// A row in the arena of a generation.
struct Entry {
    hash: u64,
    count: i64,
    start: usize,
    len: usize,
}

/// The rows of one closing value: a hash table over an arena of row bytes.
#[derive(Default)]
struct Generation {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// Entries whose count is zero.
    absent: usize,
}

impl Generation {
    #[inline]
    fn add(&mut self, row: &[u8], diff: i64, hasher: &FixedState) {
        let mut state = hasher.build_hasher();
        state.write(row);
        let hash = state.finish();
        let (entries, arena) = (&self.entries, &self.arena);
        let found = self.table.find(hash, |index| {
            let entry = &entries[*index as usize];
            entry.hash == hash && &arena[entry.start..entry.start + entry.len] == row
        });
        match found.copied() {
            Some(index) => {
                let entry = &mut self.entries[index as usize];
                self.absent -= usize::from(entry.count == 0);
                entry.count += diff;
                self.absent += usize::from(entry.count == 0);
            }
            None => {
                let entry = Entry { hash, count: diff, start: self.arena.len(), len: row.len() };
                self.arena.extend_from_slice(row);
                self.insert(entry);
            }
        }
    }

    fn insert(&mut self, entry: Entry) {
        let index = u32::try_from(self.entries.len()).expect("memory ends before 2^32 rows of one closing value");
        self.absent += usize::from(entry.count == 0);
        let hash = entry.hash;
        self.entries.push(entry);
        let entries = &self.entries;
        self.table.insert_unique(hash, index, |index| entries[*index as usize].hash);
    }

    /// Drops rows that came and went, once they outnumber the others.
    fn pack_if_sparse(&mut self) {
        if self.absent < 1_024 || self.absent * 2 < self.entries.len() {
            return;
        }
        let entries = std::mem::take(&mut self.entries);
        let arena = std::mem::take(&mut self.arena);
        self.table.clear();
        self.absent = 0;
        for entry in entries.into_iter().filter(|entry| entry.count != 0) {
            let start = self.arena.len();
            self.arena.extend_from_slice(&arena[entry.start..entry.start + entry.len]);
            self.insert(Entry { start, ..entry });
        }
    }

    /// Appends the rows in byte order, each as often as it counts; tells how many have a negative count.
    fn sorted_rows<'a>(&'a self, rows: &mut Vec<&'a [u8]>) -> usize {
        let negative = self.entries.iter().filter(|entry| entry.count < 0).count();
        let mut order: Vec<(u64, &Entry)> = self
            .entries
            .iter()
            .filter(|entry| entry.count > 0)
            .map(|entry| (prefix(self.bytes(entry)), entry))
            .collect();
        order.sort_unstable_by(|(a_prefix, a), (b_prefix, b)| {
            a_prefix.cmp(b_prefix).then_with(|| self.bytes(a).cmp(self.bytes(b)))
        });
        for (_, entry) in order {
            rows.extend((0..entry.count).map(|_| self.bytes(entry)));
        }
        negative
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.start..entry.start + entry.len]
    }

    fn clear(&mut self) {
        self.table.clear();
        self.entries.clear();
        self.arena.clear();
        self.absent = 0;
    }
}
