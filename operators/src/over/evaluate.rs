//! The answers for some rows of a partition, from the rows around them.

use std::ops::Range;

use super::accumulator::Accumulator;
use super::cell::Cell;
use super::frame::Neighbours;
use super::plan::{CallPlan, Kind, Plan};
use super::sequence::{Cursor, Element, Sequence, State};
use super::spec::Frame;

/// Neighbouring rows and what is known of those before them.
pub(super) struct Context<'a> {
    plan: &'a Plan,
    neighbours: Neighbours<'a>,
    /// Where chunks begin, but for the first.
    starts: Vec<usize>,
    /// The rows to answer for.
    zone: Range<usize>,
    state: State,
    /// The row before the first.
    previous: Option<&'a Element>,
}

/// The answers for a zone, row by row, and the states before the chunks after the first.
pub(super) struct Answers {
    pub(super) results: Vec<Box<[Cell]>>,
    pub(super) states: Vec<State>,
    /// Rows that were read.
    pub(super) read: usize,
}

/// Positions of a row, from 1.
struct Numbers {
    row: usize,
    rank: usize,
    dense: usize,
}

/// Answers for the rows of a zone, reading from `from` to `to`; with running calls `from` begins a chunk whose
/// state is right.
pub(super) fn evaluate(
    plan: &Plan,
    sequence: &Sequence,
    (from, to): (Cursor, Cursor),
    zone: (Cursor, Cursor),
) -> Answers {
    let (rows, starts) = sequence.slice(from, to);
    let (before, _) = sequence.slice(from, zone.0);
    let (inside, _) = sequence.slice(zone.0, zone.1);
    let state = if plan.runs { sequence.state(from.chunk).cloned() } else { None };
    let state = state.unwrap_or_else(|| State { accumulators: plan.initial.clone(), ..State::default() });
    let context = Context {
        plan,
        neighbours: Neighbours::new(rows),
        starts,
        zone: before.len()..before.len() + inside.len(),
        state,
        previous: sequence.previous(from).and_then(|at| sequence.get(at)),
    };
    context.answers()
}

