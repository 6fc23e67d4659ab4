//! The endpoints together: who is asked next, and what is remembered of each.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::metrics::Registry;
use highwater_engine::model::chain_profile::ChainProfile;
use highwater_engine::source::SourceError;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::breaker::{Breaker, BreakerState};
use super::call::{CallError, Caller, ErrorKind};
use super::header::{self, Header};
use super::limiter::Limiter;
use super::meters::{EndpointMeters, Meters};
use super::options::Settings;
use super::samples::SampleLog;

/// Which endpoint a request would like.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// This one, if it may be asked now.
    pub(super) prefer: Option<usize>,
    /// Rather not these.
    pub(super) avoid: Vec<usize>,
}

impl Wish {
    pub(super) fn prefer(endpoint: usize) -> Wish {
        Wish { prefer: Some(endpoint), avoid: Vec::new() }
    }
}

/// All endpoints that answer requests.
pub(super) struct Pool {
    pub(super) endpoints: Vec<Endpoint>,
    /// The chain that every endpoint must serve, once it is known.
    chain_id: Cell<Option<u64>>,
    pub(super) clock: Stopwatch,
    /// Something that somebody may wait for has changed: a request came back.
    pub(super) changed: Notify,
    pub(super) samples: SampleLog,
    pub(super) meters: Meters,
}

/// One endpoint and what is known of it.
pub(super) struct Endpoint {
    caller: Caller,
    pub(super) label: Arc<str>,
    weight: i64,
    pub(super) meters: EndpointMeters,
    pub(super) state: RefCell<State>,
}

