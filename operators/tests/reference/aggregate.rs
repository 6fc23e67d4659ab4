//! GROUP BY by its definition: collect the rows of each group, then compute each call from its values.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{I256, U256, Uint};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{Wide, int256_from_bytes, uint256_from_bytes, wide_kind};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction as F, AggregateSpec};

use crate::harness::{Relation, cells, relation};

/// Rows of the result, and errors as `message`.
pub(crate) fn aggregate(spec: &AggregateSpec, input: &RecordBatch) -> (Relation, Vec<String>) {
    let keys = input.project(&spec.keys).expect("keys exist");
    let mut groups: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    if spec.keys.is_empty() {
        groups.insert(Vec::new(), (0..input.num_rows()).collect());
    } else {
        for row in 0..input.num_rows() {
            groups.entry(cells(&keys, row)).or_default().push(row);
        }
    }
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (mut row, members) in groups {
        let results: Vec<Result<String, String>> =
            spec.calls.iter().map(|call| evaluate(call, input, &members)).collect();
        let failed: Vec<String> = results.iter().filter_map(|result| result.clone().err()).collect();
        if failed.is_empty() {
            row.extend(results.into_iter().map(|result| result.expect("none failed")));
            rows.push(row.join("|"));
        } else {
            // Equal messages of one group are one error row, counted as often.
            errors.extend(failed);
        }
    }
    errors.sort();
    (relation(rows), errors)
}

fn evaluate(call: &AggregateCall, input: &RecordBatch, members: &[usize]) -> Result<String, String> {
    let passes = |row: &usize| {
        call.filter.is_none_or(|filter| {
            let filter = input.column(filter).as_boolean();
            filter.is_valid(*row) && filter.value(*row)
        })
    };
    let rows: Vec<usize> = members.iter().copied().filter(passes).collect();
    let Some(argument) = call.arguments.first().copied() else { return Ok(rows.len().to_string()) };
    let column = input.column(argument);
    let mut rows: Vec<usize> = rows.into_iter().filter(|row| column.is_valid(*row)).collect();
    let single = input.project(&[argument]).expect("exists");
    let shown = |row: usize| cells(&single, row).remove(0);
    if call.distinct {
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(shown(*row)));
    }
    match call.function {
        F::CountAll | F::Count => return Ok(rows.len().to_string()),
        _ if rows.is_empty() => return Ok("~".to_owned()),
        F::Min => return Ok(shown(extreme(column, &rows, Ordering::Less))),
        F::Max => return Ok(shown(extreme(column, &rows, Ordering::Greater))),
        F::BoolAnd => return Ok(rows.iter().all(|row| column.as_boolean().value(*row)).to_string()),
        F::BoolOr => return Ok(rows.iter().any(|row| column.as_boolean().value(*row)).to_string()),
        _ => {}
    }
    let field = input.schema().field(argument).clone();
    match (column.data_type(), wide_kind(&field)) {
        (_, Some(kind)) => wide(call.function, column, kind, field.name(), &rows),
        (DataType::Decimal128(_, scale), _) => decimal(call.function, column, *scale, &rows),
        (DataType::Float64, _) => Ok(float(call.function, column, &rows)),
        _ => Ok(integer(call.function, column, &rows)),
    }
}

fn extreme(column: &ArrayRef, rows: &[usize], wanted: Ordering) -> usize {
    let compare = arrow::array::make_comparator(column, column, SortOptions::default()).expect("sorts");
    rows.iter().copied().reduce(|best, row| if compare(row, best) == wanted { row } else { best }).expect("not empty")
}

fn integer(function: F, column: &ArrayRef, rows: &[usize]) -> String {
    let values = cast(column, &DataType::Int64).expect("an integer");
    let values: Vec<i128> = rows.iter().map(|row| i128::from(values.as_primitive::<Int64Type>().value(*row))).collect();
    let (count, sum) = (values.len() as f64, values.iter().sum::<i128>());
    match function {
        F::Sum => sum.to_string(),
        F::Avg => (sum as f64 / count).to_string(),
        _ => {
            let n = I256::try_from(values.len()).expect("few");
            let wide = |value: i128| I256::try_from(value).expect("fits");
            let squares = values.iter().fold(I256::ZERO, |sum, value| sum + wide(*value) * wide(*value));
            let scaled = n * squares - wide(sum) * wide(sum);
            variance(function, count, |divisor| nearest(Big::from(scaled.into_raw()) << 1074) / (count * divisor))
        }
    }
}

fn variance(function: F, count: f64, variance: impl Fn(f64) -> f64) -> String {
    let sample = matches!(function, F::VarSamp | F::StddevSamp);
    if sample && count < 2.0 {
        return "~".to_owned();
    }
    let value = variance(if sample { count - 1.0 } else { count });
    let root = matches!(function, F::StddevPop | F::StddevSamp);
    (if root { value.sqrt() } else { value }).to_string()
}

