//! A dataflow that a session steps itself: one tick in, its changes out.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::runtime::{Runtime, RuntimeConfig, TickInput};

use super::SessionError;
use crate::plan::{Emit, JobPlan, SinkInput};
use crate::render::{OutputPlan, Rendered, render};

/// When a tick is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) tick: u64,
    /// `now()`, milliseconds since the epoch.
    pub(super) now_ms: i64,
    /// Rows of earlier times are final, milliseconds.
    pub(super) final_ms: Option<i64>,
}

/// What a tick changed, not consolidated.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) rows: Vec<Delta>,
    pub(super) errors: Vec<Delta>,
}

/// The running dataflow of one view.
#[derive(Debug)]
pub(super) struct Live {
    runtime: Runtime,
    workers: usize,
    /// Constants that are still to be given.
    constants: Vec<RecordBatch>,
    /// The table of the first reloaded one.
    first_table: usize,
}

fn failed(error: impl Into<BoxError>) -> SessionError {
    SessionError::Dataflow(error.into())
}

impl Live {
    /// The dataflow of the view of this index.
    pub(super) fn start(plan: Arc<JobPlan>, view: usize, workers: usize) -> Result<Live, SessionError> {
        let output = |input| OutputPlan { input, emit: Emit::Changes };
        let outputs = vec![output(SinkInput::View(view)), output(SinkInput::Errors(view))];
        let Rendered { build, constants } = render(plan.clone(), outputs).map_err(failed)?;
        let first_table = constants.len();
        let config = RuntimeConfig { workers, in_flight: 1, tables: first_table + plan.reloaded.len(), outputs: 2 };
        let runtime = Runtime::start(config, build).map_err(failed)?;
        Ok(Live { runtime, workers, constants, first_table })
    }

    /// Carries out a tick: changes with the indices of their tables among the reloaded ones of the plan.
    pub(super) fn step(&mut self, moment: Moment, changes: Vec<(usize, Delta)>) -> Result<Changes, SessionError> {
        let mut deltas: Vec<Vec<(usize, Delta)>> = vec![Vec::new(); self.workers];
        let whole = |batch: RecordBatch| {
            let count = batch.num_rows();
            Delta::derived(batch, vec![1; count])
        };
        deltas[0].extend(self.constants.drain(..).map(whole).enumerate());
        deltas[0].extend(changes.into_iter().map(|(table, delta)| (self.first_table + table, delta)));
        let head = BlockRef {
            number: moment.tick,
            hash: BlockHash::default(),
            parent: BlockHash::default(),
            timestamp_ms: moment.now_ms,
        };
        let progress = Progress { finalized_ms: moment.final_ms, ..Progress::at(moment.tick, &head) };
        self.runtime.submit(TickInput { progress, deltas }).map_err(failed)?;
        let sealed = self.runtime.next_sealed().map_err(failed)?;
        let mut outputs = sealed.map(|sealed| sealed.outputs).unwrap_or_default().into_iter();
        Ok(Changes { rows: outputs.next().unwrap_or_default(), errors: outputs.next().unwrap_or_default() })
    }
}
