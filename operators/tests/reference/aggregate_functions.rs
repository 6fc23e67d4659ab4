//! Statistics, ordered and collecting aggregates by their definitions: from the rows of a group.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{int256_from_bytes, uint256_from_bytes};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction as F, AggregateSpec};

use crate::harness::{Relation, cells, relation};

const NULL: &str = "~";
const LAST: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Rows of the result, and the messages of groups that failed.
pub(crate) fn aggregate(spec: &AggregateSpec, input: &RecordBatch) -> (Relation, Vec<String>) {
    let keys = input.project(&spec.keys).expect("keys exist");
    let mut groups: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    if spec.keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    (0..input.num_rows()).for_each(|row| groups.entry(cells(&keys, row)).or_default().push(row));
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (mut cells, members) in groups {
        let results: Vec<Result<String, String>> =
            spec.calls.iter().map(|call| evaluate(call, input, &members)).collect();
        errors.extend(results.iter().filter_map(|result| result.clone().err()));
        if let Ok(results) = results.into_iter().collect::<Result<Vec<_>, _>>() {
            cells.extend(results);
            rows.push(cells.join("|"));
        }
    }
    errors.sort();
    (relation(rows), errors)
}

/// The rows of a group a call sees.
struct Members<'a> {
    call: &'a AggregateCall,
    input: &'a RecordBatch,
    rows: Vec<usize>,
}

fn evaluate(call: &AggregateCall, input: &RecordBatch, members: &[usize]) -> Result<String, String> {
    let is_true = |column: usize, row: usize| {
        let column = input.column(column).as_boolean();
        column.is_valid(row) && column.value(row)
    };
    let rows = members.iter().copied().filter(|row| call.filter.is_none_or(|filter| is_true(filter, *row)));
    let mut members = Members { call, input, rows: rows.collect() };
    match call.function {
        F::SingleValue => return members.single(),
        F::ArrayAgg | F::FirstValue | F::LastValue | F::NthValue => {
            if call.parameters.ignore_nulls {
                members.keep_present(0);
            }
        }
        F::MinBy | F::MaxBy => members.keep_present(1),
        _ => (0..call.arguments.len()).for_each(|position| members.keep_present(position)),
    }
    members.sort();
    if call.distinct {
        let mut seen = std::collections::BTreeSet::new();
        let shown: Vec<Vec<String>> = members.rows.iter().map(|row| members.arguments(*row)).collect();
        let mut shown = shown.into_iter();
        members.rows.retain(|_| seen.insert(shown.next().expect("one a row")));
    }
    Ok(members.result())
}

