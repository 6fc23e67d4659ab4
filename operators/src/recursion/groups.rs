//! The aggregate of one group of rows.
//!
//! `count(*)`, `count`, `min`, `max` and `sum` of integers are worked out on the encoded bytes, whose order is
//! that of the values; anything else by an [`Aggregate`] made for the group.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};

use super::layout::Layout;
use super::operators::error_columns;
use super::row::{Columns, Row, null_row};
use super::spec::RecursionError;
use crate::aggregate::{Aggregate, AggregateCall, AggregateFunction, AggregateSpec};

/// Begins a row that stands for an error; no encoded column begins so.
const ERROR: u8 = 0xFF;

/// What a recursion does for each group of an aggregate.
pub(super) struct Groups {
    /// The keys are the first columns, in their order, and the rest what the calls need.
    spec: AggregateSpec,
    layout: Layout,
    fast: Option<Vec<Call>>,
    /// Columns of a key and a value, those of the result, and those of errors.
    whole: [Columns; 3],
    /// Whether the empty row is one that stands for nothing.
    unit: bool,
}

/// A call that is worked out on bytes.
struct Call {
    function: AggregateFunction,
    argument: Option<usize>,
    filter: Option<usize>,
    /// The result without rows.
    null: Vec<u8>,
    signed: bool,
}

/// Which columns of the input a group needs beside its keys.
pub(super) fn needed(spec: &AggregateSpec) -> Vec<usize> {
    let mut needed: Vec<usize> = spec.calls.iter().flat_map(|call| read(call).collect::<Vec<_>>()).collect();
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// The columns that a call reads.
fn read(call: &AggregateCall) -> impl Iterator<Item = usize> {
    let sorted = call.order_by.iter().map(|(column, _)| *column);
    call.arguments.iter().copied().chain(sorted).chain(call.filter)
}

impl Groups {
    /// For rows cut by [`AggregateSpec::keys`] and [`needed`].
    pub(super) fn new(spec: &AggregateSpec) -> Result<Groups, RecursionError> {
        let columns = needed(spec);
        let place = |column: usize| columns.iter().position(|needed| *needed == column).map(|at| at + spec.keys.len());
        let call = |call: &AggregateCall| AggregateCall {
            arguments: call.arguments.iter().filter_map(|column| place(*column)).collect(),
            order_by: call.order_by.iter().filter_map(|(column, how)| Some((place(*column)?, *how))).collect(),
            filter: call.filter.and_then(place),
            ..call.clone()
        };
        let all: Vec<usize> = spec.keys.iter().chain(&columns).copied().collect();
        let input: SchemaRef = Arc::new(spec.input.project(&all)?);
        let moved = AggregateSpec {
            keys: (0..spec.keys.len()).collect(),
            calls: spec.calls.iter().map(call).collect(),
            input: input.clone(),
            closing: None,
        };
        // Built once here, so that building it for a group cannot fail.
        let output = Aggregate::new("recursion", moved.clone())?.output_schema().clone();
        let layout =
            Layout::new(&spec.input, &columns).map_err(|data_type| RecursionError::ColumnType { data_type })?;
        let fast = fast_calls(&moved, &output)?;
        let whole = [Columns::new(&input)?, Columns::new(&output)?, error_columns()];
        Ok(Groups { unit: spec.keys.is_empty(), spec: moved, layout, fast, whole })
    }

    /// Whether a group can be an error instead of a row.
    pub(super) fn can_fail(&self) -> bool {
        self.fast.is_none()
    }

    /// The error that a result stands for.
    pub(super) fn error(result: &Row) -> Option<Row> {
        let bytes = result.as_bytes();
        (bytes.first() == Some(&ERROR)).then(|| Row::from(&bytes[1..]))
    }

    /// The results of the calls over the rows of a group, encoded.
    pub(super) fn evaluate(&mut self, key: &Row, rows: &[(&Row, i64)]) -> Option<Row> {
        if !self.unit && rows.iter().all(|(_, count)| *count <= 0) {
            return None;
        }
        let unit = i64::from(self.unit);
        match &self.fast {
            Some(calls) => Some(bytewise(calls, &self.layout, rows, unit)),
            None => self.evaluate_whole(key, rows, unit),
        }
    }

    fn evaluate_whole(&self, key: &Row, rows: &[(&Row, i64)], unit: i64) -> Option<Row> {
        let (mut joined, mut diffs) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, count) in rows {
            let count = if row.as_bytes().is_empty() { count - unit } else { *count };
            if count != 0 {
                joined.push(Row::from([key.as_bytes(), row.as_bytes()].concat().as_slice()));
                diffs.push(count);
            }
        }
        let [input, output, errors] = &self.whole;
        let delta = Delta::derived(input.decode(&joined), diffs);
        let mut aggregate = Aggregate::new("recursion", self.spec.clone()).expect("the same one was built before");
        let mut result = Output::default();
        aggregate.on_tick(vec![delta], &nothing_final(), &mut result);
        let row = result.deltas.iter().find(|delta| !delta.is_empty()).map(|delta| {
            let row = output.encode(&delta.batch).remove(0);
            // The key is in the arrangement already.
            Row::from(&row.as_bytes()[key.as_bytes().len()..])
        });
        row.or_else(|| {
            let error = result.errors.iter().find(|delta| !delta.is_empty())?;
            let error = errors.encode(&error.batch).remove(0);
            Some(Row::from([&[ERROR], error.as_bytes()].concat().as_slice()))
        })
    }
}

