//! The contracts of operators.
//!
//! A [`BatchOperator`] has no state: it is a linear function of each delta, so a reorg is the same
//! batch with the sign turned. A [`TickOperator`] keeps state: it is called once for every tick, in
//! tick order, with all changes of that tick, and answers with what changed in its output: for each
//! touched key the old row once with `-1` and the new row once with `+1`, and nothing where nothing
//! changed. A [`TablesOperator`] is the same over several relations. None of them reads a clock, the
//! environment, randomness or hash order.

use arrow::record_batch::RecordBatch;

use crate::error::StateError;
use crate::model::{Delta, Progress};

/// What an operator emits: changed rows, and rows that could not be evaluated.
#[derive(Default, Debug)]
pub struct Output {
    /// Changes of the operator's relation.
    pub deltas: Vec<Delta>,
    /// Changes of the error relation ([`crate::model::errors_schema`]).
    pub errors: Vec<Delta>,
    /// Why the operator cannot go on, for the reader of the job: a recursion without end, a state budget that is
    /// used up. The job ends with this and the operator's name.
    pub failure: Option<String>,
}

/// A stateless, linear operator.
pub trait BatchOperator: 'static {
    /// Transforms one delta.
    fn on_delta(&mut self, input: Delta, output: &mut Output);
}

/// A stateful operator over the changes of one relation.
pub trait TickOperator: 'static {
    /// Takes all changes of one tick (possibly none) and emits the changes of the output.
    ///
    /// Called for every tick in order, also when `input` is empty, so that timers fire and closed
    /// state is dropped. `progress.tick` is the tick.
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output);

    /// The whole state as Arrow batches. Between ticks only.
    fn save(&self) -> Result<Vec<RecordBatch>, StateError>;

    /// Replaces the state by what [`TickOperator::save`] gave, keeping only rows whose key belongs to
    /// `share` (saves of all workers are handed to each worker; the number of workers may have changed).
    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError>;

    /// How large the state is now.
    fn size(&self) -> StateSize;
}

/// A stateful operator over the changes of several relations.
pub trait TablesOperator: 'static {
    /// Takes all changes of one tick, relation by relation, and emits the changes of the output.
    ///
    /// Called for every tick in order, also when all inputs are empty. `progress.tick` is the tick.
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output);

    /// See [`TickOperator::save`].
    fn save(&self) -> Result<Vec<RecordBatch>, StateError>;

    /// See [`TickOperator::load`].
    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError>;

    /// How large the state is now.
    fn size(&self) -> StateSize;
}

/// A [`TickOperator`] as an operator over one relation.
pub(crate) struct OneTable(pub(crate) Box<dyn TickOperator>);

impl TablesOperator for OneTable {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output) {
        let input = inputs.into_iter().next().unwrap_or_default();
        self.0.on_tick(input, progress, output);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        self.0.save()
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.0.load(state, share)
    }

    fn size(&self) -> StateSize {
        self.0.size()
    }
}

/// The size of an operator's state.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct StateSize {
    /// Entries: groups, rows, timers.
    pub entries: usize,
    /// Bytes held, approximately.
    pub bytes: usize,
}

/// Which part of the key space a worker owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index of the worker.
    pub index: usize,
    /// Number of workers.
    pub peers: usize,
}

impl Share {
    /// The share of a single worker: everything.
    pub const ALL: Share = Share { index: 0, peers: 1 };

    /// The worker that owns a key, given the key's `arrow::row` bytes. Stable across runs and machines.
    pub fn owner(key: &[u8], peers: usize) -> usize {
        if peers == 1 {
            return 0;
        }
        // FNV-1a: fixed for ever, because checkpoints of any number of workers are read back with it.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The high bits of FNV mix better than the low ones.
        usize::try_from((hash >> 32) % peers as u64).expect("less than the number of workers")
    }

    /// Whether this worker owns the key.
    pub fn owns(&self, key: &[u8]) -> bool {
        Share::owner(key, self.peers) == self.index
    }
}

/// How rows reach the workers of a stateful operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Rows with equal values in these columns meet at one worker ([`Share::owner`] over their row bytes).
    Key(Vec<usize>),
    /// Everything goes to the first worker (an aggregate without keys, a global top-k).
    First,
    /// Rows stay on the worker where they are (the state needs no key to meet another).
    Local,
}
