//! The state of aggregate calls: one column of states a call, indexed by group.

mod boolean;
mod count;
mod distinct;
mod exact_float;
mod extreme_kinds;
mod extremes;
mod float;
mod integer;
mod moments;
mod pending;
mod wide;
mod wide_integer;

use arrow::array::{Array as _, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use highwater_engine::model::Diffs;
use highwater_engine::model::wide::wide_kind;

pub(crate) use exact_float::ExactFloat;
pub(crate) use wide::Wide;

use super::spec::{AggregateError, AggregateFunction};
use crate::codec::{Decoder, Truncated};
use crate::rows::Permanence;

/// Rows of one part that belong to groups of one generation.
pub(crate) struct Rows<'a> {
    /// The group of each row.
    pub(crate) groups: &'a [u32],
    /// The change of each row.
    pub(crate) diffs: &'a Diffs,
    /// The argument of the call, if it has one.
    pub(crate) argument: Option<&'a ArrayRef>,
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

    /// The argument; calls that need one are only built with one.
    pub(crate) fn argument(&self) -> &ArrayRef {
        self.argument.expect("the function was built with an argument")
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

/// The accumulator of a function over an argument of this field.
pub(crate) fn accumulator(
    function: AggregateFunction,
    argument: Option<&Field>,
) -> Result<Box<dyn Accumulator>, AggregateError> {
    use AggregateFunction as F;
    if matches!(function, F::CountAll | F::Count) {
        return Ok(Box::new(count::Count::default()));
    }
    let field = argument.ok_or(AggregateError::MissingArgument { function })?;
    Ok(match function {
        F::CountDistinct => Box::new(distinct::CountDistinct::new(field)?),
        F::Min => extremes::extreme(field, extremes::Side::Smallest)?,
        F::Max => extremes::extreme(field, extremes::Side::Largest)?,
        F::BoolAnd => Box::new(boolean::Booleans::new(boolean::Rule::All)),
        F::BoolOr => Box::new(boolean::Booleans::new(boolean::Rule::Any)),
        F::Sum | F::Avg => sum(function, field),
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

/// Which rows count for a call.
pub(crate) fn selection(argument: Option<&ArrayRef>, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let present = argument.and_then(|array| array.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
    let passed = filter.map(|filter| match filter.nulls() {
        Some(nulls) if nulls.null_count() > 0 => filter.values() & nulls.inner(),
        _ => filter.values().clone(),
    });
    match (present, passed) {
        (None, passed) => passed,
        (Some(present), None) => Some(present.into_inner()),
        (Some(present), Some(passed)) => Some(present.inner() & &passed),
    }
}
