//! One output of a running job: its changes put in order, then given to its sink.

use super::{JobError, JobOutput};
use crate::consolidate::Consolidator;
use crate::model::{Delta, Progress};
use crate::sink::{SinkError, SinkTick};

/// A sink and what puts its changes in order.
pub(super) struct Output {
    pub(super) output: JobOutput,
    consolidator: Option<Consolidator>,
}

impl Output {
    pub(super) fn new(output: JobOutput) -> Result<Output, JobError> {
        let consolidator = if output.sink.canonical_order() {
            let made = Consolidator::new(output.schema.clone(), output.key.as_deref());
            Some(made.map_err(|source| JobError::Consolidate { name: output.name.clone(), source })?)
        } else {
            None
        };
        Ok(Output { output, consolidator })
    }

    /// Hands the changes of one tick to the sink; gives how many rows came and went.
    pub(super) fn commit(&mut self, progress: &Progress, deltas: &[Delta]) -> Result<(u64, u64), JobError> {
        let name = &self.output.name;
        let consolidated = match &self.consolidator {
            None => None,
            Some(consolidator) => Some(
                consolidator
                    .consolidate(deltas)
                    .map_err(|source| JobError::Consolidate { name: name.clone(), source })?,
            ),
        };
        let changes = match &consolidated {
            None => deltas,
            Some(delta) => delta.as_slice(),
        };
        let counts = count(changes);
        let tick = SinkTick { tick: progress.tick, progress, changes };
        self.output.sink.commit(tick).map_err(|source| sink_error(name, source))?;
        Ok(counts)
    }
}

/// Rows inserted and rows taken back.
fn count(changes: &[Delta]) -> (u64, u64) {
    let (mut inserted, mut retracted) = (0, 0);
    for delta in changes {
        for row in 0..delta.len() {
            let diff = delta.diffs.at(row);
            if diff > 0 { inserted += diff.unsigned_abs() } else { retracted += diff.unsigned_abs() }
        }
    }
    (inserted, retracted)
}

/// A failure of the sink of this name.
pub(super) fn sink_error(name: &str, source: SinkError) -> JobError {
    JobError::Sink { name: name.to_owned(), source }
}
