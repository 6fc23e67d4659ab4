//! Window functions by their definition: sort each partition, and for every row look at every other row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Decimal128Array, DynComparator, Float64Array, Int64Array, UInt32Array,
    make_comparator,
};
use arrow::compute::{SortOptions, cast, concat, take};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_operators::over::{Bound, Distance, Frame, OverCall, OverFunction, OverSpec, Units};

use crate::harness::{Relation, cells, relation, text};

/// One answer.
#[derive(Clone, Copy)]
enum Answer {
    Null,
    Integer(i128),
    Float(f64),
    /// The value of this column in this row.
    Cell(usize, usize),
}

/// One partition in order.
struct Partition<'a> {
    spec: &'a OverSpec,
    input: &'a RecordBatch,
    /// Row of the input at each place.
    rows: Vec<usize>,
    /// Group of peers at each place.
    groups: Vec<usize>,
}

pub(crate) fn over(spec: &OverSpec, output: &SchemaRef, input: &RecordBatch) -> Relation {
    let keys = input.project(&spec.partition).expect("keys exist");
    let mut partitions: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for row in 0..input.num_rows() {
        partitions.entry(cells(&keys, row)).or_default().push(row);
    }
    let sorted = comparators(spec.sort.iter().map(|(index, options)| (comparable(input.column(*index)), *options)));
    let whole = comparators(input.columns().iter().map(|column| (column.clone(), SortOptions::default())));
    let mut order = Vec::new();
    let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); spec.calls.len()];
    for mut rows in partitions.into_values() {
        let compare = |all: &[DynComparator], a: usize, b: usize| {
            all.iter().map(|compare| compare(a, b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        };
        rows.sort_by(|a, b| compare(&sorted, *a, *b).then_with(|| compare(&whole, *a, *b)));
        let mut groups = vec![0; rows.len()];
        for place in 1..rows.len() {
            let is_peer = compare(&sorted, rows[place - 1], rows[place]).is_eq();
            groups[place] = groups[place - 1] + usize::from(!is_peer);
        }
        order.extend(rows.iter().map(|row| u32::try_from(*row).expect("few rows")));
        let partition = Partition { spec, input, rows, groups };
        for (call, answers) in spec.calls.iter().zip(&mut answers) {
            answers.extend((0..partition.rows.len()).map(|place| partition.answer(call, place)));
        }
    }
    let order = UInt32Array::from(order);
    let mut columns: Vec<ArrayRef> =
        input.columns().iter().map(|column| take(column, &order, None).expect("rows of the input")).collect();
    for (index, answers) in answers.iter().enumerate() {
        columns.push(column(output.field(input.num_columns() + index).data_type(), input, answers));
    }
    let batch = RecordBatch::try_new(output.clone(), columns).expect("the columns of the output");
    relation((0..batch.num_rows()).map(|row| text(&batch, row)))
}

fn comparators(columns: impl Iterator<Item = (ArrayRef, SortOptions)>) -> Vec<DynComparator> {
    columns.map(|(column, options)| make_comparator(&column, &column, options).expect("sorts")).collect()
}

/// One zero and one NaN.
fn comparable(column: &ArrayRef) -> ArrayRef {
    if column.data_type() != &DataType::Float64 {
        return column.clone();
    }
    let one = |value: f64| {
        if value.is_nan() {
            f64::NAN
        } else if value == 0.0 {
            0.0
        } else {
            value
        }
    };
    Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
}

fn column(data_type: &DataType, input: &RecordBatch, answers: &[Answer]) -> ArrayRef {
    let of = answers.iter().find_map(|answer| if let Answer::Cell(of, _) = answer { Some(*of) } else { None });
    if let Some(of) = of {
        // A row more, of NULL, than there are; the other values are of columns of the same type.
        let columns: Vec<&dyn arrow::array::Array> = input.columns().iter().map(AsRef::as_ref).collect();
        let same: Vec<usize> =
            (0..columns.len()).filter(|c| columns[*c].data_type() == columns[of].data_type()).collect();
        let all = concat(&same.iter().map(|column| columns[*column]).collect::<Vec<_>>()).expect("one type");
        let place = |answer: &Answer| match answer {
            Answer::Cell(of, row) => {
                let column = same.iter().position(|column| column == of).expect("of this type");
                Some(u32::try_from(column * input.num_rows() + row).expect("few rows"))
            }
            _ => None,
        };
        return take(&all, &answers.iter().map(place).collect::<UInt32Array>(), None).expect("rows of the input");
    }
    let integer = |answer: &Answer| if let Answer::Integer(value) = answer { Some(*value) } else { None };
    let float = |answer: &Answer| if let Answer::Float(value) = answer { Some(*value) } else { None };
    match data_type {
        DataType::Int64 => {
            let small = |answer| integer(answer).map(|value| i64::try_from(value).expect("small"));
            Arc::new(answers.iter().map(small).collect::<Int64Array>())
        }
        DataType::Float64 => Arc::new(answers.iter().map(float).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let array = answers.iter().map(integer).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*precision, *scale).expect("a decimal"))
        }
        other => arrow::array::new_null_array(other, answers.len()),
    }
}

