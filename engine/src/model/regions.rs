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
