//! What a statement answers.

use arrow::record_batch::RecordBatch;

/// What a statement answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is done.
    Done,
    /// So many rows changed.
    Changed(usize),
    /// Rows.
    Rows(Rows),
    /// Text for people.
    Text(String),
    /// Changes to come: [`super::Session::follow`] gives them.
    Subscription(super::Subscription),
}

/// The rows of a query, in the order of its ORDER BY; without one in the order of the rows themselves.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The rows.
    pub batch: RecordBatch,
    /// Whether the query asked for an order.
    pub ordered: bool,
}
