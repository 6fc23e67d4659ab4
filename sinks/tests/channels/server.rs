//! A web server on loopback that answers as scripted and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

/// Status, more header lines, body.
pub(crate) type Reply = (u16, &'static str, &'static str);

/// A request as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// `POST /path`.
    pub(crate) line: String,
    /// All header lines, lower-case names.
    pub(crate) headers: String,
    pub(crate) body: Value,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    got: Receiver<Got>,
}

impl Server {
    /// Answers the replies in their order, and stops.
    pub(crate) fn start(script: &[Reply]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, got) = channel();
        let script = script.to_vec();
        thread::spawn(move || {
            for reply in script {
                let (stream, _) = listener.accept().unwrap();
                let request = read(&stream);
                answer(stream, reply);
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Server { port, got }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request; panics if there is none.
    pub(crate) fn next(&self) -> Got {
        self.got.recv_timeout(std::time::Duration::from_secs(10)).unwrap()
    }
}

fn read(stream: &TcpStream) -> Got {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&format!("{}: {}\n", name.to_lowercase(), value.trim()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    Got { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
}

fn answer(mut stream: TcpStream, (status, headers, body): Reply) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
}
