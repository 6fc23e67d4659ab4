//! The materialised views of a running job as tables of a session.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::clock::Stopwatch;
use highwater_engine::error::BoxError;
use highwater_engine::model::Progress;

use super::super::serve::protocol::{Header, Kind, Next, Parts, Request, decode, send_request};
use super::files::Files;
use crate::plan::{LoadError, LoadRequest};
use crate::session::World;

/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may not go on.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// A running job.
#[derive(Clone)]
pub(super) struct Remote {
    address: String,
    views: Arc<BTreeMap<String, SchemaRef>>,
    /// What the last query read.
    rows: Arc<Mutex<BTreeMap<String, RecordBatch>>>,
}

/// The job cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(
        "nothing listens at {address}; start the job with SET sql.listen = '{address}' or run --sql-listen {address}"
    )]
    Absent { address: String, source: io::Error },
    #[error("the job at {address} went away")]
    Gone { address: String, source: io::Error },
    #[error("the job at {address} does not answer")]
    Silent { address: String },
    #[error("the job at {address} says: {why}")]
    Refused { address: String, why: String },
    #[error("the job at {address} sends what cannot be understood")]
    Garbled { address: String, source: BoxError },
}

impl Remote {
    /// Asks a job for its views.
    pub(super) fn connect(address: &str) -> Result<Remote, BoxError> {
        let mut address = address.strip_prefix("http://").unwrap_or(address).to_owned();
        if address.parse::<u16>().is_ok() {
            address = format!("127.0.0.1:{address}");
        }
        let mut remote = Remote { address, views: Arc::default(), rows: Arc::default() };
        let mut views = BTreeMap::new();
        remote.ask(&Request::List { list: true }, &mut |header, rows| {
            if let Some(view) = header.view {
                views.insert(view, rows.schema());
            }
        })?;
        remote.views = Arc::new(views);
        Ok(remote)
    }

    /// The views there are.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.views.keys().map(String::as_str)
    }

    /// Whether the job has this view.
    pub(super) fn has(&self, name: &str) -> bool {
        self.views.contains_key(name)
    }

    /// The columns of a view.
    pub(super) fn schema_of(&self, name: &str) -> Option<&SchemaRef> {
        self.views.get(name)
    }

    /// What a session sees: the job, and files.
    pub(super) fn world(&self, files: Files) -> JobWorld {
        JobWorld { remote: self.clone(), files }
    }

    /// Opens a conversation.
    pub(super) fn open(&self, request: &Request) -> Result<Conversation, RemoteError> {
        let absent = |source| RemoteError::Absent { address: self.address.clone(), source };
        let addresses: Vec<SocketAddr> = self.address.to_socket_addrs().map_err(absent)?.collect();
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(stream) => {
                    let gone = |source| RemoteError::Gone { address: self.address.clone(), source };
                    send_request(&stream, request).map_err(gone)?;
                    let parts = Parts::of(stream).map_err(gone)?;
                    return Ok(Conversation { address: self.address.clone(), parts });
                }
                Err(error) => last = error,
            }
        }
        Err(absent(last))
    }

    /// Takes all messages up to the end; gives what it says of the chain.
    fn ask(
        &self,
        request: &Request,
        take: &mut dyn FnMut(Header, RecordBatch),
    ) -> Result<Option<Progress>, RemoteError> {
        let mut conversation = self.open(request)?;
        loop {
            let watch = Stopwatch::start();
            match conversation.next(&mut || watch.elapsed() > ANSWER_PATIENCE)? {
                None => return Err(RemoteError::Silent { address: self.address.clone() }),
                Some((Header { kind: Kind::End, progress, .. }, _)) => return Ok(progress),
                Some((header, Some(rows))) => take(header, rows),
                Some((_, None)) => {}
            }
        }
    }

    /// Fetches views, all of one tick; gives the time of the tick.
    fn fetch(&self, views: Vec<String>) -> Result<Option<i64>, BoxError> {
        let mut pieces: BTreeMap<String, Vec<RecordBatch>> =
            views.iter().map(|view| (view.clone(), Vec::new())).collect();
        let progress = self.ask(&Request::Snapshot { snapshot: views }, &mut |header, rows| {
            if let Some(pieces) = header.view.and_then(|view| pieces.get_mut(&view)) {
                pieces.push(rows);
            }
        })?;
        let mut whole = BTreeMap::new();
        for (view, pieces) in pieces {
            let schema = self.views.get(&view).ok_or("the job has no such view")?;
            whole.insert(view, concat_batches(schema, &pieces)?);
        }
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = whole;
        Ok(progress.map(|progress| progress.now_ms))
    }
}

/// Messages of one request.
pub(super) struct Conversation {
    address: String,
    parts: Parts,
}

impl Conversation {
    /// The next message, with its rows if it has any; none if told to stop. What the job refuses is an error.
    pub(super) fn next(
        &mut self,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(Header, Option<RecordBatch>)>, RemoteError> {
        let address = || self.address.clone();
        let (header, rows) = match self.parts.next(stop) {
            Ok(Next::Message(header, rows)) => (header, rows),
            Ok(Next::Stopped) => return Ok(None),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                return Err(RemoteError::Garbled { address: address(), source: source.into() });
            }
            Err(source) => return Err(RemoteError::Gone { address: address(), source }),
        };
        if header.kind == Kind::Error {
            let why = header.error.unwrap_or_default();
            return Err(RemoteError::Refused { address: address(), why });
        }
        if rows.is_empty() {
            return Ok(Some((header, None)));
        }
        let rows =
            decode(&rows).map_err(|source| RemoteError::Garbled { address: address(), source: source.into() })?;
        Ok(Some((header, Some(rows))))
    }
}

/// The views of a job and files, for a session.
pub(super) struct JobWorld {
    remote: Remote,
    files: Files,
}

impl World for JobWorld {
    fn prepare(&mut self, names: &[String]) -> Result<Option<i64>, BoxError> {
        let views: Vec<String> = names.iter().filter(|name| self.remote.has(name)).cloned().collect();
        if views.is_empty() { Ok(None) } else { self.remote.fetch(views) }
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        let view = self.remote.schema_of(&request.name).filter(|_| request.connector == "job");
        let Some(schema) = view else { return self.files.load_table(request) };
        let rows = self.remote.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.get(&request.name).cloned().unwrap_or_else(|| RecordBatch::new_empty(schema.clone())))
    }

    fn connector_of(&self, path: &str) -> Option<&'static str> {
        self.files.connector_of(path)
    }
}
