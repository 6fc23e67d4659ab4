//! The outputs of a job: its sinks, and a counter of rows that could not be evaluated for each view.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use highwater_engine::metrics::Registry;
use highwater_engine::model::errors_schema;
use highwater_engine::sink::{
    Closing, Delivery, Sink, SinkError, SinkReport, SinkRequest, SinkState, SinkTick, Terminal,
};
use indicatif::ProgressBar;

use crate::plan::{Emit, PlannedSink, PlannedView, SinkInput};

/// Where sinks go.
#[derive(Debug, Default, Clone)]
pub(super) struct Destination {
    pub(super) terminal: Terminal,
    pub(super) out: Option<PathBuf>,
    /// Where alert channels note what they send.
    pub(super) ledger: Option<PathBuf>,
    /// Whether they send.
    pub(super) delivery: Delivery,
    /// Where counters go.
    pub(super) metrics: Registry,
}

/// What a sink is told about its view.
pub(super) fn request(sink: &PlannedSink, view: &PlannedView, destination: &Destination) -> SinkRequest {
    let errors = matches!(sink.input, SinkInput::Errors(_));
    SinkRequest {
        name: sink.name.clone(),
        view: if errors { format!("{}_errors", view.name) } else { view.name.clone() },
        schema: if errors { errors_schema() } else { view.schema.clone() },
        key: if errors { None } else { view.key.clone() },
        closing: if errors { None } else { closing(view) },
        // After finality nothing can be taken back.
        corrections: sink.emit != Emit::OnFinality,
        order: if errors { Vec::new() } else { view.order.clone() },
        terminal: destination.terminal,
        out: destination.out.clone(),
        ledger: destination.ledger.clone(),
        delivery: destination.delivery,
        metrics: destination.metrics.clone(),
    }
}

/// Sinks look at the column alone, so a column that needs an offset does not help them.
fn closing(view: &PlannedView) -> Option<Closing> {
    view.closing.filter(|closing| closing.offset_ms == 0).map(|closing| closing.closing)
}

/// A sink that writes nothing, for a dry run.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn canonical_order(&self) -> bool {
        false
    }

    fn commit(&mut self, _: SinkTick<'_>) -> Result<(), SinkError> {
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        Ok(SinkState::default())
    }

    fn restore(&mut self, _: &SinkState) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        Ok(SinkReport { place: "nowhere (dry run)".to_owned(), ..SinkReport::default() })
    }
}

/// Standard output beside a progress bar: the bar steps aside while a line is printed.
pub(super) struct BesideBar {
    bar: ProgressBar,
}

impl BesideBar {
    /// A writer that a sink can share.
    pub(super) fn shared(bar: ProgressBar) -> Arc<Mutex<dyn Write + Send>> {
        Arc::new(Mutex::new(BesideBar { bar }))
    }
}

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// How many rows of a view could not be evaluated and still stand.
#[derive(Clone, Debug)]
pub(super) struct ErrorCount {
    pub(super) view: String,
    count: Arc<AtomicU64>,
}

impl ErrorCount {
    pub(super) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Counts the errors of a view, logs the first ones, and fails the job if the view says so.
pub(super) struct ErrorWatch {
    view: String,
    stop: bool,
    count: Arc<AtomicU64>,
    logged: u32,
}

/// Errors that are logged one by one.
const LOGGED: u32 = 5;

/// A row could not be evaluated, and the view stops the job for that.
#[derive(Debug, thiserror::Error)]
#[error("{error}; the row was {row}")]
struct RowError {
    error: String,
    row: String,
}

/// Marks the outputs that are no sink of the job: no name in SQL begins like this.
const ERRORS_OF: &str = "errors of ";

impl ErrorWatch {
    pub(super) fn name_of(view: &str) -> String {
        format!("{ERRORS_OF}{view}")
    }

    pub(super) fn is_name(name: &str) -> bool {
        name.starts_with(ERRORS_OF)
    }

    pub(super) fn view_of(name: &str) -> String {
        name.trim_start_matches(ERRORS_OF).to_owned()
    }

    pub(super) fn new(view: &str, stop: bool) -> (ErrorWatch, ErrorCount) {
        let count = Arc::new(AtomicU64::new(0));
        let watch = ErrorWatch { view: view.to_owned(), stop, count: count.clone(), logged: 0 };
        (watch, ErrorCount { view: view.to_owned(), count })
    }
}

impl Sink for ErrorWatch {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        for delta in tick.changes {
            let text = |column: usize, row: usize| delta.batch.column(column).as_string::<i32>().value(row).to_owned();
            for row in 0..delta.len() {
                let diff = delta.diffs.at(row);
                if diff < 0 {
                    self.count.fetch_sub(diff.unsigned_abs(), Ordering::Relaxed);
                    continue;
                }
                self.count.fetch_add(diff.unsigned_abs(), Ordering::Relaxed);
                if self.stop {
                    return Err(SinkError::Write {
                        action: "evaluating rows of",
                        place: format!("view \"{}\" (ON ERROR STOP)", self.view),
                        source: Box::new(RowError { error: text(0, row), row: text(1, row) }),
                    });
                }
                if self.logged < LOGGED {
                    self.logged += 1;
                    tracing::warn!(
                        view = self.view,
                        error = text(0, row),
                        row = text(1, row),
                        "a row could not be evaluated"
                    );
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let count = self.count.load(Ordering::Relaxed);
        Ok(SinkState { facts: serde_json::json!({ "count": count }), rows: Vec::new() })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let count = state.facts.get("count").and_then(serde_json::Value::as_u64).unwrap_or(0);
        self.count.store(count, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        Ok(SinkReport::default())
    }
}
