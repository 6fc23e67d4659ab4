//! The state of aggregate calls: one column of states a call, indexed by group.

mod bits;
mod boolean;
mod collection;
mod count;
mod distinct;
mod exact_float;
mod extreme_by;
mod extreme_kinds;
mod extremes;
mod float;
mod forest;
mod histogram;
mod hyperloglog;
mod integer;
mod kulisch;
mod log_buckets;
mod moments;
mod occurrences;
mod order_statistics;
mod pair_sums;
mod pairs;
mod pending;
mod short_row;
mod sortable;
mod spread;
mod wide;
mod wide_integer;

use arrow::array::{Array as _, ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use highwater_engine::model::Diffs;
use highwater_engine::model::wide::wide_kind;

pub(crate) use exact_float::ExactFloat;
pub(crate) use wide::Wide;

use super::function::AggregateFunction;
use super::spec::{AggregateCall, AggregateError, AggregateSpec};
use crate::codec::{Decoder, Truncated};
use crate::rows::Permanence;

/// Rows of one part that belong to groups of one generation.
pub(crate) struct Rows<'a> {
    /// The group of each row.
    pub(crate) groups: &'a [u32],
    /// The change of each row.
    pub(crate) diffs: &'a Diffs,
    /// The arguments of the call.
    pub(crate) arguments: &'a [ArrayRef],
    /// The columns of the order the call asks for.
    pub(crate) order: &'a [ArrayRef],
    /// Which rows count (not NULL, and the filter true); `None`: all.
    pub(crate) selected: Option<&'a BooleanBuffer>,
    /// Until when the rows may be taken back.
    pub(crate) permanence: &'a Permanence,
    /// The newest final height.
    pub(crate) finalized_number: Option<u64>,
}

impl Rows<'_> {
    /// Calls `visit(row, group, change)` for every row that counts. One loop for each shape of input,
    /// so that nothing is decided per row.
    #[inline]
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, usize, i64)) {
        match (self.diffs, self.selected) {
            (Diffs::Uniform(diff), None) => {
                for (row, group) in self.groups.iter().enumerate() {
                    visit(row, *group as usize, *diff);
                }
            }
            (Diffs::Uniform(diff), Some(selected)) => {
                for row in selected.set_indices() {
                    visit(row, self.groups[row] as usize, *diff);
                }
            }
            (Diffs::Rows(diffs), None) => {
                for (row, (group, diff)) in self.groups.iter().zip(diffs.iter()).enumerate() {
                    visit(row, *group as usize, *diff);
                }
            }
            (Diffs::Rows(diffs), Some(selected)) => {
                for row in selected.set_indices() {
                    visit(row, self.groups[row] as usize, diffs[row]);
                }
            }
        }
    }

    /// The first argument; calls that need one are only built with one.
    pub(crate) fn argument(&self) -> &ArrayRef {
        self.arguments.first().expect("the function was built with an argument")
    }
}

/// Groups whose result cannot be shown: position in the evaluated groups, and why.
pub(crate) type Failures = Vec<(usize, String)>;

/// The states of one aggregate call.
pub(crate) trait Accumulator {
    /// Makes room for groups `0..slots`; new ones have seen nothing, and those beyond are forgotten.
    fn resize(&mut self, slots: usize);