/// What changes with every request.
pub(super) struct State {
    pub(super) breaker: Breaker,
    pub(super) limiter: Limiter,
    pub(super) head: Option<u64>,
    /// Smooth weighted round robin: the endpoint with the highest balance is next.
    balance: i64,
    serves: Serves,
    /// It does not know `eth_getBlockReceipts`.
    lacks_block_receipts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Serves {
    Unknown,
    Wanted,
    /// The chain of this id, which is not wanted.
    Other(u64),
}

/// What a look at the endpoints gave.
enum Pick {
    Now(usize),
    /// After this time, or when a request comes back.
    Later(Option<Duration>),
    /// Every endpoint serves another chain.
    Never,
}

impl Pool {
    pub(super) fn new(settings: &Settings, registry: &Registry, samples: SampleLog) -> Result<Pool, CallError> {
        let meters = Meters::new(registry);
        let endpoints = settings.endpoints.iter().map(|url| {
            Ok(Endpoint {
                caller: Caller::new(url, settings.request_timeout)?,
                label: Arc::from(url.label.as_str()),
                weight: i64::from(url.weight),
                meters: meters.endpoint(&url.label),
                state: RefCell::new(State {
                    breaker: Breaker::default(),
                    limiter: Limiter::new(settings.concurrency, settings.max_requests_per_second),
                    head: None,
                    balance: 0,
                    serves: Serves::Unknown,
                    lacks_block_receipts: false,
                }),
            })
        });
        let endpoints = endpoints.collect::<Result<Vec<_>, CallError>>()?;
        let chain_id = settings.chain.as_deref().and_then(ChainProfile::named).map(|profile| profile.chain_id);
        // Two ids share the name of development chains; there the node decides.
        let chain_id = chain_id.filter(|id| ChainProfile::of(*id).is_some_and(|profile| profile.name != "devnet"));
        Ok(Pool {
            endpoints,
            chain_id: Cell::new(chain_id),
            clock: Stopwatch::start(),
            changed: Notify::new(),
            samples,
            meters,
        })
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The name of an endpoint in errors, logs and rows.
    pub(super) fn label(&self, at: usize) -> &str {
        &self.endpoints[at].label
    }

    /// The chain all endpoints serve, once one was asked.
    pub(super) fn chain_id(&self) -> Option<u64> {
        self.chain_id.get()
    }

    /// Waits until an endpoint may be asked, and says which.
    pub(super) async fn choose(&self, wish: &Wish) -> Result<usize, SourceError> {
        loop {
            let changed = self.changed.notified();
            match self.pick(wish) {
                Pick::Now(at) => return Ok(at),
                Pick::Later(None) => changed.await,
                Pick::Later(Some(wait)) => {
                    // Either way the endpoints are looked at again.
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                Pick::Never => return Err(self.wrong_chain()),
            }
        }
    }

    fn pick(&self, wish: &Wish) -> Pick {
        let now = self.clock.elapsed();
        let mut ready = Vec::new();
        let mut soonest: Option<Duration> = None;
        let mut any = false;
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let state = endpoint.state.borrow();
            if let Serves::Other(_) = state.serves {
                continue;
            }
            any = true;
            match state.ready_in(now) {
                Some(wait) if wait.is_zero() => ready.push(at),
                Some(wait) => soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait))),
                None => {}
            }
        }
        if !any {
            return Pick::Never;
        }
        if ready.is_empty() && soonest.is_some() {
            soonest = self.hurry(now).or(soonest);
        }
        if ready.iter().any(|at| !wish.avoid.contains(at)) {
            ready.retain(|at| !wish.avoid.contains(at));
        }
        match wish.prefer.filter(|at| ready.contains(at)) {
            Some(at) => Pick::Now(at),
            None => self.by_weight(&ready).map_or(Pick::Later(soonest), Pick::Now),
        }
    }

    /// If every endpoint is left, the first that would be asked again is tried soon. Gives when.
    fn hurry(&self, now: Duration) -> Option<Duration> {
        let usable =
            self.endpoints.iter().filter(|endpoint| !matches!(endpoint.state.borrow().serves, Serves::Other(_)));
        let mut first: Option<(Duration, &Endpoint)> = None;
        for endpoint in usable {
            let state = endpoint.state.borrow();
            if state.breaker.state(now) != BreakerState::Open {
                return None;
            }
            let wait = state.ready_in(now)?;
            if first.is_none_or(|(soonest, _)| wait < soonest) {
                first = Some((wait, endpoint));
            }
        }
        let (_, endpoint) = first?;
        let mut state = endpoint.state.borrow_mut();
        state.breaker.hurry(now);
        state.ready_in(now)
    }

    fn by_weight(&self, ready: &[usize]) -> Option<usize> {
        let mut best: Option<(i64, usize)> = None;
        let mut total = 0;
        for &at in ready {
            let endpoint = &self.endpoints[at];
            let mut state = endpoint.state.borrow_mut();
            state.balance += endpoint.weight;
            total += endpoint.weight;
            if best.is_none_or(|(balance, _)| state.balance > balance) {
                best = Some((state.balance, at));
            }
        }
        let (_, at) = best?;
        self.endpoints[at].state.borrow_mut().balance -= total;
        Some(at)
    }

    /// Asks an endpoint, after making sure that it serves the wanted chain.
    pub(super) async fn ask(
        &self,
        at: usize,
        method: &'static str,
        params: &RawValue,
    ) -> Result<Box<RawValue>, CallError> {
        if self.endpoints[at].state.borrow().serves == Serves::Unknown {
            self.check_chain(at).await?;
        }
        self.send(at, method, params).await
    }

    async fn check_chain(&self, at: usize) -> Result<(), CallError> {
        const METHOD: &str = "eth_chainId";
        let answer = self.send(at, METHOD, &super::params("[]")).await?;
        let found = header::quantity(answer.get()).ok_or_else(|| {
            CallError::new(ErrorKind::Malformed, self.label(at), METHOD, "the chain id is not a number")
        })?;
        let wanted = self.chain_id.get().unwrap_or(found);
        self.chain_id.set(Some(wanted));
        let mut state = self.endpoints[at].state.borrow_mut();
        state.serves = if found == wanted { Serves::Wanted } else { Serves::Other(found) };
        if found == wanted {
            return Ok(());
        }
        tracing::warn!(
            endpoint = self.label(at),
            chain_id = found,
            wanted,
            "an endpoint serves another chain and is not used"
        );
        let detail = format!("it serves chain id {found} instead of {wanted}");
        Err(CallError::new(ErrorKind::Inconsistent, self.label(at), METHOD, detail))
    }

    fn wrong_chain(&self) -> SourceError {
        let found = self.endpoints.iter().find_map(|endpoint| match endpoint.state.borrow().serves {
            Serves::Other(found) => Some(found),
            Serves::Unknown | Serves::Wanted => None,
        });
        let found = found.unwrap_or(0);
        let labels: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.label.as_ref()).collect();
        SourceError::WrongChain { place: labels.join(", "), found, expected: self.chain_id.get().unwrap_or(0) }
    }

    /// Waits for a free place at the endpoint, sends, and notes what came of it.
    async fn send(&self, at: usize, method: &'static str, params: &RawValue) -> Result<Box<RawValue>, CallError> {
        self.wait_for_place(at, method).await?;
        let mut flight = Flight { pool: self, at, over: false };
        let watch = Stopwatch::start();
        let answer = self.endpoints[at].caller.call(method, params).await;
        flight.over = true;
        self.settle(at, method, watch.elapsed(), &answer);
        answer
    }

    async fn wait_for_place(&self, at: usize, method: &'static str) -> Result<(), CallError> {
        let endpoint = &self.endpoints[at];
        loop {
            let changed = self.changed.notified();
            let now = self.clock.elapsed();
            let ready = endpoint.state.borrow().ready_in(now);
            match ready {
                Some(wait) if wait.is_zero() => {
                    let mut state = endpoint.state.borrow_mut();
                    state.breaker.start();
                    state.limiter.start(now);
                    endpoint.meters.requests.add(1);
                    return Ok(());
                }
                // Others may have time now.
                Some(_) if self.len() > 1 && endpoint.state.borrow().is_left(now) => {
                    let detail = "it is left alone for now";
                    return Err(CallError::new(ErrorKind::RateLimited, &endpoint.label, method, detail));
                }
                Some(wait) => {
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// The newest block of an endpoint.
    pub(super) async fn latest(&self, at: usize) -> Result<Header, CallError> {
        let header = self.header_at(at, "\"latest\"").await?;
        self.endpoints[at].state.borrow_mut().head = Some(header.number);
        if let Some(best) = self.best_head() {
            for endpoint in &self.endpoints {
                if let Some(head) = endpoint.state.borrow().head {
                    endpoint.meters.head_lag.set(best.saturating_sub(head));
                }
            }
        }
        Ok(header)
    }

    /// The header an endpoint has at a height or tag (a JSON text).
    pub(super) async fn header_at(&self, at: usize, which: &str) -> Result<Header, CallError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let answer = self.ask(at, METHOD, &super::params(&format!("[{which},false]"))).await?;
        Header::read(answer.get())
            .map_err(|detail| CallError::new(ErrorKind::Malformed, self.label(at), METHOD, detail))
    }

    /// Height that a majority of one cannot make up: of several known heads the second highest.
    pub(super) fn agreed_head(&self) -> Option<u64> {
        let mut heads: Vec<_> = self.endpoints.iter().filter_map(|endpoint| endpoint.state.borrow().head).collect();
        heads.sort_unstable_by(|one, two| two.cmp(one));
        heads.get(1).or(heads.first()).copied()
    }

    /// Which endpoint is on the same host as this one, if any.
    pub(super) fn on_host(&self, host: &str) -> Option<usize> {
        let name = |endpoint: &Endpoint| endpoint.label.split(['#', ':']).next() == Some(host);
        self.endpoints.iter().position(name)
    }

    /// Whether the endpoint gives all receipts of a block at once, as far as is known.
    pub(super) fn has_block_receipts(&self, at: usize) -> bool {
        !self.endpoints[at].state.borrow().lacks_block_receipts
    }

    /// The endpoint does not know `eth_getBlockReceipts`.
    pub(super) fn lacks_block_receipts(&self, at: usize) {
        self.endpoints[at].state.borrow_mut().lacks_block_receipts = true;
    }
}

impl State {
    fn ready_in(&self, now: Duration) -> Option<Duration> {
        Some(self.breaker.ready_in(now)?.max(self.limiter.ready_in(now)?))
    }

    /// Whether it is left alone for longer than a request takes.
    fn is_left(&self, now: Duration) -> bool {
        self.breaker.state(now) == BreakerState::Open || self.limiter.is_paused(now)
    }

    /// An answer that can be used.
    pub(super) fn succeed(&mut self, now: Duration) {
        self.breaker.succeed();
        self.limiter.succeed(now);
    }
}

/// A request that is out; if nobody waits for it any more, its place is free again.
struct Flight<'a> {
    pool: &'a Pool,
    at: usize,
    over: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.over {
            let mut state = self.pool.endpoints[self.at].state.borrow_mut();
            state.limiter.end();
            state.breaker.abandon();
            drop(state);
            self.pool.changed.notify_waiters();
        }
    }
}
