//! The definition of a recursion: every round evaluates every body anew, row by row.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use highwater_engine::model::Delta;
use highwater_engine::operator::Output;
use highwater_operators::aggregate::{AggregateCall, AggregateFunction, AggregateSpec};
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{BatchFactory, Body, RecursionSpec, RecursiveJoin};

/// A value; NULL comes first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    /// Of `Decimal128(38, 0)`.
    Decimal(i128),
    Text(String),
}

pub(crate) type Row = Vec<Cell>;
/// Rows and how often each is there.
pub(crate) type Bag = BTreeMap<Row, i64>;

/// Reads batches, and writes rows of numbers, for the operators inside of bodies.
pub(crate) struct Batches {
    pub(crate) read: fn(&RecordBatch) -> Vec<Row>,
    pub(crate) write: fn(&[Row]) -> RecordBatch,
}

/// The result and the error rows, or `None` if the rounds do not come to an end: if what is read in the round
/// after still changes.
pub(crate) fn evaluate(spec: &RecursionSpec, inputs: &[Bag], batches: &Batches) -> Option<(Bag, Bag)> {
    let mut bindings: Vec<Bag> = vec![Bag::new(); spec.bindings.len()];
    for _ in 0..=spec.limit {
        let before = bindings.clone();
        let mut errors = Bag::new();
        for (index, binding) in spec.bindings.iter().enumerate() {
            let mut rows = Round { inputs, bindings: &bindings, batches, errors: &mut errors }.rows(&binding.body);
            if binding.distinct {
                rows = once(rows);
            }
            bindings[index] = rows;
        }
        if (0..bindings.len()).all(|index| bindings[index] == before[index] || !is_read_after(spec, index)) {
            return Some((bindings.swap_remove(spec.result), errors));
        }
    }
    None
}

/// Whether it or one before it reads the binding.
fn is_read_after(spec: &RecursionSpec, index: usize) -> bool {
    spec.bindings[..=index].iter().any(|binding| reads(&binding.body, index))
}

fn reads(body: &Body, variable: usize) -> bool {
    match body {
        Body::Variable(index) => *index == variable,
        Body::Input(_) | Body::Values(_) => false,
        Body::Batch { input, .. } | Body::Project { input, .. } | Body::Aggregate { input, .. } => {
            reads(input, variable)
        }
        Body::Distinct(input) => reads(input, variable),
        Body::Union(bodies) => bodies.iter().any(|body| reads(body, variable)),
        Body::Join(join) => reads(&join.left, variable) || reads(&join.right, variable),
    }
}

struct Round<'a> {
    inputs: &'a [Bag],
    bindings: &'a [Bag],
    batches: &'a Batches,
    /// What cannot be evaluated in this round.
    errors: &'a mut Bag,
}