    /// Adds rows with their change.
    fn update(&mut self, rows: &Rows<'_>);

    /// The results of these groups, in this order. A failed one is NULL and named in `failures`.
    fn evaluate(&self, groups: &[u32], failures: &mut Failures) -> ArrayRef;

    /// The group is gone: its state becomes that of a new group.
    fn reset(&mut self, group: u32);

    /// Rows of blocks up to this height are not taken back any more.
    fn fold(&mut self, _finalized_number: u64) {}

    /// The states of these groups as bytes.
    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>>;

    /// Puts a saved state into a new group.
    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated>;

    /// Bytes held, approximately.
    fn bytes(&self) -> usize;
}

/// The accumulator of a call.
pub(crate) fn accumulator(spec: &AggregateSpec, call: &AggregateCall) -> Result<Box<dyn Accumulator>, AggregateError> {
    use AggregateFunction as F;
    let function = call.function;
    let arguments = spec.arguments(call)?;
    AggregateSpec::output_type(function, &arguments)?;
    let Some(field) = arguments.first().copied() else { return Ok(Box::new(count::Count::default())) };
    let by = match function {
        F::MinBy => Some(extremes::Side::Smallest),
        F::MaxBy => Some(extremes::Side::Largest),
        _ => None,
    };
    let unordered = by.filter(|_| call.order_by.is_empty());
    if let Some(numbers) = unordered.and_then(|side| extreme_by::ExtremeBy::new(side, &arguments)) {
        return Ok(Box::new(numbers));
    }
    if function.takes_order() || function == F::SingleValue {
        // A collection counts its values: it needs no help to show each once.
        let order: Result<Vec<(&Field, SortOptions)>, AggregateError> =
            call.order_by.iter().map(|(index, options)| Ok((spec.field(*index)?, *options))).collect();
        return Ok(Box::new(collection::Collection::new(call, &arguments, &order?)?));
    }
    if !call.distinct || function.ignores_repetition() {
        return of_all(call, &arguments, field);
    }
    match function {
        F::Count => Ok(Box::new(distinct::CountDistinct::new(&arguments)?)),
        _ => Ok(Box::new(distinct::Distinct::new(&arguments, of_all(call, &arguments, field)?)?)),
    }
}

/// The accumulator of a call that sees all values, repeated ones too, in no order.
fn of_all(call: &AggregateCall, arguments: &[&Field], field: &Field) -> Result<Box<dyn Accumulator>, AggregateError> {
    use AggregateFunction as F;
    use order_statistics::{Statistic, order_statistic};
    let (function, parameters) = (call.function, &call.parameters);
    let descending = call.order_by.first().is_some_and(|(_, options)| options.descending);
    Ok(match function {
        F::CountAll | F::Count | F::RegrCount => Box::new(count::Count::default()),
        F::Min => extremes::extreme(field, extremes::Side::Smallest)?,
        F::Max => extremes::extreme(field, extremes::Side::Largest)?,
        F::BoolAnd => Box::new(boolean::Booleans::new(boolean::Rule::All)),
        F::BoolOr => Box::new(boolean::Booleans::new(boolean::Rule::Any)),
        F::BitAnd => Box::new(bits::Bits::new(field, bits::Rule::And)),
        F::BitOr => Box::new(bits::Bits::new(field, bits::Rule::Or)),
        F::BitXor => Box::new(bits::Bits::new(field, bits::Rule::Xor)),
        F::Sum | F::Avg => sum(function, field),
        F::PercentileCont => order_statistic(field, Statistic::Continuous(parameters.fraction), descending)?,
        F::PercentileDisc => order_statistic(field, Statistic::Discrete(parameters.fraction), descending)?,
        F::Mode => order_statistic(field, Statistic::Mode, descending)?,
        F::ApproxQuantile => order_statistics::quantile(field, parameters, descending),
        F::Histogram => Box::new(histogram::Histogram::new(field, parameters.relative_error)),
        F::ApproxDistinct => Box::new(hyperloglog::HyperLogLog::new(field)?),
        _ if function.is_of_pairs() => {
            if arguments.iter().all(|argument| is_small_integer(argument.data_type())) {
                Box::new(pairs::Pairs::<pair_sums::IntegerPairSums>::new(function, arguments))
            } else {
                Box::new(pairs::Pairs::<pair_sums::FloatPairSums>::new(function, arguments))
            }
        }
        _ if is_small_integer(field.data_type()) => Box::new(moments::IntegerMoments::new(function)),
        _ => Box::new(float::FloatMoments::new(function, wide_kind(field))),
    })
}

fn sum(function: AggregateFunction, field: &Field) -> Box<dyn Accumulator> {
    let average = function == AggregateFunction::Avg;
    match field.data_type() {
        small if is_small_integer(small) => Box::new(integer::IntegerSum::new(average)),
        DataType::Float32 | DataType::Float64 => Box::new(float::FloatSum::new(average)),
        _ => Box::new(wide_integer::WideSum::new(field, average)),
    }
}

/// Integers that fit 64 bits with their sign.
fn is_small_integer(data_type: &DataType) -> bool {
    data_type.is_integer() && data_type != &DataType::UInt64
}

/// Which rows count for a call: those where nothing required is NULL and the filter is true.
pub(crate) fn selection<'a>(
    required: impl Iterator<Item = &'a ArrayRef>,
    filter: Option<&BooleanArray>,
) -> Option<BooleanBuffer> {
    let passed = filter.map(|filter| match filter.nulls() {
        Some(nulls) if nulls.null_count() > 0 => filter.values() & nulls.inner(),
        _ => filter.values().clone(),
    });
    let present = required.filter_map(|array| array.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
    present.map(NullBuffer::into_inner).fold(passed, |selected, present| match selected {
        None => Some(present),
        Some(selected) => Some(&selected & &present),
    })
}
