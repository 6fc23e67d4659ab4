//! `array_agg`, `string_agg`, `first_value`, `last_value`, `nth_value`, `min_by`, `max_by` (of what is not a small
//! number) and `single_value`: the values of each group in an order.
//!
//! Values are ordered by what the call asks for, then by themselves (ascending, NULL last), so that
//! there is one answer whatever came first.
//! State: one entry for each distinct (group, order, value); a tree for groups with several. A change takes time in
//! the logarithm of these; a list is made anew once a tick where its group has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray, NullBufferBuilder, StringArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::occurrences::normalized;
use super::short_row::ShortRow;
use super::{Accumulator, Failures, Rows};
use crate::aggregate::spec::list_item;
use crate::aggregate::{AggregateCall, AggregateError, AggregateFunction};
use crate::codec::{Decoder, Encode as _, Truncated};

const SEVERAL_ROWS: &str = "more than one row returned by a subquery used as an expression";
/// Bytes of an entry beside its value, in a tree that is two thirds full.
const ENTRY_BYTES: usize = 48;

/// What is made of the values.
enum Made {
    List(FieldRef),
    Text(String),
    /// The value at a position: 1 is the first, -1 the last.
    Value(i64),
    /// The only value.
    Single,
}

/// The values of a group in order, and how often each is there. Most groups of `max_by` have one.
enum Values {
    Few(Option<(ShortRow, i64)>),
    Many(BTreeMap<ShortRow, i64>),
}

impl Values {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let (few, many) = match self {
            Values::Few(value) => (value.as_ref(), None),
            Values::Many(values) => (None, Some(values)),
        };
        let few = few.map(|(row, count)| (&**row, *count));
        let many = many.into_iter().flatten().map(|(row, count)| (&**row, *count));
        few.into_iter().chain(many)
    }

    /// Distinct values, and their bytes on the heap.
    fn size(&self) -> (usize, usize) {
        self.iter().fold((0, 0), |(entries, bytes), (row, _)| (entries + 1, bytes + ShortRow::heap_bytes(row.len())))
    }

    fn get_mut(&mut self, row: &[u8]) -> Option<&mut i64> {
        match self {
            Values::Few(value) => value.as_mut().filter(|(known, _)| **known == *row).map(|(_, count)| count),
            Values::Many(values) => values.get_mut(row),
        }
    }

    /// Puts in a value that is not there.
    fn insert(&mut self, row: &[u8], count: i64) {
        match self {
            Values::Few(value @ None) => *value = Some((row.into(), count)),
            Values::Few(value) => *self = Values::Many(value.take().into_iter().chain([(row.into(), count)]).collect()),
            Values::Many(values) => {
                values.insert(row.into(), count);
            }
        }
    }

    /// Takes out a value that is there.
    fn remove(&mut self, row: &[u8]) {
        match self {
            Values::Few(value) => *value = None,
            Values::Many(values) => {
                values.remove(row);
                if values.len() == 1 {
                    *self = Values::Few(values.pop_first());
                }
            }
        }
    }
}

impl Default for Values {
    fn default() -> Values {
        Values::Few(None)
    }
}

/// Keeps the values of each group in order.
pub(super) struct Collection {
    made: Made,
    distinct: bool,
    /// The second argument is the first thing to order by, and not shown.
    by: bool,
    data_type: DataType,
    /// What is ordered by, then the value.
    converter: RowConverter,
    groups: Vec<Values>,
    entries: usize,
    value_bytes: usize,
}

impl Collection {
    pub(super) fn new(
        call: &AggregateCall,
        arguments: &[&Field],
        order: &[(&Field, SortOptions)],
    ) -> Result<Collection, AggregateError> {
        use AggregateFunction as F;
        let value = arguments.first().ok_or(AggregateError::Arguments { function: call.function })?;
        let made = match call.function {
            F::StringAgg => Made::Text(call.parameters.separator.clone()),
            F::FirstValue | F::MinBy | F::MaxBy => Made::Value(1),
            F::LastValue => Made::Value(-1),
            F::NthValue => Made::Value(call.parameters.position),
            F::SingleValue => Made::Single,
            _ => Made::List(Arc::new(list_item(value))),
        };
        let by = matches!(call.function, F::MinBy | F::MaxBy);
        let descending = call.function == F::MaxBy;
        let own = SortOptions { descending: false, nulls_first: false };
        let mut fields: Vec<SortField> = Vec::with_capacity(order.len() + 2);
        for field in arguments.iter().skip(1) {
            let options = SortOptions { descending, nulls_first: false };
            fields.push(SortField::new_with_options(field.data_type().clone(), options));
        }
        for (field, options) in order {
            fields.push(SortField::new_with_options(field.data_type().clone(), *options));
        }
        fields.push(SortField::new_with_options(value.data_type().clone(), own));
        Ok(Collection {
            made,
            distinct: call.distinct,
            by,
            data_type: value.data_type().clone(),
            converter: RowConverter::new(fields)?,
            groups: Vec::new(),
            entries: 0,
            value_bytes: 0,
        })
    }

    fn add(&mut self, group: usize, row: &[u8], diff: i64) {
        let values = &mut self.groups[group];
        match values.get_mut(row) {
            Some(count) => {
                *count += diff;
                if *count == 0 {
                    values.remove(row);
                    self.entries -= 1;
                    self.value_bytes -= ShortRow::heap_bytes(row.len());
                }
            }
            None if diff == 0 => {}
            None => {
                values.insert(row, diff);
                self.entries += 1;
                self.value_bytes += ShortRow::heap_bytes(row.len());
            }
        }
    }

