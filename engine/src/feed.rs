//! Relations that change from outside while a job runs: reference tables that are read again.
//!
//! A feed knows only what a relation has *now*. The driver asks at the start of a tick, compares with what
//! the dataflow has, and puts the difference into that tick: it counts before the tick's blocks. What the
//! dataflow has is part of every checkpoint, so that a restart feeds only what changed meanwhile. A reorg
//! does not touch it.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::BoxError;

/// A relation that changes from outside.
pub trait Feed: Send + 'static {
    /// Its name, for messages, metrics and checkpoints.
    fn name(&self) -> &str;

    /// Its columns: the same for ever.
    fn schema(&self) -> SchemaRef;

    /// The whole relation if it may have changed since it was last given; at the first call what it has.
    ///
    /// Called at most once a tick, on the driver's thread: cheap where nothing changed.
    ///
    /// # Errors
    /// If it cannot be read now. The job goes on with what it has and asks again; the same failure is told
    /// once, not at each call.
    fn poll(&mut self) -> Result<Option<RecordBatch>, BoxError>;
}
