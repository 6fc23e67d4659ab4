//! One partition through one tick: rows come and go, and the rows they matter to are answered again.

use std::rc::Rc;

use super::cell::Cell;
use super::evaluate::evaluate;
use super::plan::Plan;
use super::sequence::{Cursor, Element, Sequence};

/// Where a row has come or gone.
pub(super) struct Gap {
    pub(super) key: Rc<[u8]>,
    /// The row, if it has gone.
    pub(super) removed: Option<Element>,
}

/// A row of the output that has come or gone.
pub(super) struct Changed {
    pub(super) key: Rc<[u8]>,
    pub(super) results: Box<[Cell]>,
    pub(super) diff: i64,
}

/// Answers again for all rows that the gaps matter to. `changed` gets the rows of the output that differ, in
/// order and without what cancels. Gives how many rows were read.
pub(super) fn refresh(sequence: &mut Sequence, plan: &Plan, gaps: Vec<Gap>, changed: &mut Vec<Changed>) -> usize {
    let mut found = Vec::new();
    let mut read = 0;
    for zone in zones(sequence, plan, &gaps) {
        read += answer(sequence, plan, zone, &mut found);
    }
    let gone = gaps.into_iter().filter_map(|gap| gap.removed);
    found.extend(gone.map(|element| Changed { key: element.key, results: element.results, diff: -1 }));
    consolidate(found, changed);
    read
}

/// Answers for all rows, as if none had been before.
pub(super) fn start(sequence: &mut Sequence, plan: &Plan) {
    let all = (Cursor::START, sequence.end());
    answer(sequence, plan, all, &mut Vec::new());
}

/// The rows to answer again, in order and apart from each other.
fn zones(sequence: &Sequence, plan: &Plan, gaps: &[Gap]) -> Vec<(Cursor, Cursor)> {
    let mut zones: Vec<(Cursor, Cursor)> = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let (lower, upper) = (sequence.lower(&gap.key), sequence.upper(&gap.key));
        let Some(origin) = gap.removed.as_ref().or_else(|| sequence.get(lower)) else { continue };
        let reach = |(from, to): (Cursor, Cursor), call: &super::plan::CallPlan| {
            let (ahead, behind) =
                (call.ahead.back(sequence, lower, origin), call.behind.forward(sequence, upper, origin));
            (from.min(ahead), to.max(behind))
        };
        zones.push(plan.calls.iter().fold((lower, upper), reach));
    }
    zones.sort_unstable();
    let mut apart: Vec<(Cursor, Cursor)> = Vec::with_capacity(zones.len());
    for (from, to) in zones {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart.retain(|(from, to)| from < to);
    apart
}

fn answer(sequence: &mut Sequence, plan: &Plan, zone: (Cursor, Cursor), found: &mut Vec<Changed>) -> usize {
    let (mut from, mut to) = zone;
    let last = sequence.previous(zone.1);
    let ends = sequence.get(zone.0).zip(last.and_then(|last| sequence.get(last)));
    let Some((first, last)) = ends else { return 0 };
    for call in &plan.calls {
        from = from.min(call.read_behind.back(sequence, zone.0, first));
        to = to.max(call.ahead.forward(sequence, zone.1, last));
    }
    if plan.runs {
        from = sequence.start_of_running(from);
    }
    let answers = evaluate(plan, sequence, (from, to), zone);
    if plan.runs {
        sequence.set_states(from.chunk, answers.states);
    }
    let mut at = zone.0;
    for results in answers.results {
        let next = sequence.next(at);
        if let Some(element) = sequence.get_mut(at).filter(|element| element.results != results) {
            let old = std::mem::replace(&mut element.results, results.clone());
            let key = &element.key;
            // A row that has just come was not there before.
            if !old.is_empty() {
                found.push(Changed { key: key.clone(), results: old, diff: -1 });
            }
            found.push(Changed { key: key.clone(), results, diff: 1 });
        }
        at = next;
    }
    answers.read
}

/// Copies of one row can take each other's place.
fn consolidate(mut found: Vec<Changed>, changed: &mut Vec<Changed>) {
    found.sort_unstable_by(|a, b| (&a.key, &a.results).cmp(&(&b.key, &b.results)));
    let first = changed.len();
    for change in found {
        match changed[first..].last_mut() {
            Some(last) if last.key == change.key && last.results == change.results => last.diff += change.diff,
            _ => changed.push(change),
        }
    }
    let mut index = 0;
    changed.retain(|change| {
        index += 1;
        index <= first || change.diff != 0
    });
}
