//! HTTP/1.1, written by hand: a server that must break off in the middle of an answer is easier without a library.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fault::Effect;
use crate::methods::Origin;
use crate::server::Shared;

/// Answers requests until the client or a fault ends the connection.
pub(crate) async fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Ok(Some(body)) = read_request(&mut stream, &mut buffer).await {
        let exchange = shared.lock().exchange(&body, Origin::Http);
        shared.changed.notify_all();
        shared.wait(&exchange.effects).await;
        if !matches!(answer(&mut stream, exchange.text, &exchange.effects).await, Ok(true)) {
            return;
        }
    }
}

/// The body of the next request; what came after it stays in `buffer`. `None` if the client is gone.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let length = content_length(&String::from_utf8_lossy(&buffer[..head]));
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = String::from_utf8_lossy(&buffer[head..head + length]).into_owned();
    buffer.drain(..head + length);
    Ok(Some(body))
}

fn content_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// Sends an answer, or what a fault makes of it. True if the connection goes on.
async fn answer(stream: &mut TcpStream, text: String, effects: &[Effect]) -> io::Result<bool> {
    let mut content_type = "application/json";
    let mut text = text;
    for effect in effects {
        match effect {
            Effect::Status(code, retry_after) => {
                refuse(stream, *code, *retry_after).await?;
                return Ok(true);
            }
            Effect::Reset => {
                stream.set_zero_linger()?;
                return Ok(false);
            }
            Effect::Close => return Ok(false),
            Effect::HalfAnswer => {
                let head = head(200, content_type, text.len(), None);
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&text.as_bytes()[..text.len() / 2]).await?;
                return Ok(false);
            }
            Effect::Body(other) => text = (*other).to_owned(),
            Effect::ContentType(other) => content_type = other,
            _ => {}
        }
    }
    let answer = head(200, content_type, text.len(), None) + &text;
    stream.write_all(answer.as_bytes()).await?;
    Ok(true)
}

/// Sends an answer that is an HTTP error.
pub(crate) async fn refuse(stream: &mut TcpStream, code: u16, retry_after: Option<&str>) -> io::Result<()> {
    let text = format!("refused with status {code}");
    let answer = head(code, "text/plain", text.len(), retry_after) + &text;
    stream.write_all(answer.as_bytes()).await
}

fn head(code: u16, content_type: &str, length: usize, retry_after: Option<&str>) -> String {
    let reason = match code {
        200 => "OK",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Refused",
    };
    let retry = retry_after.map(|value| format!("retry-after: {value}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {code} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{retry}\r\n")
}
