//! What comes out of a tick: rows that came and went, and rows that could not be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_engine::model::{Delta, Origin, error_delta, format};
use highwater_engine::operator::Output;

use super::machine::Machine;

/// A row of the input that says nothing that could be understood.
pub(super) fn refuse(delta: &Delta, row: usize, diff: i64, reason: String, output: &mut Output) {
    let mut text = String::new();
    format::write_json_row(&mut text, &delta.batch, row);
    output.errors.push(error_delta(&[(reason, text)], vec![diff], Origin::Derived));
}

/// The rows that came and went in a tick.
pub(super) struct Changes<M: Machine>(BTreeMap<Arc<M::Row>, i64>);

impl<M: Machine> Default for Changes<M> {
    fn default() -> Changes<M> {
        Changes(BTreeMap::new())
    }
}

impl<M: Machine> Changes<M> {
    pub(super) fn compare(&mut self, before: Vec<Arc<M::Row>>, after: Vec<Arc<M::Row>>) {
        let same = before.iter().zip(&after).take_while(|(a, b)| Arc::ptr_eq(a, b)).count();
        for (rows, diff) in [(before, -1), (after, 1)] {
            for row in rows.into_iter().skip(same) {
                *self.0.entry(row).or_default() += diff;
            }
        }
    }

    pub(super) fn emit(self, machine: &M, output: &mut Output) {
        let (rows, diffs): (Vec<_>, Vec<_>) = self.0.into_iter().filter(|(_, diff)| *diff != 0).unzip();
        if !rows.is_empty() {
            output.deltas.push(Delta::derived(machine.batch(&rows), diffs));
        }
    }
}
