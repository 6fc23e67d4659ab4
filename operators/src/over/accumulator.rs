//! What a function remembers of the rows of its frame, while rows enter at the end and leave at the start.

use std::collections::VecDeque;

use arrow::datatypes::{DataType, Field};
use highwater_engine::model::wide::{
    Wide as WideKind, int256_from_bytes, int256_to_bytes, uint256_from_bytes, uint256_to_bytes, wide_kind,
};

use super::cell::Cell;
use crate::aggregate::{ExactFloat, Wide};

/// The state of one call for one frame.
#[derive(Clone, Debug)]
pub(super) enum Accumulator {
    Count(i64),
    Sum(Sum),
    Extreme(Extreme),
    Place(Places),
    Ewma { alpha: f64, value: Option<f64> },
}

/// An exact sum of numbers, or their average.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    kind: SumKind,
    integers: Wide,
    floats: ExactFloat,
    count: i64,
}

#[derive(Clone, Copy, Debug)]
enum SumKind {
    /// To a decimal of 38 digits.
    Decimal,
    Wide(WideKind),
    Float,
    /// Integers with so many digits after the point, or floats.
    Average(i8),
}

/// The smallest or the largest value.
#[derive(Clone, Debug)]
pub(super) struct Extreme {
    is_largest: bool,
    /// Whether values leave.
    slides: bool,
    /// Each is beaten by none after it, so the first is the answer.
    candidates: VecDeque<(usize, Cell)>,
}

/// Which value of the frame is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    First,
    Last,
    /// From 1.
    Nth(usize),
}

/// The value at a place.
#[derive(Clone, Debug)]
pub(super) struct Places {
    which: Which,
    ignore_nulls: bool,
    slides: bool,
    values: VecDeque<(usize, Cell)>,
}

impl Accumulator {
    /// `sum` or `avg` of this argument.
    pub(super) fn sum(argument: &Field, is_average: bool) -> Accumulator {
        let kind = match (argument.data_type(), wide_kind(argument)) {
            (DataType::Decimal128(_, scale), _) if is_average => SumKind::Average(*scale),
            _ if is_average => SumKind::Average(0),
            (_, Some(kind)) => SumKind::Wide(kind),
            (DataType::Float32 | DataType::Float64, _) => SumKind::Float,
            _ => SumKind::Decimal,
        };
        Accumulator::Sum(Sum { kind, integers: Wide::default(), floats: ExactFloat::default(), count: 0 })
    }

    /// `min` or `max`; `slides`: values leave.
    pub(super) fn extreme(is_largest: bool, slides: bool) -> Accumulator {
        Accumulator::Extreme(Extreme { is_largest, slides, candidates: VecDeque::new() })
    }

    /// `first_value`, `last_value` or `nth_value`; `slides`: values leave.
    pub(super) fn place(which: Which, ignore_nulls: bool, slides: bool) -> Accumulator {
        Accumulator::Place(Places { which, ignore_nulls, slides, values: VecDeque::new() })
    }

    /// A row enters at the end. `index` grows from row to row.
    pub(super) fn push(&mut self, index: usize, cell: &Cell) {
        match self {
            Accumulator::Count(count) => *count += i64::from(!cell.is_null()),
            Accumulator::Sum(sum) => sum.add(cell, 1),
            Accumulator::Extreme(extreme) => extreme.push(index, cell),
            Accumulator::Place(places) => places.push(index, cell),
            Accumulator::Ewma { alpha, value } => {
                if let Cell::Float(new) = cell {
                    *value = Some(value.map_or(*new, |before| *alpha * new + (1.0 - *alpha) * before));
                }
            }
        }
    }

    /// The row leaves that has been longest in the frame.
    pub(super) fn pop(&mut self, index: usize, cell: &Cell) {
        let leave = |values: &mut VecDeque<(usize, Cell)>| {
            if values.front().is_some_and(|(first, _)| *first == index) {
                values.pop_front();
            }
        };
        match self {
            Accumulator::Count(count) => *count -= i64::from(!cell.is_null()),
            Accumulator::Sum(sum) => sum.add(cell, -1),
            Accumulator::Extreme(extreme) => leave(&mut extreme.candidates),
            Accumulator::Place(places) => leave(&mut places.values),
            // Its frame begins with the partition: no row leaves.
            Accumulator::Ewma { .. } => {}
        }
    }

