//! Keys of about the same time, looked up in tables of their own.
//!
//! A stream comes in order of time, so with a time among the keys nearly all look-ups of a tick are for keys of one
//! stretch of time. A table for each stretch is small enough for the processor's cache, however much history the
//! state holds; one table for all is not. Only where a key is found depends on it, never what is found.

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

/// The region of keys whose time is NULL: behind all others.
const NULL: i64 = i64::MAX;

/// How keys are divided: by the first time among their columns.
#[derive(Clone, Copy, Debug)]
pub struct Regions {
    column: Option<Times>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    place: usize,
    unit: TimeUnit,
}

impl Regions {
    /// For keys of these columns.
    pub fn new(keys: &Schema) -> Regions {
        let mut columns = keys.fields().iter().enumerate();
        let column = columns.find_map(|(place, field)| match field.data_type() {
            DataType::Timestamp(unit, _) => Some(Times { place, unit: *unit }),
            _ => None,
        });
        Regions { column }
    }

    /// All keys in one.
    pub fn none() -> Regions {
        Regions { column: None }
    }

    /// The regions of keys; the columns are those of the schema.
    pub fn of<'a>(&self, keys: &'a [ArrayRef]) -> RegionColumn<'a> {
        let Some(Times { place, unit }) = self.column else { return RegionColumn::One };
        let column = &keys[place];
        // A bit more than an hour, whatever the unit.
        let (values, bits): (&[i64], u32) = match unit {
            TimeUnit::Second => (column.as_primitive::<TimestampSecondType>().values(), 12),
            TimeUnit::Millisecond => (column.as_primitive::<TimestampMillisecondType>().values(), 22),
            TimeUnit::Microsecond => (column.as_primitive::<TimestampMicrosecondType>().values(), 32),
            TimeUnit::Nanosecond => (column.as_primitive::<TimestampNanosecondType>().values(), 42),
        };
        RegionColumn::Times { values, nulls: column.nulls(), bits }
    }

    /// The region of the key whose columns are all NULL.
    pub fn of_null(&self) -> i64 {
        if self.column.is_some() { NULL } else { 0 }
    }
}

/// The region of each row.
pub enum RegionColumn<'a> {
    /// All in one.
    One,
    /// By time.
    Times {
        /// The times.
        values: &'a [i64],
        /// Which of them are NULL.
        nulls: Option<&'a NullBuffer>,
        /// Lower bits of the time that make no difference.
        bits: u32,
    },
}

impl RegionColumn<'_> {
    /// The region of a row.
    #[inline]
    pub fn at(&self, row: usize) -> i64 {
        match self {
            RegionColumn::One => 0,
            RegionColumn::Times { nulls: Some(nulls), .. } if nulls.is_null(row) => NULL,
            RegionColumn::Times { values, bits, .. } => values[row] >> bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMillisecondArray, TimestampNanosecondArray};
    use arrow::datatypes::Field;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn the_first_time_decides() {
        let time = |name, unit| Field::new(name, DataType::Timestamp(unit, None), true);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            time("at", TimeUnit::Millisecond),
            time("other", TimeUnit::Nanosecond),
        ]);
        let times = vec![Some(0), Some(HOUR_MS), Some(2 * HOUR_MS), Some(-1), None];
        let keys: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])),
            Arc::new(TimestampMillisecondArray::from(times)),
            Arc::new(TimestampNanosecondArray::from(vec![0; 5])),
        ];
        let regions = Regions::new(&schema);
        let column = regions.of(&keys);
        let found: Vec<i64> = (0..5).map(|row| column.at(row)).collect();
        assert_eq!(found, [0, 0, 1, -1, regions.of_null()]);
    }

    #[test]
    fn units_divide_alike_and_no_time_not_at_all() {
        let later_ms = 500_000 * HOUR_MS;
        let in_unit = |unit, column: ArrayRef| {
            let schema = Schema::new(vec![Field::new("at", DataType::Timestamp(unit, None), false)]);
            let keys = [column];
            Regions::new(&schema).of(&keys).at(0)
        };
        let ms = in_unit(TimeUnit::Millisecond, Arc::new(TimestampMillisecondArray::from(vec![later_ms])));
        let ns = in_unit(TimeUnit::Nanosecond, Arc::new(TimestampNanosecondArray::from(vec![later_ms * 1_000_000])));
        // 2^42 ns are a little more than 2^22 ms.
        assert!((ms - ns).abs() * 20 < ms, "{ms} and {ns}");
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![7]))];
        assert_eq!(Regions::new(&schema).of(&keys).at(0), 0);
    }
}
