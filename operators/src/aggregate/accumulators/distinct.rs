//! `f(DISTINCT …)`: a function that sees each value of a group once, however often it occurs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Field;
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};
use highwater_engine::model::Diffs;

use super::occurrences::{Occurrences, normalized};
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateError;
use crate::codec::{Decoder, Truncated};
use crate::rows::Permanence;

/// The arguments of calls as row bytes, equal ones as equal bytes.
struct Values {
    converter: RowConverter,
}

impl Values {
    fn new(arguments: &[&Field]) -> Result<Values, AggregateError> {
        let fields = arguments.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Values { converter: RowConverter::new(fields)? })
    }

    fn encode(&self, arguments: &[ArrayRef]) -> EncodedRows {
        self.converter.convert_columns(arguments).expect("the arguments have the types the converter was made for")
    }

    fn decode(&self, values: &[&[u8]]) -> Vec<ArrayRef> {
        let parser = self.converter.parser();
        self.converter
            .convert_rows(values.iter().map(|value| parser.parse(value)))
            .expect("the bytes were made by such a converter")
    }
}

/// `count(DISTINCT …)`: counts values that occur.
///
/// State: one entry for each live (group, value).
pub(super) struct CountDistinct {
    values: Values,
    occurrences: Occurrences,
    distinct: Vec<i64>,
}

impl CountDistinct {
    pub(super) fn new(arguments: &[&Field]) -> Result<CountDistinct, AggregateError> {
        let values = Values::new(arguments)?;
        Ok(CountDistinct { values, occurrences: Occurrences::new(), distinct: Vec::new() })
    }
}

impl Accumulator for CountDistinct {
    fn resize(&mut self, slots: usize) {
        self.distinct.resize(slots, 0);
        if slots == 0 {
            self.occurrences.clear();
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let arguments: Vec<ArrayRef> = rows.arguments.iter().map(normalized).collect();
        let encoded = self.values.encode(&arguments);
        rows.each(|row, group, diff| {
            self.distinct[group] += self.occurrences.add(group, encoded.row(row).data(), diff);
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.distinct[*group as usize])))
    }

    fn reset(&mut self, group: u32) {
        // Values go with their last row; a group without rows has none.
        self.distinct[group as usize] = 0;
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        self.occurrences.save(groups, self.distinct.len())
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        let distinct = &mut self.distinct[group as usize];
        self.occurrences.load(group, state, |_| *distinct += 1)
    }

    fn bytes(&self) -> usize {
        self.occurrences.bytes() + self.distinct.capacity() * 8
    }
}

/// Any other function over values that occur.
///
/// State: one entry for each live (group, value), and that of the function. Only the former is saved.
pub(super) struct Distinct {
    values: Values,
    occurrences: Occurrences,
    inner: Box<dyn Accumulator>,
    slots: usize,
}

impl Distinct {
    /// `inner` takes the arguments once for each value.
    pub(super) fn new(arguments: &[&Field], inner: Box<dyn Accumulator>) -> Result<Distinct, AggregateError> {
        Ok(Distinct { values: Values::new(arguments)?, occurrences: Occurrences::new(), inner, slots: 0 })
    }
}

impl Accumulator for Distinct {
    fn resize(&mut self, slots: usize) {
        self.slots = slots;
        self.inner.resize(slots);
        if slots == 0 {
            self.occurrences.clear();
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let arguments: Vec<ArrayRef> = rows.arguments.iter().map(normalized).collect();
        let encoded = self.values.encode(&arguments);
        let mut changes = vec![0; rows.groups.len()];
        rows.each(|row, group, diff| changes[row] = self.occurrences.add(group, encoded.row(row).data(), diff));
        let changed: BooleanBuffer = changes.iter().map(|change| *change != 0).collect();
        self.inner.update(&Rows {
            groups: rows.groups,
            diffs: &Diffs::Rows(changes.into()),
            arguments: &arguments,
            order: &[],
            selected: Some(&changed),
            permanence: rows.permanence,
            finalized_number: rows.finalized_number,
        });
    }

    fn evaluate(&self, groups: &[u32], failures: &mut Failures) -> ArrayRef {
        self.inner.evaluate(groups, failures)
    }

    fn reset(&mut self, group: u32) {
        self.inner.reset(group);
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        self.occurrences.save(groups, self.slots)
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        let mut values: Vec<&[u8]> = Vec::new();
        self.occurrences.load(group, state, |value| values.push(value))?;
        if values.is_empty() {
            return Ok(());
        }
        self.inner.update(&Rows {
            groups: &vec![group; values.len()],
            diffs: &Diffs::Uniform(1),
            arguments: &self.values.decode(&values),
            order: &[],
            selected: None,
            permanence: &Permanence::Final,
            finalized_number: None,
        });
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.occurrences.bytes() + self.inner.bytes()
    }
}