impl Round<'_> {
    fn rows(&mut self, body: &Body) -> Bag {
        match body {
            Body::Input(index) => self.inputs[*index].clone(),
            Body::Variable(index) => self.bindings[*index].clone(),
            Body::Values(batch) => bag((self.batches.read)(batch).into_iter().map(|row| (row, 1))),
            Body::Batch { input, operator, .. } => {
                let rows = self.rows(input);
                self.batch(&rows, operator)
            }
            Body::Project { input, columns } => {
                let pick = |row: Row| columns.iter().map(|column| row[*column].clone()).collect();
                bag(self.rows(input).into_iter().map(|(row, count)| (pick(row), count)))
            }
            Body::Union(bodies) => bag(bodies.iter().flat_map(|body| self.rows(body)).collect::<Vec<_>>()),
            Body::Distinct(input) => once(self.rows(input)),
            Body::Join(join) => self.join(join),
            Body::Aggregate { input, spec } => grouped(&self.rows(input), spec),
        }
    }

    fn batch(&mut self, rows: &Bag, operator: &BatchFactory) -> Bag {
        if rows.is_empty() {
            return Bag::new();
        }
        let given: Vec<Row> = rows.keys().cloned().collect();
        let delta = Delta::derived((self.batches.write)(&given), rows.values().copied().collect());
        let mut output = Output::default();
        operator().on_delta(delta, &mut output);
        let all = |deltas: &[Delta]| {
            let rows = deltas.iter().flat_map(|delta| {
                (self.batches.read)(&delta.batch).into_iter().enumerate().map(|(at, row)| (row, delta.diffs.at(at)))
            });
            bag(rows.collect::<Vec<_>>())
        };
        let (rows, errors) = (all(&output.deltas), all(&output.errors));
        errors.into_iter().for_each(|(row, count)| *self.errors.entry(row).or_default() += count);
        rows
    }

    fn join(&mut self, join: &RecursiveJoin) -> Bag {
        let (left, right) = (self.rows(&join.left), self.rows(&join.right));
        let equal = |one: &Cell, other: &Cell| one == other && (join.null_equals_null || *one != Cell::Null);
        let mut pairs = Bag::new();
        for (one, count) in &left {
            for (other, times) in &right {
                if join.keys.iter().all(|(l, r)| equal(&one[*l], &other[*r])) {
                    *pairs.entry([one.clone(), other.clone()].concat()).or_default() += count * times;
                }
            }
        }
        if let Some(condition) = &join.condition {
            pairs = self.batch(&pairs, condition);
        }
        let width = left.keys().next().map_or(0, Vec::len);
        let met: BTreeSet<Row> = pairs.keys().map(|row| row[..width].to_vec()).collect();
        let alone = |wanted: bool| left.clone().into_iter().filter(move |(row, _)| met.contains(row) == wanted);
        let rows: Vec<(Row, i64)> = match join.kind {
            JoinKind::Inner => pairs.into_iter().collect(),
            JoinKind::Semi => alone(true).collect(),
            JoinKind::Anti => alone(false).collect(),
            JoinKind::LeftOuter => {
                let nulls = join.output.iter().max().map_or(0, |most| most + 1).saturating_sub(width);
                let padded = alone(false).map(|(row, count)| ([row, vec![Cell::Null; nulls]].concat(), count));
                let padded: Vec<(Row, i64)> = padded.collect();
                pairs.into_iter().chain(padded).collect()
            }
        };
        let pick = |row: Row| join.output.iter().map(|column| row[*column].clone()).collect();
        bag(rows.into_iter().map(|(row, count)| (pick(row), count)))
    }
}

fn bag(rows: impl IntoIterator<Item = (Row, i64)>) -> Bag {
    let mut bag = Bag::new();
    rows.into_iter().for_each(|(row, count)| *bag.entry(row).or_default() += count);
    bag.retain(|_, count| *count != 0);
    bag
}

fn once(rows: Bag) -> Bag {
    rows.into_keys().map(|row| (row, 1)).collect()
}

fn grouped(rows: &Bag, spec: &AggregateSpec) -> Bag {
    let mut groups: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
    if spec.keys.is_empty() {
        groups.entry(Row::new()).or_default();
    }
    for (row, count) in rows {
        let key: Row = spec.keys.iter().map(|key| row[*key].clone()).collect();
        groups.entry(key).or_default().push((row, *count));
    }
    let result = |(key, rows): (Row, Vec<(&Row, i64)>)| {
        let calls = spec.calls.iter().map(|call| called(call, &rows));
        (key.into_iter().chain(calls).collect(), 1)
    };
    groups.into_iter().map(result).collect()
}

fn called(call: &AggregateCall, rows: &[(&Row, i64)]) -> Cell {
    use AggregateFunction as F;
    let values = || {
        let argument = |row: &Row| call.arguments.first().map_or(Cell::Int(0), |argument| row[*argument].clone());
        rows.iter().map(move |(row, count)| (argument(row), *count)).filter(|(cell, _)| *cell != Cell::Null)
    };
    match call.function {
        F::Count if call.distinct => {
            let distinct: BTreeSet<Cell> = values().map(|(cell, _)| cell).collect();
            Cell::Int(i64::try_from(distinct.len()).expect("few"))
        }
        F::CountAll | F::Count => Cell::Int(values().map(|(_, count)| count).sum()),
        F::Min => values().map(|(cell, _)| cell).min().unwrap_or(Cell::Null),
        F::Max => values().map(|(cell, _)| cell).max().unwrap_or(Cell::Null),
        F::Sum => {
            let number = |(cell, count): (Cell, i64)| match cell {
                Cell::Int(value) => i128::from(value) * i128::from(count),
                other => panic!("a sum of {other:?}"),
            };
            let numbers: Vec<i128> = values().map(number).collect();
            if numbers.is_empty() { Cell::Null } else { Cell::Decimal(numbers.iter().sum()) }
        }
        other => panic!("these tests have no {other}"),
    }
}