fn nothing_final() -> Progress {
    let head = BlockRef { number: 0, hash: BlockHash([0; 32]), parent: BlockHash([0; 32]), timestamp_ms: 0 };
    Progress::at(0, &head)
}

fn fast_calls(spec: &AggregateSpec, output: &SchemaRef) -> Result<Option<Vec<Call>>, RecursionError> {
    let mut calls = Vec::with_capacity(spec.calls.len());
    for (at, call) in spec.calls.iter().enumerate() {
        let argument = call.arguments.first().map(|column| spec.input.field(*column).data_type());
        let once = call.distinct && !call.function.ignores_repetition();
        let fast = !once
            && match call.function {
                AggregateFunction::CountAll | AggregateFunction::Count => true,
                AggregateFunction::Min | AggregateFunction::Max => true,
                AggregateFunction::Sum => argument.is_some_and(DataType::is_integer),
                _ => false,
            };
        if !fast {
            return Ok(None);
        }
        let field = output.field(spec.keys.len() + at).clone().with_nullable(true);
        calls.push(Call {
            function: call.function,
            argument: call.arguments.first().map(|column| column - spec.keys.len()),
            filter: call.filter.map(|column| column - spec.keys.len()),
            null: null_row(&Arc::new(Schema::new(vec![field])))?.as_bytes().to_vec(),
            signed: argument.is_some_and(DataType::is_signed_integer),
        });
    }
    Ok(Some(calls))
}

/// All calls over a group whose rows are in the order of their bytes.
fn bytewise(calls: &[Call], layout: &Layout, rows: &[(&Row, i64)], unit: i64) -> Row {
    let mut offsets = Vec::new();
    let mut states: Vec<State<'_>> = calls.iter().map(|_| State::default()).collect();
    for (row, count) in rows {
        let bytes = row.as_bytes();
        let count = if bytes.is_empty() { count - unit } else { *count };
        if count == 0 {
            continue;
        }
        if bytes.is_empty() && !calls.iter().all(|call| call.argument.is_none() && call.filter.is_none()) {
            continue;
        }
        layout.offsets(bytes, &mut offsets);
        let column = |column: usize| &bytes[offsets[column]..offsets[column + 1]];
        for (call, state) in calls.iter().zip(&mut states) {
            const TRUE: &[u8] = &[1, 1];
            if call.filter.is_some_and(|filter| column(filter) != TRUE) {
                continue;
            }
            let argument = call.argument.map(column);
            if argument.is_none_or(|bytes| bytes[0] != 0) {
                state.add(call, argument.unwrap_or_default(), count);
            }
        }
    }
    let mut result = Vec::new();
    calls.iter().zip(&states).for_each(|(call, state)| state.write(call, &mut result));
    Row::from(result.as_slice())
}

#[derive(Default)]
struct State<'r> {
    count: i64,
    sum: i128,
    extreme: Option<&'r [u8]>,
}

impl<'r> State<'r> {
    fn add(&mut self, call: &Call, argument: &'r [u8], count: i64) {
        self.count += count;
        match call.function {
            AggregateFunction::Min if self.extreme.is_none_or(|least| argument < least) => {
                self.extreme = Some(argument);
            }
            AggregateFunction::Max if self.extreme.is_none_or(|greatest| argument > greatest) => {
                self.extreme = Some(argument);
            }
            // At most 2^63 rows of less than 2^63, or of less than 2^64 with sums of less than 2^127.
            AggregateFunction::Sum => {
                self.sum = self.sum.saturating_add(integer(&argument[1..], call.signed).saturating_mul(count.into()));
            }
            _ => {}
        }
    }

    fn write(&self, call: &Call, result: &mut Vec<u8>) {
        const PRESENT: u8 = 1;
        match call.function {
            AggregateFunction::CountAll | AggregateFunction::Count => {
                result.push(PRESENT);
                result.extend((self.count ^ i64::MIN).to_be_bytes());
            }
            AggregateFunction::Sum if self.count != 0 => {
                result.push(PRESENT);
                result.extend((self.sum ^ i128::MIN).to_be_bytes());
            }
            _ => result.extend_from_slice(self.extreme.unwrap_or(&call.null)),
        }
    }
}

