//! WebSockets: answers, announcements, and sudden ends.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::fault::{Effect, Kind, Occasion, Transport};
use crate::http::refuse;
use crate::methods::Origin;
use crate::push::Outgoing;
use crate::server::Shared;

/// Serves a connection that begins with a GET.
pub(crate) async fn serve(mut stream: TcpStream, shared: &std::sync::Arc<Shared>) {
    let occasion = Occasion { kind: Kind::Connect, transport: Transport::WebSocket, block: None };
    let effects = shared.lock().strike(&occasion);
    shared.wait(&effects).await;
    for effect in effects {
        match effect {
            Effect::Status(code, retry_after) => return drop(refuse(&mut stream, code, retry_after).await),
            Effect::Reset => return drop(stream.set_zero_linger()),
            Effect::Close => return,
            _ => {}
        }
    }
    if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
        talk(socket, shared).await;
    }
}

async fn talk(mut socket: WebSocketStream<TcpStream>, shared: &std::sync::Arc<Shared>) {
    let (sender, mut outgoing) = unbounded_channel();
    let id = shared.lock().open_socket(sender.clone());
    shared.changed.notify_all();
    loop {
        tokio::select! {
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Text(text))) => take(shared, id, &sender, text.as_str()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            told = outgoing.recv() => match told {
                Some(Outgoing::Text(text)) => if socket.send(Message::text(text)).await.is_err() { break },
                Some(Outgoing::Drop) | None => {
                    drop(socket.get_ref().set_zero_linger());
                    break;
                }
            },
        }
    }
    shared.lock().hub.close(id);
    shared.changed.notify_all();
}

/// Answers one message. The answer is queued before the lock is given back, so that nothing a new subscription
/// is told can come before the answer that names it.
fn take(shared: &std::sync::Arc<Shared>, id: u64, sender: &UnboundedSender<Outgoing>, text: &str) {
    let mut state = shared.lock();
    let exchange = state.exchange(text, Origin::Socket(id));
    let waits = exchange.effects.iter().any(|effect| matches!(effect, Effect::Hold | Effect::Delay(_)));
    let answer = outcome(exchange.text, &exchange.effects);
    if waits {
        let (shared, sender, effects) = (shared.clone(), sender.clone(), exchange.effects);
        tokio::spawn(async move {
            shared.wait(&effects).await;
            drop(sender.send(answer));
        });
    } else {
        drop(sender.send(answer));
    }
    drop(state);
    shared.changed.notify_all();
}

/// A WebSocket has no statuses and no half answers: the socket drops instead.
fn outcome(text: String, effects: &[Effect]) -> Outgoing {
    let mut text = text;
    for effect in effects {
        match effect {
            Effect::Status(..) | Effect::Reset | Effect::Close | Effect::HalfAnswer => return Outgoing::Drop,
            Effect::Body(other) => text = (*other).to_owned(),
            _ => {}
        }
    }
    Outgoing::Text(text)
}
