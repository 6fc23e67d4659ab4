//! The rows of one table in large batches, cut at block boundaries without copying.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, TimestampMillisecondArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::HASH_TYPE;
use highwater_engine::source::SourceError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::convert::Converter;
use super::mapping::Convert;
use super::table::{Origin, Table, TableFile};
use crate::range::BlockRange;

/// Rows a batch: large, because every batch costs a fixed effort and one block that has to be joined.
const BATCH_ROWS: usize = 16_384;

/// What a stream reads besides the wanted columns, to know the blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdentityColumns {
    pub(super) time: bool,
    pub(super) hash: bool,
    pub(super) parent: bool,
}

/// The rows of one block at the end of a cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The row after its last.
    pub(super) end: usize,
    pub(super) time_ms: Option<i64>,
    pub(super) hash: Option<[u8; 32]>,
    pub(super) parent: Option<[u8; 32]>,
}

/// Whole blocks taken from the front of a stream.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// The wanted columns; `None` where the values are not in the files.
    pub(super) columns: Vec<Option<ArrayRef>>,
    pub(super) segments: Vec<Segment>,
}

/// A batch that was read, from row `at` on.
struct Piece {
    columns: Vec<Option<ArrayRef>>,
    numbers: Int64Array,
    times: Option<TimestampMillisecondArray>,
    hashes: Option<FixedSizeBinaryArray>,
    parents: Option<FixedSizeBinaryArray>,
    at: usize,
}

impl Piece {
    fn rest(&self) -> &[i64] {
        &self.numbers.values()[self.at..]
    }
}

/// Which column of a batch goes where.
struct FilePlan {
    reader: ParquetRecordBatchReader,
    /// By column of a batch.
    converters: Vec<Converter>,
    /// For each wanted column: its index in the batch, and the conversion.
    wanted: Vec<Option<(usize, Convert)>>,
    number: (usize, Convert),
    time: Option<(usize, Convert)>,
    hash: Option<(usize, Convert)>,
    parent: Option<(usize, Convert)>,
}

/// Reads one table in ascending order of blocks.
pub(super) struct TableStream {
    table: Arc<Table>,
    wanted: Vec<usize>,
    identity: IdentityColumns,
    range: BlockRange,
    next_file: usize,
    plan: Option<FilePlan>,
    pieces: VecDeque<Piece>,
    exhausted: bool,
    last_number: i64,
}

impl TableStream {
    /// A stream of the columns `wanted` (indices of the table's schema).
    pub(super) fn new(
        table: Arc<Table>,
        wanted: Vec<usize>,
        identity: IdentityColumns,
        range: BlockRange,
    ) -> TableStream {
        TableStream {
            table,
            wanted,
            identity,
            range,
            next_file: 0,
            plan: None,
            pieces: VecDeque::new(),
            exhausted: false,
            last_number: i64::MIN,
        }
    }

    /// The table.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The indices of the wanted columns.
    pub(super) fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// Reads until at least one whole block is there. All blocks below the result are; `None` at the end.
    pub(super) fn fill(&mut self) -> Result<Option<i64>, SourceError> {
        loop {
            let Some(front) = self.pieces.front() else {
                if self.exhausted {
                    return Ok(None);
                }
                self.load()?;
                continue;
            };
            let rest = front.rest();
            let (first, last) = (rest[0], rest[rest.len() - 1]);
            if first < last {
                // The last block may go on in the next batch.
                return Ok(Some(last));
            }
            let closed = self.pieces.back().is_some_and(|back| back.rest().last().is_some_and(|last| *last > first));
            if closed || self.exhausted {
                return Ok(Some(first + 1));
            }
            self.load()?;
        }
    }

    /// Takes all rows of blocks below `limit`, which must not be above what [`TableStream::fill`] said.
    pub(super) fn cut(&mut self, limit: i64) -> Result<Cut, SourceError> {
        let mut parts: Vec<Vec<Option<ArrayRef>>> = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        let mut rows = 0;
        while let Some(front) = self.pieces.front_mut() {
            let count = front.rest().partition_point(|number| *number < limit);
            if count == 0 {
                break;
            }
            add_segments(front, count, rows, &mut segments);
            parts.push(front.columns.iter().map(|column| Some(column.as_ref()?.slice(front.at, count))).collect());
            rows += count;
            front.at += count;
            if front.at == front.numbers.len() {
                self.pieces.pop_front();
            }
        }
        let columns = match parts.len() {
            0 => self.empty_columns(),
            1 => parts.swap_remove(0),
            _ => join(&parts).map_err(|error| self.malformed(&error.to_string()))?,
        };
        Ok(Cut { columns, segments })
    }

