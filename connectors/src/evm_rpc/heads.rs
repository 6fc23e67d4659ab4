//! Wake-ups: somebody says that there is a new block. What is believed of it is decided elsewhere.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_pubsub::{ConnectionHandle, PubSubConnect, RawSubscription};
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportErrorKind, TransportResult};
use alloy_transport_ws::WsConnect;
use highwater_engine::clock::Stopwatch;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::call::{CallError, ErrorKind, classify};
use super::endpoint::EndpointUrl;
use super::header::Header;
use super::pool::{Pool, Wish};

/// First pause before a lost connection is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SUBSCRIBE: &str = "eth_subscribe";

/// Somebody's newest block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) header: Header,
    /// The endpoint that has it, if it is one that answers requests.
    pub(super) endpoint: Option<usize>,
}

/// Where the highest head hangs that nobody has looked at yet; of equals the latest.
#[derive(Debug, Default)]
pub(super) struct Board {
    highest: Cell<Option<Hint>>,
    changed: Notify,
}

impl Board {
    /// Hangs up a head, unless a higher one waits already.
    pub(super) fn put(&self, hint: Hint) {
        if self.highest.get().is_none_or(|waiting| waiting.header.number <= hint.header.number) {
            self.highest.set(Some(hint));
            self.changed.notify_one();
        }
    }

    /// The head that hangs there.
    pub(super) fn look(&self) -> Option<Hint> {
        self.highest.get()
    }

    /// Waits for a head and takes it down.
    pub(super) async fn take(&self) -> Hint {
        loop {
            if let Some(hint) = self.highest.take() {
                return hint;
            }
            self.changed.notified().await;
        }
    }
}

/// How often is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// While nothing announces blocks.
    pub(super) poll: Duration,
    /// While announcements come: only to notice when they stop.
    pub(super) check: Duration,
    /// After this long without an announcement they have stopped.
    pub(super) silence: Duration,
}

/// Shared by everything that wakes the follower.
#[derive(Clone)]
pub(super) struct Waker {
    pub(super) pool: Rc<Pool>,
    pub(super) board: Rc<Board>,
    /// Since the last announcement.
    pub(super) announced: Rc<Cell<Option<Stopwatch>>>,
    pub(super) timeout: Duration,
}

impl Waker {
    /// Asks for the newest block again and again, each endpoint by its weight.
    pub(super) async fn poll(self, pace: Pace) {
        loop {
            let silent = self.announced.get().is_none_or(|watch| watch.elapsed() > pace.silence);
            tokio::time::sleep(if silent { pace.poll } else { pace.check }).await;
            self.ask().await;
        }
    }

    async fn ask(&self) {
        // A failure is noted by the pool; the next question is not far.
        if let Ok(at) = self.pool.choose(&Wish::default()).await
            && let Ok(header) = self.pool.latest(at).await
        {
            self.board.put(Hint { header, endpoint: Some(at) });
        }
    }

    /// Listens to one WebSocket endpoint, and connects again whenever it is lost.
    pub(super) async fn listen(self, endpoint: EndpointUrl, answers: Option<usize>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut subscribed = false;
            let error = self.listen_once(&endpoint, answers, &mut subscribed).await;
            self.pool.announcer(&endpoint.label, Some(&error));
            if subscribed {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens until the connection is lost, and says why it was.
    async fn listen_once(&self, endpoint: &EndpointUrl, answers: Option<usize>, subscribed: &mut bool) -> CallError {
        let secrets = endpoint.secrets();
        let fail = |error| classify(error, &endpoint.label, SUBSCRIBE, &secrets);
        let lost = |kind, detail: &str| CallError::new(kind, &endpoint.label, SUBSCRIBE, detail);
        let subscription = tokio::time::timeout(self.timeout, subscribe(endpoint)).await;
        let (_client, mut heads) = match subscription {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => return fail(error),
            Err(_) => return lost(ErrorKind::Timeout, "no answer in time"),
        };
        *subscribed = true;
        self.pool.announcer(&endpoint.label, None);
        // What came before the subscription is not announced.
        self.ask().await;
        loop {
            match heads.recv().await {
                Ok(text) => match Header::read(text.get()) {
                    Ok(header) => {
                        self.announced.set(Some(Stopwatch::start()));
                        self.board.put(Hint { header, endpoint: answers });
                    }
                    Err(detail) => return lost(ErrorKind::Malformed, &detail),
                },
                // The newest are still to come.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => {
                    self.announced.set(None);
                    // What the socket would have said until it is back.
                    let waker = self.clone();
                    tokio::task::spawn_local(async move { waker.ask().await });
                    return lost(ErrorKind::Connect, "the connection was lost");
                }
            }
        }
    }
}

async fn subscribe(endpoint: &EndpointUrl) -> TransportResult<(RpcClient, RawSubscription)> {
    let client = RpcClient::connect_pubsub(Once(WsConnect::new(endpoint.url.as_str()))).await?;
    let mut call = client.request::<_, B256>(SUBSCRIBE, ["newHeads"]);
    call.set_is_subscription();
    let id = call.await?;
    let frontend = client.pubsub_frontend().ok_or_else(TransportErrorKind::pubsub_unavailable)?;
    let heads = frontend.get_subscription(id).await?;
    Ok((client, heads))
}

/// A connection that ends when it is lost: connecting again is done here, where it is counted.
#[derive(Clone)]
struct Once(WsConnect);

impl PubSubConnect for Once {
    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        self.0.connect().await
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::non_retryable_str("the connection was lost"))
    }
}
