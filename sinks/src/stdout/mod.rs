//! `stdout`: a view for the person at the terminal, or its changes as JSON lines for the next program.
//!
//! * On a terminal (`table`): each tick's changed rows as aligned lines (`+` new, `~` changed, `-` gone),
//!   a note when a reorg corrected rows, and at the end the view itself as a table.
//! * In a pipe (`json`): one line a changed row, the same bytes on every run.
//!
//! Only whole lines are written, never cursor movements, so that a progress bar on standard error may
//! be shown at the same time. State: `table` keeps the rows of the view; `json` keeps nothing. What
//! was printed cannot be taken back: after a restart the ticks past the checkpoint are printed again.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{
    Notifications, Sink, SinkConnector, SinkError, SinkReport, SinkRequest, SinkState, SinkTick,
};

use crate::common::{encode_error, unsupported};
use crate::lines::{LineFormat, count};

mod aligned;
mod live;
mod table;
mod told;

pub use aligned::AlignedRows;
use live::Live;
use told::Told;

/// The `stdout` connector.
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

/// Where lines go: standard output, or memory in a test.
pub type SharedWriter = Arc<Mutex<dyn Write + Send>>;

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "format",
        kind: "'auto', 'table' or 'json'",
        default: "auto: table on a terminal, json in a pipe",
        doc: "A table for people, or JSON lines for programs.",
        example: "json",
    },
    OptionDoc {
        name: "limit",
        kind: "integer (rows)",
        default: "20",
        doc: "How many rows the table shows, and how many changed rows a tick.",
        example: "50",
    },
    OptionDoc {
        name: "order_by",
        kind: "columns, each with asc or desc",
        default: "the ORDER BY of the view, else its key",
        doc: "In which order the table shows rows.",
        example: "failed desc, to_address",
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Auto,
    Table,
    Json,
}

struct Settings {
    table: bool,
    limit: usize,
    order: Vec<(usize, bool)>,
}

fn settings(request: &SinkRequest, mut options: Options) -> Result<Settings, SinkError> {
    let choices = [("auto", Format::Auto), ("table", Format::Table), ("json", Format::Json)];
    let format = options.take_choice("format", &choices)?.unwrap_or(Format::Auto);
    let limit = options.take_u64("limit")?.unwrap_or(20);
    let order = match options.take_str("order_by") {
        Some(text) => read_order(request, &text)
            .ok_or_else(|| options.invalid("order_by", text, "a list of columns of the view, such as 'failed desc'"))?,
        None => request.order.clone(),
    };
    options.finish()?;
    let table = format == Format::Table || (format == Format::Auto && request.terminal.interactive);
    Ok(Settings { table, limit: usize::try_from(limit).unwrap_or(usize::MAX), order })
}

/// Reads `failed desc, to_address`.
fn read_order(request: &SinkRequest, text: &str) -> Option<Vec<(usize, bool)>> {
    text.split(',')
        .map(|part| {
            let mut words = part.split_whitespace();
            let (column, _) = request.schema.column_with_name(words.next()?)?;
            let descending = match words.next().map(str::to_ascii_lowercase).as_deref() {
                None | Some("asc") => false,
                Some("desc") => true,
                Some(_) => return None,
            };
            words.next().is_none().then_some((column, descending))
        })
        .collect()
}

impl SinkConnector for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn about(&self) -> &'static str {
        "A live table on a terminal, changes as JSON lines in a pipe."
    }

    fn options(&self) -> &'static [OptionDoc] {
        OPTIONS
    }

    fn notifications(&self) -> Notifications {
        Notifications::OfAlerts
    }

    fn check(&self, request: &SinkRequest, options: Options) -> Result<(), SinkError> {
        settings(request, options).map(|_| ())
    }

    fn open(&self, request: SinkRequest, options: Options) -> Result<Box<dyn Sink>, SinkError> {
        self.open_with(request, options, Arc::new(Mutex::new(io::stdout())))
    }
}

impl Stdout {
    /// Opens the sink over another writer than standard output.
    ///
    /// # Errors
    /// As [`SinkConnector::open`].
    pub fn open_with(
        &self,
        request: SinkRequest,
        options: Options,
        writer: SharedWriter,
    ) -> Result<Box<dyn Sink>, SinkError> {
        let settings = settings(&request, options)?;
        let lines = LineFormat::new(&request).map_err(|error| unsupported(&request, error.to_string()))?;
        let (told, shown) = match Told::of(&request).filter(|_| settings.table) {
            Some((told, shown)) => (Some(told), shown),
            None => (None, request.clone()),
        };
        let live = if settings.table {
            // The order of all columns does not fit some of them.
            let order = if told.is_some() { shown.order.clone() } else { settings.order };
            let live = Live::new(&shown, order, settings.limit);
            Some(live.map_err(|error| unsupported(&request, error.to_string()))?)
        } else {
            None
        };
        Ok(Box::new(StdoutSink { view: request.view, lines, live, told, writer, text: String::new(), counts: (0, 0) }))
    }
}

struct StdoutSink {
    view: String,
    lines: LineFormat,
    /// Present in table form.
    live: Option<Live>,
    /// Present for notifications in table form.
    told: Option<Told>,
    writer: SharedWriter,
    text: String,
    counts: (u64, u64),
}

impl StdoutSink {
    fn print(&self) -> Result<(), SinkError> {
        if self.text.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(self.text.as_bytes()).and_then(|()| writer.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::Write { action: "writing", place: "standard output".to_owned(), source: error.into() },
        })
    }
}

impl Sink for StdoutSink {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        self.text.clear();
        let written = match (&mut self.live, &self.told) {
            (Some(live), Some(told)) => {
                let cut: Result<Vec<_>, _> = tick.changes.iter().map(|delta| told.cut(delta)).collect();
                cut.and_then(|changes| {
                    let (tick, progress) = (tick.tick, tick.progress);
                    live.commit(&mut self.text, &SinkTick { tick, progress, changes: &changes })
                })
            }
            (Some(live), None) => live.commit(&mut self.text, &tick),
            (None, _) => self.lines.write(&mut self.text, &tick),
        };
        written.map_err(|error| encode_error(&self.view, error))?;
        self.print()?;
        for delta in tick.changes {
            let (inserted, retracted) = count(delta);
            self.counts.0 += inserted;
            self.counts.1 += retracted;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let rows = match &self.live {
            Some(live) => live.rows().map_err(|error| encode_error(&self.view, error))?,
            None => Vec::new(),
        };
        Ok(SinkState { facts: serde_json::json!({ "inserted": self.counts.0, "retracted": self.counts.1 }), rows })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let fact = |name: &str| state.facts.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        self.counts = (fact("inserted"), fact("retracted"));
        match &mut self.live {
            Some(live) => live.restore(&state.rows).map_err(|error| encode_error(&self.view, error)),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        self.text.clear();
        if let Some(live) = &self.live {
            live.finish(&mut self.text).map_err(|error| encode_error(&self.view, error))?;
        }
        self.print()?;
        let (inserted, retracted) = self.counts;
        Ok(SinkReport { inserted, retracted, place: "standard output".to_owned() })
    }
}