    fn empty_columns(&self) -> Vec<Option<ArrayRef>> {
        let empty = |index: &usize| {
            let in_file = self.table.origins[*index] == Origin::File;
            in_file.then(|| arrow::array::new_empty_array(self.table.schema.field(*index).data_type()))
        };
        self.wanted.iter().map(empty).collect()
    }

    fn malformed(&self, detail: &str) -> SourceError {
        let path = self.next_file.checked_sub(1).and_then(|index| self.table.files.get(index));
        let place = path.map_or_else(|| self.table.name.clone(), |path| path.display().to_string());
        SourceError::Malformed { place, detail: detail.to_owned() }
    }

    /// Reads one more batch, or finds that there is none.
    fn load(&mut self) -> Result<(), SourceError> {
        loop {
            let Some(plan) = &mut self.plan else {
                if !self.open_next()? {
                    self.exhausted = true;
                    return Ok(());
                }
                continue;
            };
            let Some(batch) = plan.reader.next() else {
                self.plan = None;
                continue;
            };
            let piece =
                batch.and_then(|batch| plan.piece(&batch)).map_err(|error| self.malformed(&error.to_string()))?;
            if let Some(piece) = self.limit(piece)? {
                self.pieces.push_back(piece);
                return Ok(());
            }
            if self.exhausted {
                return Ok(());
            }
        }
    }

    /// Checks the order of a piece and drops what is outside the wanted range.
    fn limit(&mut self, mut piece: Piece) -> Result<Option<Piece>, SourceError> {
        let numbers = piece.numbers.values();
        let Some((first, last)) = numbers.first().zip(numbers.last()) else { return Ok(None) };
        if piece.numbers.null_count() > 0 || *first < 0 {
            return Err(self.malformed("block_number has a row that is NULL or negative"));
        }
        if *first < self.last_number || !numbers.is_sorted() {
            return Err(self.malformed("block_number goes back: rows must be in the order of blocks"));
        }
        self.last_number = *last;
        let from = i64::try_from(self.range.from).unwrap_or(i64::MAX);
        piece.at = numbers.partition_point(|number| *number < from);
        if let Ok(to) = i64::try_from(self.range.to) {
            let end = numbers.partition_point(|number| *number <= to);
            if end < numbers.len() {
                self.exhausted = true;
                piece.numbers = piece.numbers.slice(0, end);
            }
        }
        Ok((piece.at < piece.numbers.len()).then_some(piece))
    }

    fn open_next(&mut self) -> Result<bool, SourceError> {
        let Some(path) = self.table.files.get(self.next_file) else { return Ok(false) };
        let file = self.table.open_file(path)?;
        self.next_file += 1;
        self.plan = Some(self.plan_file(file)?);
        Ok(true)
    }

    fn plan_file(&self, file: TableFile) -> Result<FilePlan, SourceError> {
        let mut sources: Vec<usize> = Vec::new();
        let mut use_column = |name: &str, wanted: Option<&DataType>| {
            let column = file.column(name)?;
            if wanted.is_some_and(|wanted| wanted != column.field.data_type()) {
                return None;
            }
            sources.push(column.source);
            Some((column.source, column.convert))
        };
        let number = use_column("block_number", Some(&DataType::Int64))
            .ok_or_else(|| self.malformed("there is no column block_number of whole numbers"))?;
        let mut wanted = Vec::with_capacity(self.wanted.len());
        for index in &self.wanted {
            if self.table.origins[*index] != Origin::File {
                wanted.push(None);
                continue;
            }
            let field = self.table.schema.field(*index);
            let column = use_column(field.name(), Some(field.data_type())).ok_or_else(|| {
                self.malformed(&format!("there is no column {} of type {}", field.name(), field.data_type()))
            })?;
            wanted.push(Some(column));
        }
        let time = self.identity.time.then(|| use_column("block_timestamp", None)).flatten();
        let hash = self.identity.hash.then(|| use_column("block_hash", Some(&HASH_TYPE))).flatten();
        let parent = self.identity.parent.then(|| use_column("parent_hash", Some(&HASH_TYPE))).flatten();
        sources.sort_unstable();
        sources.dedup();
        let place = |(source, how): (usize, Convert)| {
            (sources.binary_search(&source).expect("every used column is in the list"), how)
        };
        Ok(FilePlan {
            converters: sources.iter().map(|_| Converter::default()).collect(),
            wanted: wanted.into_iter().map(|column| column.map(place)).collect(),
            number: place(number),
            time: time.map(place),
            hash: hash.map(place),
            parent: parent.map(place),
            reader: self.open_reader(file, sources.clone())?,
        })
    }

