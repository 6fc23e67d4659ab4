//! A web server of our own on loopback, which fails at every point a server can fail at.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the server does with a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// A status, more header lines, a body.
    Answer(u16, &'static str, &'static str),
    /// The connection is reset with the request unread.
    ResetUnread,
    /// The connection is reset when the request was read.
    ResetRead,
    /// It is read, and never answered.
    Silence,
    /// It is read, and the server's half is closed without an answer.
    HalfClosed,
    /// 200, and less of a body than was said.
    Cut,
    /// Something that is not HTTP.
    Garbage,
}

pub(crate) const OK: Reply = Reply::Answer(200, "", "{}");

/// What [`Server::catch_up`] asks for.
const BARRIER: &str = "/are-you-there";

/// A request as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) head: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) requests: Receiver<Got>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers as scripted, and 200 when the script is at its end.
    pub(crate) fn start(script: impl IntoIterator<Item = Reply>) -> Server {
        let script: VecDeque<Reply> = script.into_iter().collect();
        let script = Mutex::new(script);
        Server::run(move |got| {
            let mut script = script.lock().unwrap();
            let unread = script.front() == Some(&Reply::ResetUnread);
            if got.is_some() || unread { Some(script.pop_front().unwrap_or(OK)) } else { None }
        })
    }

    /// Answers as the function says, which is told what was asked.
    pub(crate) fn start_with(reply: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Server {
        Server::run(move |got| got.map(&reply))
    }

    /// The function is asked twice for each connection: before anything is read, and with what was read.
    fn run(reply: impl Fn(Option<&Got>) -> Option<Reply> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (got, requests) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let reply = Arc::new(reply);
        let thread = thread::spawn(move || {
            let mut silent = Vec::new();
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                silent.extend(serve(connection.unwrap(), &*reply, &got));
            }
        });
        Server { port, requests, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/t0ps3cret?key=s3cretkey", self.port)
    }

    /// Waits until all that was asked before is served: connections are served one by one, in order.
    pub(crate) fn catch_up(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("GET {BARRIER} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }

    /// What was asked so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.requests.try_iter().filter(|got| !got.head.contains(BARRIER)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

/// Serves one connection; one that is to be silent is given back, so that it stays open.
fn serve(stream: TcpStream, reply: &dyn Fn(Option<&Got>) -> Option<Reply>, sender: &Sender<Got>) -> Option<TcpStream> {
    if reply(None).is_some() {
        reset(&stream);
        return None;
    }
    let mut reader = BufReader::new(&stream);
    // A connection that ends without a request was a client's that was killed.
    let got = read_request(&mut reader)?;
    let reply = reply(Some(&got)).unwrap();
    let _ = sender.send(got);
    match reply {
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} Reason\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            write(&stream, text.as_bytes());
        }
        Reply::ResetUnread | Reply::ResetRead => {
            reset(&stream);
            return None;
        }
        Reply::Silence => return Some(stream),
        Reply::HalfClosed => {
            let _ = stream.shutdown(Shutdown::Write);
            return Some(stream);
        }
        Reply::Cut => write(&stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"half"),
        Reply::Garbage => write(&stream, b"220 mail.example.org ESMTP\r\n\r\n"),
    }
    finish(&mut reader);
    None
}

/// Has the connection reset when it is closed.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Got> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.trim().is_empty() => break,
            Ok(_) => lines.push(line.trim().to_owned()),
        }
    }
    let pairs = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Got { head: lines.first()?.clone(), headers, body: String::from_utf8(body).ok()? })
}

fn write(mut stream: &TcpStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => panic!("{error}"),
        _ => {}
    }
}

/// Waits for the client to close, so that nothing it sends is answered by a reset.
fn finish(reader: &mut BufReader<&TcpStream>) {
    let _ = reader.get_ref().shutdown(Shutdown::Write);
    let _ = reader.read_to_end(&mut Vec::new());
}
