//! Sealed ticks that belong to one atomic change, brought together for the sinks.

use crate::runtime::SealedTick;

/// Sealed ticks of a change that is not whole yet ([`crate::model::Progress::more_follow`]).
#[derive(Default)]
pub(super) struct Whole(Option<SealedTick>);

impl Whole {
    /// Takes the next sealed tick; gives the change if it is whole now, as one tick: the newest progress, with
    /// the reorg of the first and all changes of all.
    pub(super) fn add(&mut self, sealed: SealedTick) -> Option<SealedTick> {
        let sealed = match self.0.take() {
            None => sealed,
            Some(before) => join(before, sealed),
        };
        if sealed.progress.more_follow {
            self.0 = Some(sealed);
            return None;
        }
        Some(sealed)
    }
}

fn join(mut before: SealedTick, sealed: SealedTick) -> SealedTick {
    let SealedTick { mut progress, outputs, worker_cpu } = sealed;
    progress.applied_blocks += before.progress.applied_blocks;
    progress.reorg = before.progress.reorg.take().or(progress.reorg);
    if let Some(reorg) = &mut progress.reorg {
        reorg.replaced_by = progress.applied_blocks;
    }
    for (all, more) in before.outputs.iter_mut().zip(outputs) {
        all.extend(more);
    }
    SealedTick { progress, outputs: before.outputs, worker_cpu: before.worker_cpu + worker_cpu }
}
