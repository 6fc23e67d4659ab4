//! A running job that answers `highwater sql --connect`.
//!
//! There is no authentication: the job listens on the loopback address unless its text names another one. One
//! thread a connection, a bounded number of them, one request each (`protocol`). What is read is in the `hub`;
//! the job itself never waits for a reader.

mod hub;
pub(super) mod protocol;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::sink::{Sink, SinkError, SinkReport, SinkState, SinkTick};

pub(super) use hub::Hub;
use protocol::{DIFF, Header, Kind, Parts, Request, encode, send};

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// How long a reader may take to say what it wants.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a reader may take nothing of what is sent to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Listens at an address: `127.0.0.1:7474`, `localhost:7474`, or only `7474` or `:7474` for the loopback address.
pub(super) fn listen(address: &str) -> io::Result<TcpListener> {
    let port = address.strip_prefix(':').unwrap_or(address);
    let listener = match port.parse::<u16>() {
        Ok(port) => TcpListener::bind(("127.0.0.1", port))?,
        Err(_) => TcpListener::bind(address.to_socket_addrs()?.collect::<Vec<SocketAddr>>().as_slice())?,
    };
    Ok(listener)
}

/// Answers whoever connects, until the process ends.
pub(super) fn start(listener: TcpListener, hub: Arc<Hub>) {
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                refuse(&stream);
                continue;
            }
            let (hub, open) = (hub.clone(), open.clone());
            std::thread::spawn(move || {
                if let Err(error) = converse(stream, &hub) {
                    tracing::debug!(%error, "a reader of views went away");
                }
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

fn refuse(stream: &TcpStream) {
    let why = format!("the job has {CONNECTIONS} readers already; try again when one has left");
    // Who cannot take even this is not waited for.
    drop(stream.set_write_timeout(Some(Duration::from_millis(100))));
    drop(send(stream, &Header::error(why), &[]));
}

/// Answers one request.
fn converse(stream: TcpStream, hub: &Arc<Hub>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    stream.set_nodelay(true)?;
    let request = match Parts::of(stream.try_clone()?)?.request(REQUEST_PATIENCE) {
        Ok(request) => request,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
        Err(error) => return send(&stream, &Header::error(format!("the request cannot be read: {error}")), &[]),
    };
    let named = |names: &[String]| -> Result<Vec<usize>, Header> {
        let index = |name: &String| {
            let none = || Header::error(format!("the job has no materialised view \"{name}\""));
            hub.index_of(name).ok_or_else(none)
        };
        names.iter().map(index).collect()
    };
    match request {
        Request::List { .. } => {
            for view in &hub.views {
                let none = encode(&view.schema, &[]).map_err(io::Error::other)?;
                send(&stream, &Header::about(Kind::View, &view.name), &none)?;
            }
            send(&stream, &Header::at(Kind::End, hub.snapshot(&[]).progress), &[])
        }
        Request::Snapshot { snapshot } => match named(&snapshot) {
            Err(refused) => send(&stream, &refused, &[]),
            Ok(views) => {
                let snapshot = hub.snapshot(&views);
                send_rows(&stream, hub, &snapshot)?;
                send(&stream, &Header::at(Kind::End, snapshot.progress), &[])
            }
        },
        Request::Subscribe { subscribe, snapshot, progress } => match named(&subscribe) {
            Err(refused) => send(&stream, &refused, &[]),
            Ok(views) => follow(&stream, hub, &views, snapshot, progress),
        },
    }
}

fn follow(stream: &TcpStream, hub: &Arc<Hub>, views: &[usize], rows: bool, progress: bool) -> io::Result<()> {
    let (snapshot, subscribed) = hub.subscribe(views, progress);
    if rows {
        send_rows(stream, hub, &snapshot)?;
    }
    send(stream, &Header::at(Kind::Tick, snapshot.progress), &[])?;
    while let Some(sealed) = subscribed.next() {
        for (view, delta) in &sealed.changes {
            let served = &hub.views[*view];
            let changes = with_diffs(&served.schema, delta).map_err(io::Error::other)?;
            let rows = encode(&changes.schema(), &[changes]).map_err(io::Error::other)?;
            send(stream, &Header::about(Kind::Change, &served.name), &rows)?;
        }
        send(stream, &Header::at(Kind::Tick, Some(sealed.progress.clone())), &[])?;
    }
    let last = match hub.has_ended() {
        true => Header::of(Kind::End),
        false => Header::error("the reader is too slow: it fell too far behind the job"),
    };
    send(stream, &last, &[])
}

fn send_rows(stream: &TcpStream, hub: &Hub, snapshot: &hub::Snapshot) -> io::Result<()> {
    hub.rows(snapshot, |view, batch| {
        let served = &hub.views[view];
        let rows = encode(&served.schema, &[batch]).map_err(io::Error::other)?;
        send(stream, &Header::about(Kind::Rows, &served.name), &rows)
    })
}

fn with_diffs(schema: &SchemaRef, delta: &Delta) -> Result<RecordBatch, arrow::error::ArrowError> {
    let diff: Arc<Field> = Arc::new(Field::new(DIFF, DataType::Int64, false));
    let fields: Vec<Arc<Field>> = schema.fields().iter().cloned().chain([diff]).collect();
    let diffs: Int64Array = delta.diffs.to_array(delta.len());
    let columns: Vec<ArrayRef> = delta.batch.columns().iter().cloned().chain([Arc::new(diffs) as ArrayRef]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Marks the outputs that keep what readers see: no name in SQL begins like this.
const CONTENTS_OF: &str = "contents of ";

/// The name of the output that keeps a view for readers.
pub(super) fn output_name(view: &str) -> String {
    format!("{CONTENTS_OF}{view}")
}

/// Brings the changes of one view to the hub.
pub(super) struct ViewSink {
    hub: Arc<Hub>,
    view: usize,
}

impl ViewSink {
    /// For the view of this index in the hub. The sinks of a hub get their ticks in the order of its views.
    pub(super) fn new(hub: Arc<Hub>, view: usize) -> ViewSink {
        ViewSink { hub, view }
    }

    fn failed(&self, action: &'static str, source: impl Into<highwater_engine::error::BoxError>) -> SinkError {
        let place = format!("the contents of view \"{}\"", self.hub.views[self.view].name);
        SinkError::Write { action, place, source: source.into() }
    }
}

impl Sink for ViewSink {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        self.hub.take(self.view, tick.changes, tick.progress).map_err(|error| self.failed("keeping", error))
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let snapshot = self.hub.snapshot(&[self.view]);
        let mut rows = Vec::new();
        let made = self.hub.rows(&snapshot, |_, batch| {
            rows.push(batch);
            Ok(())
        });
        made.map_err(|error| self.failed("saving", error))?;
        Ok(SinkState { facts: serde_json::json!({ "progress": snapshot.progress }), rows })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let progress = state.facts.get("progress").cloned().unwrap_or_default();
        let progress: Option<Progress> =
            serde_json::from_value(progress).map_err(|error| self.failed("restoring", error))?;
        let Some(progress) = progress else { return Ok(()) };
        self.hub.restore(self.view, &state.rows, progress).map_err(|error| self.failed("restoring", error))
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        if self.view + 1 == self.hub.views.len() {
            self.hub.end();
        }
        Ok(SinkReport::default())
    }
}