/// An integer of the row encoding: big-endian, with the sign bit turned.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let value = bytes.iter().fold(0_i128, |value, byte| (value << 8) | i128::from(*byte));
    if signed { value - (1_i128 << (8 * bytes.len() - 1)) } else { value }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray, Int16Array, Int64Array, StringArray, UInt64Array};
    use arrow::datatypes::Field;
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn table() -> RecordBatch {
        let rows = 24_i64;
        let some = |row: i64, every: i64| row % every != 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..rows).map(|row| some(row, 5).then_some(row % 3)).collect::<Int64Array>()),
            Arc::new(
                (0..rows)
                    .map(|row| some(row, 4).then_some(i64::MIN + (row % 4) * (i64::MAX / 4)))
                    .collect::<Int64Array>(),
            ),
            Arc::new((0..rows).map(|row| i16::try_from(row * 1000 - 9000).ok()).collect::<Int16Array>()),
            Arc::new(
                (0..rows).map(|row| some(row, 3).then_some(u64::MAX - row.unsigned_abs())).collect::<UInt64Array>(),
            ),
            Arc::new(
                (0..rows)
                    .map(|row| some(row, 6).then(|| "y".repeat(usize::try_from(row * 3).unwrap())))
                    .collect::<StringArray>(),
            ),
            Arc::new((0..rows).map(|row| some(row, 7).then_some(row % 2 == 0)).collect::<BooleanArray>()),
        ];
        let fields = columns.iter().enumerate();
        let fields: Vec<Field> =
            fields.map(|(at, column)| Field::new(at.to_string(), column.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    /// Groups of every size from none to all rows, by bytes and by an [`Aggregate`].
    #[test]
    fn bytes_and_the_aggregate_agree() {
        use AggregateFunction as F;
        let table = table();
        let call = |function, argument: Option<usize>, filter| AggregateCall {
            filter,
            ..AggregateCall::new(function, argument.into_iter().collect::<Vec<_>>(), "x")
        };
        let mut calls = vec![call(F::CountAll, None, None), call(F::CountAll, None, Some(5))];
        for argument in 1..5 {
            for filter in [None, Some(5)] {
                let numbers = (argument < 4).then_some(F::Sum);
                let functions = [F::Count, F::Min, F::Max].into_iter().chain(numbers);
                calls.extend(functions.map(|function| call(function, Some(argument), filter)));
            }
        }
        for keys in [vec![0], vec![]] {
            let spec = AggregateSpec { input: table.schema(), keys: keys.clone(), calls: calls.clone(), closing: None };
            let mut groups = Groups::new(&spec).unwrap();
            assert!(!groups.can_fail());
            let cut = |columns: &[usize]| {
                let part = table.project(columns).unwrap();
                Columns::new(&part.schema()).unwrap().encode(&part)
            };
            let (all_keys, values) = (cut(&keys), cut(&needed(&spec)));
            for size in usize::from(!keys.is_empty())..=values.len() {
                let mut rows: Vec<(&Row, i64)> = values[..size].iter().zip((1..4).cycle()).collect();
                let empty = Row::from(&[][..]);
                rows.extend(keys.is_empty().then_some((&empty, 1)));
                rows.sort();
                let fast = groups.evaluate(&all_keys[0], &rows);
                let unit = i64::from(keys.is_empty());
                assert_eq!(fast, groups.evaluate_whole(&all_keys[0], &rows, unit), "{size} rows by {keys:?}");
            }
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_an_error() {
        let column = arrow::array::Decimal128Array::from(vec![10_i128.pow(38) - 1]);
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Decimal128(38, 10), true)]));
        let table = RecordBatch::try_new(
            schema.clone(),
            vec![Arc::new(column.with_precision_and_scale(38, 10).unwrap()) as ArrayRef],
        );
        let call = AggregateCall::new(AggregateFunction::Sum, vec![0], "sum");
        let spec = AggregateSpec { input: schema.clone(), keys: vec![], calls: vec![call], closing: None };
        let mut groups = Groups::new(&spec).unwrap();
        assert!(groups.can_fail());
        let row = Columns::new(&schema).unwrap().encode(&table.unwrap()).remove(0);
        let (key, unit) = (Row::from(&[][..]), Row::from(&[][..]));
        let mut evaluate = |count: i64| groups.evaluate(&key, &[(&unit, 1), (&row, count)]).unwrap();
        assert_eq!(Groups::error(&evaluate(1)), None);
        assert!(Groups::error(&evaluate(2)).is_some());
    }
}
