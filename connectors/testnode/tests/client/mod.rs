//! A client with nothing between it and the bytes.

#![allow(dead_code, reason = "every suite uses a part of this")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use highwater_testnode::Node;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// An answer to a POST, or how the connection ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the body is as long as the head says.
    pub(crate) whole: bool,
}

pub(crate) fn connect(node: &Node) -> TcpStream {
    let url = node.http_url();
    TcpStream::connect(url.trim_start_matches("http://")).unwrap()
}

/// Sends a POST and reads until the answer is whole or the connection ends.
pub(crate) fn post(stream: &mut TcpStream, body: &str) -> std::io::Result<Answer> {
    let request = format!("POST / HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let read = stream.read(&mut buffer)?;
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let whole = body.len() == length.parse::<usize>().unwrap();
        if whole || read == 0 {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Ok(Answer { status, head: head.to_owned(), body: body.to_owned(), whole });
        }
    }
}

pub(crate) fn request(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

/// The whole JSON-RPC reply to one call on a connection of its own.
pub(crate) fn reply(node: &Node, method: &str, params: &Value) -> Value {
    let answer = post(&mut connect(node), &request(method, params)).unwrap();
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

/// The result of one call.
pub(crate) fn result(node: &Node, method: &str, params: &Value) -> Value {
    let mut reply = reply(node, method, params);
    assert_eq!(reply["id"], 7);
    assert!(reply.get("error").is_none(), "{reply}");
    reply["result"].take()
}

/// The code of the error of one call.
pub(crate) fn error_code(node: &Node, method: &str, params: &Value) -> i64 {
    reply(node, method, params)["error"]["code"].as_i64().unwrap()
}

pub(crate) struct Socket(WebSocket<TcpStream>);

impl Socket {
    pub(crate) fn open(node: &Node) -> Socket {
        let stream = connect(node);
        // A test that waits for what never comes fails instead of hanging.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Socket(client(node.ws_url(), stream).unwrap().0)
    }

    /// Sends a message. If the socket is gone already, reading will tell.
    pub(crate) fn send(&mut self, text: String) {
        drop(self.0.send(Message::text(text)));
    }

    /// The next message, or `None` if the socket is gone.
    pub(crate) fn next(&mut self) -> Option<Value> {
        match self.0.read() {
            Ok(Message::Text(text)) => Some(serde_json::from_str(text.as_str()).unwrap()),
            Ok(other) => panic!("{other}"),
            Err(_) => None,
        }
    }

    /// Subscribes and returns the name of the subscription.
    pub(crate) fn subscribe(&mut self, params: &Value) -> String {
        self.send(request("eth_subscribe", params));
        self.next().unwrap()["result"].as_str().unwrap().to_owned()
    }

    /// What the next `count` announcements tell.
    pub(crate) fn announced(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.next().unwrap()["params"]["result"].take()).collect()
    }
}
