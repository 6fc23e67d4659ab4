//! What a job and its readers say to each other.
//!
//! Every part is its length in bytes (four of them, big-endian) and then its bytes. A reader sends one request
//! a connection, a part of JSON:
//!
//! ```json
//! {"list":true}
//! {"snapshot":["v1","v2"]}
//! {"subscribe":["v1"],"snapshot":true,"progress":true}
//! ```
//!
//! The job answers messages of two parts: a [`Header`] in JSON, and an Arrow IPC stream, empty where there are no
//! rows. `rows` and `change` messages belong to the `tick` (or, in a snapshot, the `end`) that follows them: what
//! came before it is the state of the views at just that tick.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use highwater_engine::clock::Stopwatch;
use highwater_engine::model::Progress;
use serde::{Deserialize, Serialize};

/// The longest request, and the longest header.
pub(in super::super) const SHORT_PART: usize = 1 << 16;
/// The longest part of rows.
const LONG_PART: usize = 1 << 30;

/// The column behind those of the view in a `change`: by how much the row's count changes.
pub(in super::super) const DIFF: &str = "_diff";

/// What a reader asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(in super::super) enum Request {
    /// All changes of views from now on, as they are sealed.
    Subscribe {
        subscribe: Vec<String>,
        /// Whether the rows that are there come first.
        #[serde(default)]
        snapshot: bool,
        /// Whether ticks without changes are told too.
        #[serde(default)]
        progress: bool,
    },
    /// The rows of views, all of one tick.
    Snapshot { snapshot: Vec<String> },
    /// The views there are.
    List { list: bool },
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Kind {
    /// A view that there is; its columns are those of the rows, of which there are none.
    View,
    /// Rows of a view.
    Rows,
    /// Changes of a view.
    Change,
    /// What came since the last `tick` was one tick.
    Tick,
    /// Nothing more will come.
    End,
    /// The request cannot be answered, or no longer.
    Error,
}

/// The first part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Header {
    /// What it is.
    pub(in super::super) kind: Kind,
    /// The view that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) view: Option<String>,
    /// The chain at the tick; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) progress: Option<Progress>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) error: Option<String>,
}

impl Header {
    pub(in super::super) fn of(kind: Kind) -> Header {
        Header { kind, view: None, progress: None, error: None }
    }

    pub(in super::super) fn about(kind: Kind, view: &str) -> Header {
        Header { view: Some(view.to_owned()), ..Header::of(kind) }
    }

    pub(in super::super) fn at(kind: Kind, progress: Option<Progress>) -> Header {
        Header { progress, ..Header::of(kind) }
    }

    pub(in super::super) fn error(why: impl Into<String>) -> Header {
        Header { error: Some(why.into()), ..Header::of(Kind::Error) }
    }
}

/// Rows as an Arrow IPC stream.
pub(in super::super) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

/// The rows of an Arrow IPC stream.
pub(in super::super) fn decode(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    arrow::compute::concat_batches(&schema, &batches)
}

/// Sends a request.
pub(in super::super) fn send_request(mut stream: &TcpStream, request: &Request) -> io::Result<()> {
    stream.write_all(&part(&serde_json::to_vec(request)?)?)
}

/// Sends a message.
pub(in super::super) fn send(mut stream: &TcpStream, header: &Header, rows: &[u8]) -> io::Result<()> {
    let mut bytes = part(&serde_json::to_vec(header)?)?;
    bytes.extend(part(rows)?);
    stream.write_all(&bytes)
}

fn part(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a part of a message is too long"))?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// What a reader of messages found.
#[derive(Debug)]
pub(in super::super) enum Next {
    Message(Header, Vec<u8>),
    /// It was told to stop.
    Stopped,
}

/// Reads the parts of a connection.
pub(in super::super) struct Parts {
    stream: TcpStream,
    /// What was read and not yet used.
    buffer: Vec<u8>,
}

/// How long a read waits before it looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Parts {
    pub(in super::super) fn of(stream: TcpStream) -> io::Result<Parts> {
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        Ok(Parts { stream, buffer: Vec::new() })
    }

    /// The request; an error if it is none, or does not come in time.
    pub(in super::super) fn request(&mut self, patience: Duration) -> io::Result<Request> {
        let watch = Stopwatch::start();
        match self.part(0, SHORT_PART, &mut || watch.elapsed() > patience)? {
            Some(bytes) => Ok(serde_json::from_slice(&self.buffer[bytes])?),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The next message. `stop` is asked again and again while none comes.
    pub(in super::super) fn next(&mut self, stop: &mut dyn FnMut() -> bool) -> io::Result<Next> {
        let Some(header) = self.part(0, SHORT_PART, stop)? else { return Ok(Next::Stopped) };
        let Some(rows) = self.part(header.end, LONG_PART, stop)? else { return Ok(Next::Stopped) };
        let end = rows.end;
        let message = Next::Message(serde_json::from_slice(&self.buffer[header])?, self.buffer[rows].to_vec());
        self.buffer.drain(..end);
        Ok(message)
    }

    /// Where in the buffer the part is whose length stands at `from`.
    fn part(
        &mut self,
        from: usize,
        longest: usize,
        stop: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<std::ops::Range<usize>>> {
        let start = from + 4;
        if !self.fill(start, stop)? {
            return Ok(None);
        }
        let length = self.buffer[from..start].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        if length > longest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not what highwater says"));
        }
        Ok(self.fill(start + length, stop)?.then_some(start..start + length))
    }

    /// Reads until the buffer holds so much; false if told to stop.
    fn fill(&mut self, wanted: usize, stop: &mut dyn FnMut() -> bool) -> io::Result<bool> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        let mut piece = vec![0; 1 << 16];
        while self.buffer.len() < wanted {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
                Err(error) if is_wait(&error) => {
                    if stop() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_documentation_says() {
        let read = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(read("{\"list\":true}"), Some(Request::List { list: true }));
        let snapshot = vec!["v1".to_owned(), "v2".to_owned()];
        assert_eq!(read("{\"snapshot\":[\"v1\",\"v2\"]}"), Some(Request::Snapshot { snapshot }));
        let subscribe = Request::Subscribe { subscribe: vec!["v".to_owned()], snapshot: true, progress: false };
        assert_eq!(read("{\"subscribe\":[\"v\"],\"snapshot\":true}"), Some(subscribe));
        assert_eq!(read("{\"drop\":[\"v\"]}"), None);
    }
}