impl Members<'_> {
    fn column(&self, position: usize) -> &ArrayRef {
        self.input.column(self.call.arguments[position])
    }

    fn keep_present(&mut self, position: usize) {
        let column = self.column(position).clone();
        self.rows.retain(|row| column.is_valid(*row));
    }

    fn shown(&self, position: usize, row: usize) -> String {
        let text = cells(&self.input.project(&[self.call.arguments[position]]).expect("exists"), row).remove(0);
        // Where values are compared with each other there is one zero.
        let is_compared = self.call.distinct || self.call.function.is_within_group();
        if text == "-0" && is_compared { "0".to_owned() } else { text }
    }

    fn arguments(&self, row: usize) -> Vec<String> {
        (0..self.call.arguments.len()).map(|position| self.shown(position, row)).collect()
    }

    /// By the order asked for, then by value.
    fn sort(&mut self) {
        let mut order: Vec<(usize, SortOptions)> = Vec::new();
        match self.call.function {
            F::MinBy => order.push((self.call.arguments[1], LAST)),
            F::MaxBy => order.push((self.call.arguments[1], SortOptions { descending: true, nulls_first: false })),
            _ => {}
        }
        order.extend_from_slice(&self.call.order_by);
        order.push((self.call.arguments[0], LAST));
        let comparators: Vec<_> = order
            .iter()
            .map(|(column, options)| {
                let column = self.input.column(*column);
                make_comparator(column, column, *options).expect("sorts")
            })
            .collect();
        let compare = |left: &usize, right: &usize| {
            let orders = comparators.iter().map(|compare| compare(*left, *right));
            orders.fold(Ordering::Equal, Ordering::then)
        };
        self.rows.sort_by(compare);
    }

    fn single(&self) -> Result<String, String> {
        match self.rows.as_slice() {
            [] => Ok(NULL.to_owned()),
            [row] => Ok(self.shown(0, *row)),
            _ => Err("more than one row returned by a subquery used as an expression".to_owned()),
        }
    }

    fn result(&self) -> String {
        if self.call.function == F::RegrCount {
            return self.rows.len().to_string();
        }
        if self.rows.is_empty() {
            return NULL.to_owned();
        }
        let parameters = &self.call.parameters;
        let at = |position: Option<usize>| {
            position.and_then(|position| self.rows.get(position)).map_or(NULL.to_owned(), |row| self.shown(0, *row))
        };
        let count = self.rows.len();
        match self.call.function {
            F::ArrayAgg => {
                let shown: Vec<String> = self.rows.iter().map(|row| self.json(*row)).collect();
                format!("[{}]", shown.join(","))
            }
            F::StringAgg => {
                let shown: Vec<String> = self.rows.iter().map(|row| self.shown(0, *row)).collect();
                shown.join(&parameters.separator)
            }
            F::FirstValue | F::MinBy | F::MaxBy => at(Some(0)),
            F::LastValue => at(Some(count - 1)),
            F::NthValue => {
                let distance = usize::try_from(parameters.position.unsigned_abs()).expect("small");
                at(if parameters.position > 0 { distance.checked_sub(1) } else { count.checked_sub(distance) })
            }
            F::PercentileDisc => {
                let reaches = |position: &usize| (*position + 1) as f64 >= parameters.fraction * count as f64;
                at((0..count).find(reaches))
            }
            F::PercentileCont => self.between(parameters.fraction),
            F::Mode => self.mode(),
            F::BitAnd | F::BitOr | F::BitXor => self.bits(),
            _ => self.pairs(),
        }
    }

    fn json(&self, row: usize) -> String {
        let mut text = String::new();
        let field = self.input.schema().field(self.call.arguments[0]).clone();
        highwater_engine::model::format::write_json(&mut text, &field, self.column(0), row);
        text
    }

    fn between(&self, fraction: f64) -> String {
        let values: Vec<f64> = self.rows.iter().map(|row| double(self.column(0), &self.field(0), *row)).collect();
        let place = fraction * (values.len() - 1) as f64;
        let low = (0..values.len()).rfind(|position| *position as f64 <= place).expect("0 is");
        let (from, share) = (values[low], place - low as f64);
        let to = values[(low + 1).min(values.len() - 1)];
        let value = if share == 0.0 || from == to { from } else { from + (to - from) * share };
        (if value == 0.0 { 0.0 } else { value }).to_string()
    }

    fn field(&self, position: usize) -> Field {
        self.input.schema().field(self.call.arguments[position]).clone()
    }

    fn mode(&self) -> String {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for row in &self.rows {
            let shown = self.shown(0, *row);
            match counts.iter_mut().find(|(text, _)| *text == shown) {
                Some((_, count)) => *count += 1,
                None => counts.push((shown, 1)),
            }
        }
        let most = counts.iter().map(|(_, count)| *count).max().expect("not empty");
        counts.into_iter().find(|(_, count)| *count == most).expect("one has it").0
    }

    fn bits(&self) -> String {
        let combine = |left: bool, right: bool| match self.call.function {
            F::BitAnd => left && right,
            F::BitOr => left || right,
            _ => left != right,
        };
        // Sign extended, so that the width of the type makes no difference.
        let of = |row: &usize| -> Vec<bool> {
            let bytes: Vec<u8> = match self.column(0).data_type() {
                DataType::FixedSizeBinary(_) if self.field(0).name() == "wide" => {
                    uint256_from_bytes(self.column(0).as_fixed_size_binary().value(*row)).to_le_bytes_vec()
                }
                DataType::FixedSizeBinary(_) => {
                    let value = int256_from_bytes(self.column(0).as_fixed_size_binary().value(*row));
                    value.into_raw().to_le_bytes_vec()
                }
                _ => integer(self.column(0), *row).to_le_bytes().to_vec(),
            };
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect()
        };
        let all = self
            .rows
            .iter()
            .map(of)
            .reduce(|left, right| left.into_iter().zip(right).map(|(left, right)| combine(left, right)).collect());
        let all = all.expect("not empty");
        let bytes: Vec<u8> =
            all.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
        match bytes.len() {
            16 => i128::from_le_bytes(bytes.try_into().expect("16 bytes")).to_string(),
            _ if self.field(0).name() == "wide" => alloy_primitives::U256::from_le_slice(&bytes).to_string(),
            _ => alloy_primitives::I256::from_raw(alloy_primitives::U256::from_le_slice(&bytes)).to_string(),
        }
    }

    /// Statistics of pairs in whole quarters, which the test's numbers are multiples of.
    fn pairs(&self) -> String {
        let quarters = |position: usize, row: usize| -> i128 {
            let value = double(self.column(position), &self.field(position), row) * 4.0;
            let text = value.to_string();
            text.parse().expect("a multiple of a quarter")
        };
        let values: Vec<(i128, i128)> = self.rows.iter().map(|row| (quarters(1, *row), quarters(0, *row))).collect();
        let n = i128::try_from(values.len()).expect("few");
        let sum = |of: &dyn Fn(&(i128, i128)) -> i128| values.iter().map(of).sum::<i128>();
        let (x, y) = (sum(&|pair| pair.0), sum(&|pair| pair.1));
        let spread = |products: i128, left: i128, right: i128| (n * products - left * right) as f64 / n as f64 / 16.0;
        let xx = spread(sum(&|pair| pair.0 * pair.0), x, x);
        let yy = spread(sum(&|pair| pair.1 * pair.1), y, y);
        let xy = spread(sum(&|pair| pair.0 * pair.1), x, y);
        let (sum_x, sum_y, n) = (x as f64 / 4.0, y as f64 / 4.0, n as f64);
        let varies = xx != 0.0;
        let corr = (varies && yy != 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0));
        let value = match self.call.function {
            F::CovarPop => Some(xy / n),
            F::CovarSamp => (n > 1.0).then(|| xy / (n - 1.0)),
            F::Corr => corr,
            F::RegrAvgX => Some(sum_x / n),
            F::RegrAvgY => Some(sum_y / n),
            F::RegrSxx => Some(xx),
            F::RegrSyy => Some(yy),
            F::RegrSxy => Some(xy),
            F::RegrSlope => varies.then(|| xy / xx),
            F::RegrIntercept => varies.then(|| (sum_y - sum_x * (xy / xx)) / n),
            F::RegrR2 => varies.then(|| corr.map_or(1.0, |corr| corr * corr)),
            other => panic!("the test asks for {other}"),
        };
        value.map_or(NULL.to_owned(), |value| value.to_string())
    }
}

fn integer(column: &ArrayRef, row: usize) -> i128 {
    i128::from(cast(column, &DataType::Int64).expect("an integer").as_primitive::<Int64Type>().value(row))
}

fn double(column: &ArrayRef, field: &Field, row: usize) -> f64 {
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row),
        DataType::Decimal128(_, scale) => {
            column.as_primitive::<Decimal128Type>().value(row) as f64 / 10_f64.powi(i32::from(*scale))
        }
        DataType::FixedSizeBinary(_) => {
            // The nearest double to a whole number is that of its digits.
            let mut text = String::new();
            highwater_engine::model::format::write_text(&mut text, field, column, row);
            text.parse().expect("digits")
        }
        _ => integer(column, row) as f64,
    }
}