    fn open_reader(&self, file: TableFile, sources: Vec<usize>) -> Result<ParquetRecordBatchReader, SourceError> {
        let groups = file.metadata.metadata().row_groups().iter().enumerate();
        let overlaps = |range: Option<(u64, u64)>| {
            range.is_none_or(|(first, last)| first <= self.range.to && self.range.from <= last)
        };
        let groups = groups.filter(|(_, group)| overlaps(file.group_range(group))).map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(file.metadata.parquet_schema(), sources);
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.file, file.metadata)
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(groups)
            .build()
            .map_err(|error| SourceError::Malformed {
                place: file.path.display().to_string(),
                detail: error.to_string(),
            })
    }
}

impl FilePlan {
    fn piece(&mut self, batch: &RecordBatch) -> Result<Piece, ArrowError> {
        let mut column = |(index, how): (usize, Convert)| {
            self.converters[index].convert(batch.column(index), how).map_err(|error| {
                ArrowError::ComputeError(format!("column {}: {error}", batch.schema_ref().field(index).name()))
            })
        };
        let columns: Result<_, ArrowError> =
            self.wanted.iter().map(|place| place.map(&mut column).transpose()).collect();
        let times = self.time.map(&mut column).transpose()?;
        Ok(Piece {
            columns: columns?,
            numbers: column(self.number)?.as_primitive::<Int64Type>().clone(),
            times: times.and_then(|times| times.as_primitive_opt::<TimestampMillisecondType>().cloned()),
            hashes: self.hash.map(&mut column).transpose()?.map(|hashes| hashes.as_fixed_size_binary().clone()),
            parents: self.parent.map(&mut column).transpose()?.map(|parents| parents.as_fixed_size_binary().clone()),
            at: 0,
        })
    }
}

/// Appends the blocks of the next `count` rows of a piece; the first may go on with the last segment.
fn add_segments(piece: &Piece, count: usize, offset: usize, segments: &mut Vec<Segment>) {
    let numbers = &piece.rest()[..count];
    let hash_at = |hashes: &Option<FixedSizeBinaryArray>, row| {
        let hashes = hashes.as_ref().filter(|hashes| hashes.is_valid(row))?;
        hashes.value(row).try_into().ok()
    };
    let mut start = 0;
    while start < count {
        let number = numbers[start];
        let length = numbers[start..].iter().position(|other| *other != number).unwrap_or(count - start);
        let end = offset + start + length;
        // Order and sign were checked when the piece was read.
        let number = number.unsigned_abs();
        match segments.last_mut().filter(|segment| segment.number == number) {
            Some(segment) => segment.end = end,
            None => {
                let row = piece.at + start;
                segments.push(Segment {
                    number,
                    end,
                    time_ms: piece.times.as_ref().filter(|times| times.is_valid(row)).map(|times| times.value(row)),
                    hash: hash_at(&piece.hashes, row),
                    parent: hash_at(&piece.parents, row),
                });
            }
        }
        start += length;
    }
}

/// Joins the rows of one block that lie in several batches.
fn join(parts: &[Vec<Option<ArrayRef>>]) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
    let width = parts.first().map_or(0, Vec::len);
    let mut columns = Vec::with_capacity(width);
    for index in 0..width {
        let arrays: Option<Vec<&dyn Array>> = parts.iter().map(|part| part[index].as_deref()).collect();
        columns.push(arrays.map(|arrays| concat(&arrays)).transpose()?);
    }
    Ok(columns)
}