fn wide(function: F, column: &ArrayRef, kind: Wide, name: &str, rows: &[usize]) -> Result<String, String> {
    let bytes = column.as_fixed_size_binary();
    let shift = |value: Big| value << 1074;
    // Signed values are summed apart by sign.
    let (mut positive, mut negative) = (Big::ZERO, Big::ZERO);
    for row in rows {
        match kind {
            Wide::Unsigned => positive += Big::from(uint256_from_bytes(bytes.value(*row))),
            Wide::Signed => {
                let value = int256_from_bytes(bytes.value(*row));
                *(if value.is_negative() { &mut negative } else { &mut positive }) += Big::from(value.unsigned_abs());
            }
        }
    }
    let (is_negative, sum) =
        if negative > positive { (true, negative - positive) } else { (false, positive - negative) };
    let sign = if is_negative { -1.0 } else { 1.0 };
    match (function, kind) {
        (F::Avg, _) => Ok((sign * nearest(shift(sum)) / rows.len() as f64).to_string()),
        (F::Sum, Wide::Unsigned) if sum <= Big::from(U256::MAX) => Ok(sum.to_string()),
        (F::Sum, Wide::Unsigned) => Err(format!("the sum of \"{name}\" does not fit UINT256")),
        (F::Sum, Wide::Signed) => {
            let limit = Big::from(I256::MAX.into_raw()) + Big::from(u8::from(is_negative));
            if sum > limit {
                return Err(format!("the sum of \"{name}\" does not fit INT256"));
            }
            Ok(format!("{}{sum}", if is_negative { "-" } else { "" }))
        }
        _ => panic!("the test asks for {function} of wide integers"),
    }
}

fn decimal(function: F, column: &ArrayRef, scale: i8, rows: &[usize]) -> Result<String, String> {
    let values = column.as_primitive::<Decimal128Type>();
    let sum: i128 = rows.iter().map(|row| values.value(*row)).sum();
    Ok(match function {
        F::Sum => {
            let scale = usize::try_from(scale).expect("not negative");
            let digits = format!("{:0>width$}", sum.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{}{whole}.{fraction}", if sum < 0 { "-" } else { "" })
        }
        F::Avg => (sum as f64 / (rows.len() as f64 * 10_f64.powi(i32::from(scale)))).to_string(),
        _ => panic!("the test asks for {function} of decimals"),
    })
}

fn float(function: F, column: &ArrayRef, rows: &[usize]) -> String {
    let values: Vec<f64> = rows.iter().map(|row| column.as_primitive::<Float64Type>().value(*row)).collect();
    let count = values.len() as f64;
    match function {
        F::Sum => exact_sum(&values).to_string(),
        F::Avg => (exact_sum(&values) / count).to_string(),
        _ => {
            let spread = spread(&values);
            variance(function, count, |divisor| spread / divisor)
        }
    }
}

/// `Σx² - (Σx)² / n`, rounded before the division and after it.
fn spread(values: &[f64]) -> f64 {
    if values.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    if values.iter().any(|value| (value * value).is_infinite()) {
        return f64::INFINITY;
    }
    // In units of 2^-2148, so that squares are whole numbers.
    type Huge = Uint<4608, 72>;
    let huge = |value: f64| Huge::from(units(value));
    let total = |negative: bool| {
        let side = values.iter().filter(|value| value.is_sign_negative() == negative);
        side.fold(Huge::ZERO, |sum, value| sum + huge(*value))
    };
    let sum = total(false).abs_diff(total(true));
    let squares = values.iter().fold(Huge::ZERO, |sum, value| sum + huge(*value) * huge(*value));
    let exact = Huge::from(values.len()) * squares - sum * sum;
    let (mut low, mut high) = (0_u64, f64::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *(if huge(f64::from_bits(middle)) << 1074 <= exact { &mut low } else { &mut high }) = middle;
    }
    let (below, above) = (f64::from_bits(low), f64::from_bits(high));
    let (down, up) = (exact - (huge(below) << 1074), (huge(above) << 1074) - exact);
    let nearest = if up < down || (up == down && low % 2 == 1) { above } else { below };
    nearest / values.len() as f64
}

/// Wide enough for every sum of doubles in units of 2^-1074.
type Big = Uint<2304, 36>;

/// A finite magnitude in units of 2^-1074.
fn units(value: f64) -> Big {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    if exponent == 0 {
        return Big::from(fraction);
    }
    Big::from(fraction | (1 << 52)) << usize::try_from(exponent - 1).expect("11 bits")
}

/// The nearest double to an integer of units, ties to even, found by bisection over all doubles.
fn nearest(exact: Big) -> f64 {
    let (mut low, mut high) = (0_u64, f64::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *(if units(f64::from_bits(middle)) <= exact { &mut low } else { &mut high }) = middle;
    }
    let below = exact - units(f64::from_bits(low));
    let above = units(f64::from_bits(high)) - exact;
    f64::from_bits(if above < below || (above == below && low % 2 == 1) { high } else { low })
}

fn exact_sum(values: &[f64]) -> f64 {
    let special: Vec<f64> = values.iter().copied().filter(|value| !value.is_finite()).collect();
    if !special.is_empty() {
        return special.iter().sum();
    }
    let total = |negative: bool| {
        let side = values.iter().filter(|value| value.is_sign_negative() == negative);
        side.fold(Big::ZERO, |sum, value| sum + units(*value))
    };
    let (positive, negative) = (total(false), total(true));
    if negative > positive { -nearest(negative - positive) } else { nearest(positive - negative) }
}
