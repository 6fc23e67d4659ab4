//! Rows in an order: the encoding behind `PARTITION BY … ORDER BY …`.
//!
//! A row is two byte strings. The partition is encoded as the router does. The key is the sort columns with
//! their directions, then the columns that are in neither, so that comparing keys as bytes is comparing rows by
//! their sort columns and then by the whole row. Nothing is stored twice, except for floats that are sorted by:
//! there all zeros are one and all NaN are one (the greatest, as in PostgreSQL), so that they are peers, and the
//! value itself follows among the other columns.

use highwater_engine::rows::RowCodec;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};

/// Rows of one schema to partitions and keys, and back.
pub(crate) struct RowOrder {
    partition: Vec<usize>,
    sort: Vec<usize>,
    rest: Vec<usize>,
    partitions: RowCodec,
    keys: RowConverter,
    /// The sort columns alone, where their width differs from row to row.
    sorts: Option<RowConverter>,
    /// Bytes of the sort columns, where that is the same for all.
    width: usize,
    /// Where each column of the input is found again.
    places: Vec<Place>,
}

/// Where a column is encoded, and its position there.
enum Place {
    Partition(usize),
    Key(usize),
}

/// The rows of a batch, encoded.
pub(crate) struct OrderedRows {
    partitions: EncodedRows,
    keys: EncodedRows,
    sorts: Option<EncodedRows>,
    width: usize,
}

impl OrderedRows {
    /// The partition of a row.
    pub(crate) fn partition(&self, row: usize) -> &[u8] {
        self.partitions.row(row).data()
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: usize) -> &[u8] {
        self.keys.row(row).data()
    }

    /// How many bytes of the key are the sort columns; rows equal in them are peers.
    pub(crate) fn sort_width(&self, row: usize) -> usize {
        self.sorts.as_ref().map_or(self.width, |sorts| sorts.row(row).data().len())
    }
}

impl RowOrder {
    /// For rows of this schema; all columns must be there.
    pub(crate) fn new(
        input: &SchemaRef,
        partition: &[usize],
        sort: &[(usize, SortOptions)],
    ) -> Result<RowOrder, ArrowError> {
        let data_type = |index: usize| input.field(index).data_type();
        let is_placed = |index: &usize| {
            partition.contains(index) || sort.iter().any(|(sorted, _)| sorted == index && !is_float(data_type(*index)))
        };
        let rest: Vec<usize> = (0..input.fields().len()).filter(|index| !is_placed(index)).collect();
        let sorted = sort
            .iter()
            .map(|(index, options)| SortField::new_with_options(data_type(*index).clone(), *options))
            .collect::<Vec<_>>();
        let plain = rest.iter().map(|index| SortField::new(data_type(*index).clone()));
        let keys = RowConverter::new(sorted.iter().cloned().chain(plain).collect())?;
        let sort: Vec<usize> = sort.iter().map(|(index, _)| *index).collect();
        let place = |index: usize| {
            let position = |columns: &[usize]| columns.iter().position(|column| *column == index);
            let in_sort = || position(&sort).expect("a column is in the partition, the rest, or sorted by");
            position(partition)
                .map(Place::Partition)
                .unwrap_or_else(|| Place::Key(position(&rest).map_or_else(in_sort, |position| sort.len() + position)))
        };
        let places = (0..input.fields().len()).map(place).collect();
        let sorts = RowConverter::new(sorted)?;
        let nulls: Vec<ArrayRef> = sort.iter().map(|index| new_null_array(data_type(*index), 1)).collect();
        let width = if sort.is_empty() { 0 } else { sorts.convert_columns(&nulls)?.row(0).data().len() };
        let is_fixed = sort.iter().all(|index| is_fixed(data_type(*index)));
        Ok(RowOrder {
            partition: partition.to_vec(),
            partitions: RowCodec::new(input, partition)?,
            sorts: (!is_fixed).then_some(sorts),
            sort,
            rest,
            keys,
            width,
            places,
        })
    }

    /// Encodes the rows of a batch.
    pub(crate) fn encode(&self, batch: &RecordBatch) -> OrderedRows {
        let column = |index: &usize| batch.column(*index).clone();
        let partition: Vec<ArrayRef> = self.partition.iter().map(column).collect();
        let sorted: Vec<ArrayRef> = self.sort.iter().map(|index| comparable(batch.column(*index))).collect();
        let all: Vec<ArrayRef> = sorted.iter().cloned().chain(self.rest.iter().map(column)).collect();
        OrderedRows {
            partitions: self.partitions.encode(&partition, batch.num_rows()),
            keys: convert(&self.keys, &all, batch.num_rows()),
            sorts: self.sorts.as_ref().map(|sorts| convert(sorts, &sorted, batch.num_rows())),
            width: self.width,
        }
    }

    /// The columns of the input for these rows, given as partition and key.
    pub(crate) fn decode<'a>(&self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<ArrayRef> {
        let partitions = self.partitions.decode(rows.clone().map(|(partition, _)| partition));
        let parser = self.keys.parser();
        let keys = self
            .keys
            .convert_rows(rows.map(|(_, key)| parser.parse(key)))
            .expect("the bytes were made by this converter");
        let column = |place: &Place| match place {
            Place::Partition(position) => partitions.column(*position).clone(),
            Place::Key(position) => keys[*position].clone(),
        };
        self.places.iter().map(column).collect()
    }
}

fn convert(converter: &RowConverter, columns: &[ArrayRef], rows: usize) -> EncodedRows {
    if columns.is_empty() {
        // The converter cannot count the rows of no columns.
        let mut encoded = converter.empty_rows(rows, 0);
        let parser = converter.parser();
        (0..rows).for_each(|_| encoded.push(parser.parse(&[])));
        return encoded;
    }
    converter.convert_columns(columns).expect("the batch has the columns the operator was built for")
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Whether every value takes the same number of bytes as NULL does.
fn is_fixed(data_type: &DataType) -> bool {
    data_type.is_primitive() || matches!(data_type, DataType::Boolean | DataType::FixedSizeBinary(_))
}

/// The column with one zero and one NaN.
fn comparable(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => column.clone(),
    }
}