impl Context<'_> {
    fn answers(&self) -> Answers {
        let (numbers, mut states) = self.numbers();
        let mut results: Vec<Vec<Cell>> =
            self.zone.clone().map(|_| Vec::with_capacity(self.plan.calls.len())).collect();
        for call in &self.plan.calls {
            let answers = self.call(call, &numbers, &mut states);
            results.iter_mut().zip(answers).for_each(|(row, cell)| row.push(cell));
        }
        let results = results.into_iter().map(Vec::into_boxed_slice).collect();
        Answers { results, states, read: self.neighbours.len() }
    }

    /// The positions of all rows, and what is known of positions where chunks begin.
    fn numbers(&self) -> (Vec<Numbers>, Vec<State>) {
        let State { before, mut rank, mut dense, .. } = self.state;
        let mut starts = self.starts.iter().peekable();
        let (mut numbers, mut states) = (Vec::with_capacity(self.neighbours.len()), Vec::new());
        for (index, row) in self.neighbours.rows.iter().enumerate() {
            if starts.next_if_eq(&&index).is_some() && self.plan.runs {
                states.push(State { before: before + index, rank, dense, accumulators: Vec::new() });
            }
            let previous = index.checked_sub(1).map_or(self.previous, |index| Some(self.neighbours.rows[index]));
            if !previous.is_some_and(|previous| row.is_peer(previous)) {
                (rank, dense) = (before + index + 1, dense + 1);
            }
            numbers.push(Numbers { row: before + index + 1, rank, dense });
        }
        (numbers, states)
    }

    fn call(&self, call: &CallPlan, numbers: &[Numbers], states: &mut [State]) -> Vec<Cell> {
        let rows = self.neighbours.len();
        let count = |number: usize| Cell::Integer(number as i128);
        let zone = || numbers[self.zone.clone()].iter();
        match &call.kind {
            Kind::RowNumber => zone().map(|numbers| count(numbers.row)).collect(),
            Kind::Rank => zone().map(|numbers| count(numbers.rank)).collect(),
            Kind::DenseRank => zone().map(|numbers| count(numbers.dense)).collect(),
            Kind::PercentRank => {
                let others = rows.saturating_sub(1).max(1) as f64;
                zone().map(|numbers| Cell::Float((numbers.rank - 1) as f64 / others)).collect()
            }
            Kind::CumeDist => {
                let groups = &self.neighbours.groups;
                let up_to = |group: usize| groups.partition_point(|other| *other <= group);
                self.zone.clone().map(|row| Cell::Float(up_to(groups[row]) as f64 / rows as f64)).collect()
            }
            Kind::Ntile(parts) => zone().map(|numbers| count(part(numbers.row - 1, rows, *parts))).collect(),
            Kind::Shift { rows, ignore_nulls, default } => self.shifted(call.slot, *rows, *ignore_nulls, *default),
            Kind::Framed { frame, empty, running: None } => self.sliding(call.slot, frame, empty.as_ref().clone()),
            Kind::Framed { frame, running: Some(running), .. } => {
                let before = self.state.accumulators[*running].clone();
                self.running(call.slot, frame, before, states)
            }
        }
    }

    /// `lag` and `lead`.
    fn shifted(&self, slot: usize, rows: i64, ignore_nulls: bool, default: Option<usize>) -> Vec<Cell> {
        let all = &self.neighbours.rows;
        let count = usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX);
        let present: Vec<usize> = if ignore_nulls {
            (0..all.len()).filter(|row| !all[*row].values[slot].is_null()).collect()
        } else {
            Vec::new()
        };
        let source = |row: usize| match (rows, ignore_nulls) {
            (0, _) => Some(row),
            (1.., false) => row.checked_sub(count),
            (_, false) => row.checked_add(count),
            (1.., true) => present.partition_point(|other| *other < row).checked_sub(count).map(|index| present[index]),
            (_, true) => {
                let place = present.partition_point(|other| *other <= row).checked_add(count - 1);
                place.and_then(|place| present.get(place).copied())
            }
        };
        let value = |row: usize| match source(row).and_then(|source| all.get(source)) {
            Some(source) => source.values[slot].clone(),
            None => default.map_or(Cell::Null, |default| all[row].values[default].clone()),
        };
        self.zone.clone().map(value).collect()
    }

    /// A function of frames whose start moves.
    fn sliding(&self, slot: usize, frame: &Frame, mut accumulator: Accumulator) -> Vec<Cell> {
        let all = &self.neighbours;
        let value = |row: usize| &all.rows[row].values[slot];
        let (mut start, mut end) = (0, 0);
        let mut results = Vec::with_capacity(self.zone.len());
        for row in self.zone.clone() {
            while end < all.len() && all.is_reached(frame, self.plan.axis, end, row) {
                accumulator.push(end, value(end));
                end += 1;
            }
            while start < end && all.is_before(frame, self.plan.axis, start, row) {
                accumulator.pop(start, value(start));
                start += 1;
            }
            results.push(accumulator.result());
        }
        results
    }

    /// A function of frames that begin with the partition; notes its state where chunks begin.
    fn running(&self, slot: usize, frame: &Frame, mut accumulator: Accumulator, states: &mut [State]) -> Vec<Cell> {
        let all = &self.neighbours;
        let mut end = 0;
        let mut starts = self.starts.iter().zip(states).peekable();
        let mut enter = |accumulator: &mut Accumulator, end: usize| {
            if let Some((_, state)) = starts.next_if(|(start, _)| **start == end) {
                state.accumulators.push(accumulator.clone());
            }
            accumulator.push(end, &all.rows[end].values[slot]);
        };
        let mut results = Vec::with_capacity(self.zone.len());
        for row in self.zone.clone() {
            while end < all.len() && all.is_reached(frame, self.plan.axis, end, row) {
                enter(&mut accumulator, end);
                end += 1;
            }
            results.push(accumulator.result());
        }
        // Where frames end before their row, chunks are left whose state no row has asked for.
        let last = if self.plan.runs { self.starts.last().map_or(0, |start| start + 1) } else { 0 };
        (end..last).for_each(|row| enter(&mut accumulator, row));
        results
    }
}

/// The part, from 1, of a row among `rows` that are cut into `parts`, the larger ones first.
fn part(row: usize, rows: usize, parts: usize) -> usize {
    let (size, larger) = (rows / parts, rows % parts);
    let in_larger = larger * (size + 1);
    if row < in_larger { row / (size + 1) + 1 } else { larger + (row - in_larger) / size + 1 }
}