    /// The answer for the rows in the frame.
    pub(super) fn result(&self) -> Cell {
        match self {
            Accumulator::Count(count) => Cell::Integer(i128::from(*count)),
            Accumulator::Sum(sum) => sum.result(),
            Accumulator::Extreme(extreme) => extreme.candidates.front().map_or(Cell::Null, |(_, cell)| cell.clone()),
            Accumulator::Place(places) => places.result(),
            Accumulator::Ewma { value, .. } => value.map_or(Cell::Null, |value| Cell::Float(canonical(value))),
        }
    }
}

impl Sum {
    fn add(&mut self, cell: &Cell, times: i64) {
        match (cell, self.kind) {
            (Cell::Integer(value), _) => self.integers.add(Wide::from_i128(*value), times),
            (Cell::Float(value), _) => self.floats.add(*value, times),
            (Cell::Bytes(bytes), SumKind::Wide(kind)) => self.integers.add(wide(kind, bytes), times),
            _ => return,
        }
        self.count += times;
    }

    fn result(&self) -> Cell {
        if self.count == 0 {
            return Cell::Null;
        }
        let fits = |value: Option<Cell>| value.unwrap_or(Cell::TooLarge);
        match self.kind {
            SumKind::Decimal => fits(self.integers.to_decimal().map(Cell::Integer)),
            SumKind::Wide(WideKind::Unsigned) => {
                fits(self.integers.to_u256().map(|sum| Cell::Bytes(uint256_to_bytes(sum)[..].into())))
            }
            SumKind::Wide(WideKind::Signed) => {
                fits(self.integers.to_i256().map(|sum| Cell::Bytes(int256_to_bytes(sum)[..].into())))
            }
            SumKind::Float => Cell::Float(canonical(self.floats.value())),
            SumKind::Average(scale) => {
                let divisor = self.count as f64 * 10_f64.powi(i32::from(scale));
                // One of the two is zero: a column is of integers or of floats.
                Cell::Float(canonical((self.integers.to_f64() + self.floats.value()) / divisor))
            }
        }
    }
}

impl Extreme {
    fn push(&mut self, index: usize, cell: &Cell) {
        if cell.is_null() {
            return;
        }
        let is_beaten = |(_, old): &(usize, Cell)| if self.is_largest { old <= cell } else { old >= cell };
        if !self.slides && self.candidates.front().is_some_and(|first| !is_beaten(first)) {
            return;
        }
        while self.candidates.back().is_some_and(is_beaten) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((index, cell.clone()));
    }
}

impl Places {
    fn push(&mut self, index: usize, cell: &Cell) {
        if self.ignore_nulls && cell.is_null() {
            return;
        }
        if !self.slides {
            let is_full = match self.which {
                Which::First => !self.values.is_empty(),
                Which::Nth(place) => self.values.len() >= place,
                Which::Last => {
                    self.values.clear();
                    false
                }
            };
            if is_full {
                return;
            }
        }
        self.values.push_back((index, cell.clone()));
    }

    fn result(&self) -> Cell {
        let value = match self.which {
            Which::First => self.values.front(),
            Which::Last => self.values.back(),
            Which::Nth(place) => self.values.get(place - 1),
        };
        value.map_or(Cell::Null, |(_, cell)| cell.clone())
    }
}

/// A 256-bit integer from its bytes.
pub(super) fn wide(kind: WideKind, bytes: &[u8]) -> Wide {
    match kind {
        WideKind::Unsigned => Wide::from_u256(uint256_from_bytes(bytes)),
        WideKind::Signed => Wide::from_i256(int256_from_bytes(bytes)),
    }
}

/// One NaN instead of the many that processors make, so that equal results have equal bytes.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}