impl Partition<'_> {
    fn answer(&self, call: &OverCall, place: usize) -> Answer {
        use OverFunction as F;
        let rows = self.rows.len();
        let count = |number: usize| Answer::Integer(i128::try_from(number).expect("small"));
        let before = (0..rows).filter(|other| self.groups[*other] < self.groups[place]).count();
        let up_to = (0..rows).filter(|other| self.groups[*other] <= self.groups[place]).count();
        match call.function {
            F::RowNumber => count(place + 1),
            F::Rank => count(before + 1),
            F::DenseRank => count(self.groups[place] + 1),
            F::PercentRank if rows == 1 => Answer::Float(0.0),
            F::PercentRank => Answer::Float(before as f64 / (rows - 1) as f64),
            F::CumeDist => Answer::Float(up_to as f64 / rows as f64),
            F::Ntile(parts) => {
                let parts = usize::try_from(parts).expect("positive");
                let sizes = (0..parts).map(|part| rows / parts + usize::from(part < rows % parts));
                let ends = sizes.scan(0, |end, size| {
                    *end += size;
                    Some(*end)
                });
                count(ends.take_while(|end| *end <= place).count() + 1)
            }
            F::Lag { offset } => self.shifted(call, place, -offset),
            F::Lead { offset } => self.shifted(call, place, offset),
            F::Ewma { alpha } => self.ewma(call, place, alpha),
            _ => self.framed(call, place),
        }
    }

    fn value(&self, column: usize, place: usize) -> Answer {
        Answer::Cell(column, self.rows[place])
    }

    fn is_null(&self, column: usize, place: usize) -> bool {
        self.input.column(column).is_null(self.rows[place])
    }

    fn shifted(&self, call: &OverCall, place: usize, forward: i64) -> Answer {
        let argument = call.arguments[0];
        let counts = |other: &usize| !call.ignore_nulls || !self.is_null(argument, *other);
        let steps = usize::try_from(forward.unsigned_abs()).expect("small");
        let found = match forward {
            0 => Some(place),
            1.. => (place + 1..self.rows.len()).filter(counts).nth(steps - 1),
            _ => (0..place).rev().filter(counts).nth(steps - 1),
        };
        match (found, call.arguments.get(1)) {
            (Some(found), _) => self.value(argument, found),
            (None, Some(default)) => self.value(*default, place),
            (None, None) => Answer::Null,
        }
    }

    fn float(&self, column: usize, place: usize) -> Option<f64> {
        let floats = cast(self.input.column(column), &DataType::Float64).expect("a number");
        let row = self.rows[place];
        floats.is_valid(row).then(|| floats.as_primitive::<Float64Type>().value(row))
    }

    fn ewma(&self, call: &OverCall, place: usize, alpha: f64) -> Answer {
        let step = |before: Option<f64>, value: f64| match before {
            Some(before) => Some(alpha * value + (1.0 - alpha) * before),
            None => Some(value),
        };
        let values = (0..=place).filter_map(|other| self.float(call.arguments[0], other));
        values.fold(None, step).map_or(Answer::Null, Answer::Float)
    }

    fn framed(&self, call: &OverCall, place: usize) -> Answer {
        use OverFunction as F;
        let passes = |other: &usize| {
            call.filter.is_none_or(|filter| {
                let filter = self.input.column(filter).as_boolean();
                filter.is_valid(self.rows[*other]) && filter.value(self.rows[*other])
            })
        };
        let frame: Vec<usize> =
            (0..self.rows.len()).filter(|other| self.is_in(&call.frame, place, *other)).filter(passes).collect();
        let Some(argument) = call.arguments.first().copied() else {
            return Answer::Integer(i128::try_from(frame.len()).expect("small"));
        };
        let is_place = matches!(call.function, F::FirstValue | F::LastValue | F::NthValue(_));
        let counted: Vec<usize> = frame
            .into_iter()
            .filter(|other| (is_place && !call.ignore_nulls) || !self.is_null(argument, *other))
            .collect();
        let column = self.input.column(argument);
        let compare = make_comparator(column, column, SortOptions::default()).expect("sorts");
        let by_value = |a: &&usize, b: &&usize| compare(self.rows[**a], self.rows[**b]);
        let found = match call.function {
            F::Count => return Answer::Integer(i128::try_from(counted.len()).expect("small")),
            F::Sum | F::Avg => return self.sum(call, &counted),
            F::Min => counted.iter().min_by(by_value),
            F::Max => counted.iter().max_by(by_value),
            F::FirstValue => counted.first(),
            F::LastValue => counted.last(),
            F::NthValue(nth) => counted.get(usize::try_from(nth - 1).expect("positive")),
            other => panic!("{other:?} has no frame"),
        };
        found.map_or(Answer::Null, |found| self.value(argument, *found))
    }

    /// Exact for the floats of the tests: small multiples of a quarter.
    fn sum(&self, call: &OverCall, places: &[usize]) -> Answer {
        if places.is_empty() {
            return Answer::Null;
        }
        let column = self.input.column(call.arguments[0]);
        let is_average = call.function == OverFunction::Avg;
        let rows = places.iter().map(|place| self.rows[*place]);
        let (sum, scale) = match column.data_type() {
            DataType::Float64 => {
                let sum: f64 = rows.fold(0.0, |sum, row| sum + column.as_primitive::<Float64Type>().value(row));
                return Answer::Float(if is_average { sum / places.len() as f64 } else { sum });
            }
            DataType::Decimal128(_, scale) => {
                (rows.map(|row| column.as_primitive::<Decimal128Type>().value(row)).sum::<i128>(), *scale)
            }
            _ => (rows.map(|row| i128::from(column.as_primitive::<Int64Type>().value(row))).sum(), 0),
        };
        if is_average {
            return Answer::Float(sum as f64 / (places.len() as f64 * 10_f64.powi(i32::from(scale))));
        }
        Answer::Integer(sum)
    }

    fn is_in(&self, frame: &Frame, current: usize, other: usize) -> bool {
        let after_start = match frame.start {
            Bound::UnboundedPreceding => true,
            Bound::Preceding(distance) => self.from(frame.units, current, other, &distance, -1) >= 0,
            Bound::CurrentRow => self.steps(frame.units, current, other) >= 0,
            Bound::Following(distance) => self.from(frame.units, current, other, &distance, 1) >= 0,
            Bound::UnboundedFollowing => false,
        };
        let before_end = match frame.end {
            Bound::UnboundedPreceding => false,
            Bound::Preceding(distance) => self.from(frame.units, current, other, &distance, -1) <= 0,
            Bound::CurrentRow => self.steps(frame.units, current, other) <= 0,
            Bound::Following(distance) => self.from(frame.units, current, other, &distance, 1) <= 0,
            Bound::UnboundedFollowing => true,
        };
        after_start && before_end
    }

    /// How many rows or groups `other` lies after `current`.
    fn steps(&self, units: Units, current: usize, other: usize) -> i64 {
        let place =
            |place: usize| i64::try_from(if units == Units::Rows { place } else { self.groups[place] }).expect("small");
        place(other) - place(current)
    }

    /// Whether `other` is before (-1), at (0) or after (1) the place so far from `current`.
    fn from(&self, units: Units, current: usize, other: usize, distance: &Distance, direction: i64) -> i64 {
        if let Distance::Count(count) = distance {
            let bound = direction * i64::try_from(*count).expect("small");
            return (self.steps(units, current, other) - bound).signum();
        }
        let (index, options) = self.spec.sort[0];
        let sign = if options.descending { -1.0 } else { 1.0 };
        let axis = |place: usize| self.axis(index, place).filter(|value| !value.is_nan()).map(|value| value * sign);
        let distance = match distance {
            Distance::Integer(distance) => *distance as f64,
            Distance::Float(distance) => *distance,
            Distance::Count(_) => 0.0,
        };
        match (axis(current), axis(other)) {
            (Some(current), Some(other)) => {
                let bound = current + direction as f64 * distance;
                if other < bound { -1 } else { i64::from(other > bound) }
            }
            // Without a place on the axis: the frame is the peers.
            _ => self.steps(Units::Groups, current, other).signum(),
        }
    }

    /// The place of a row on the axis; the numbers of the tests are small enough for doubles.
    fn axis(&self, column: usize, place: usize) -> Option<f64> {
        let (array, row) = (self.input.column(column), self.rows[place]);
        if array.is_null(row) {
            return None;
        }
        Some(match array.data_type() {
            DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
            DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value(row) as f64,
            _ => cast(array, &DataType::Int64).expect("an integer").as_primitive::<Int64Type>().value(row) as f64,
        })
    }
}