    /// How often a value is shown.
    fn times(&self, count: i64) -> i64 {
        if self.distinct { count.min(1) } else { count }.max(0)
    }

    /// The values of a group in order, each as often as it is shown.
    fn shown(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let entries = self.groups[group as usize].iter();
        entries.map(|(row, count)| (row, self.times(count))).filter(|(_, times)| *times > 0)
    }

    fn values<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> ArrayRef {
        let parser = self.converter.parser();
        let mut columns = self
            .converter
            .convert_rows(rows.into_iter().map(|row| parser.parse(row)))
            .expect("the bytes were made by this converter");
        columns.pop().expect("the value is the last column")
    }

    /// The value at a position, NULL where there are fewer.
    fn at(&self, group: u32, position: i64) -> Option<&[u8]> {
        let mut left = position.unsigned_abs();
        let mut passes = |times: i64| {
            let times = times.unsigned_abs();
            let found = left <= times;
            left = left.saturating_sub(times);
            found
        };
        let mut shown = self.shown(group);
        let found = if position > 0 {
            shown.find(|(_, times)| passes(*times))
        } else {
            shown.rfind(|(_, times)| passes(*times))
        };
        found.map(|(row, _)| row)
    }

    /// One value or none for each group.
    fn picked(&self, picked: &[Option<&[u8]>]) -> ArrayRef {
        let values = self.values(picked.iter().copied().flatten());
        let mut next = 0..;
        let places: UInt32Array = picked.iter().map(|row| row.and_then(|_| next.next())).collect();
        take(&values, &places, None).expect("the places are within the values")
    }

    fn single(&self, groups: &[u32], failures: &mut Failures) -> ArrayRef {
        let mut picked = Vec::with_capacity(groups.len());
        for (position, group) in groups.iter().enumerate() {
            if self.at(*group, 2).is_some() {
                failures.push((position, SEVERAL_ROWS.to_owned()));
                picked.push(None);
            } else {
                picked.push(self.at(*group, 1));
            }
        }
        self.picked(&picked)
    }

    fn lists(&self, groups: &[u32], item: &FieldRef) -> ArrayRef {
        let (mut rows, mut lengths) = (Vec::new(), Vec::with_capacity(groups.len()));
        let mut nulls = NullBufferBuilder::new(groups.len());
        for group in groups {
            let before = rows.len();
            for (row, times) in self.shown(*group) {
                (0..times).for_each(|_| rows.push(row));
            }
            lengths.push(rows.len() - before);
            nulls.append(rows.len() > before);
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        Arc::new(ListArray::new(item.clone(), offsets, self.values(rows), nulls.finish()))
    }

    fn texts(&self, groups: &[u32], separator: &str) -> ArrayRef {
        let text = |group: &u32| {
            let shown: Vec<(&[u8], i64)> = self.shown(*group).collect();
            let values = self.values(shown.iter().map(|(row, _)| *row));
            let values = cast(&values, &DataType::Utf8).expect("every kind of text is text");
            let values = values.as_string::<i32>();
            let mut text: Option<String> = None;
            for (index, (_, times)) in shown.iter().enumerate() {
                for _ in 0..*times {
                    match &mut text {
                        None => text = Some(values.value(index).to_owned()),
                        Some(text) => {
                            text.push_str(separator);
                            text.push_str(values.value(index));
                        }
                    }
                }
            }
            text
        };
        Arc::new(groups.iter().map(text).collect::<StringArray>())
    }
}

impl Accumulator for Collection {
    fn resize(&mut self, slots: usize) {
        for group in self.groups.iter().skip(slots) {
            let (entries, bytes) = group.size();
            self.entries -= entries;
            self.value_bytes -= bytes;
        }
        self.groups.resize_with(slots, Values::default);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let mut columns = if self.by { rows.arguments[1..].to_vec() } else { Vec::new() };
        columns.extend_from_slice(rows.order);
        columns.push(rows.argument().clone());
        if self.distinct {
            columns = columns.iter().map(normalized).collect();
        }
        let encoded =
            self.converter.convert_columns(&columns).expect("the columns have the types the converter was made for");
        rows.each(|row, group, diff| self.add(group, encoded.row(row).data(), diff));
    }

    fn evaluate(&self, groups: &[u32], failures: &mut Failures) -> ArrayRef {
        let array = match &self.made {
            Made::List(item) => self.lists(groups, item),
            Made::Text(separator) => self.texts(groups, separator),
            Made::Single => self.single(groups, failures),
            Made::Value(position) => {
                let picked: Vec<_> = groups.iter().map(|group| self.at(*group, *position)).collect();
                self.picked(&picked)
            }
        };
        debug_assert!(matches!(self.made, Made::List(_) | Made::Text(_)) || array.data_type() == &self.data_type);
        array
    }

    fn reset(&mut self, group: u32) {
        let (entries, bytes) = std::mem::take(&mut self.groups[group as usize]).size();
        self.entries -= entries;
        self.value_bytes -= bytes;
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            for (row, count) in self.groups[*group as usize].iter() {
                bytes.put_bytes(row);
                bytes.put_i64(count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let row = state.bytes()?;
            let count = state.i64()?;
            self.add(group as usize, row, count);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Values>() + self.entries * ENTRY_BYTES + self.value_bytes
    }
}
