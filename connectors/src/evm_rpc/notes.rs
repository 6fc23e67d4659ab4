//! What is remembered of requests: breaker and limiter, metrics, samples, log lines.

use std::sync::Arc;
use std::time::Duration;

use highwater_engine::clock::unix_time_ms;
use serde_json::value::RawValue;

use super::breaker::BreakerState;
use super::call::{CallError, ErrorKind};
use super::pool::Pool;
use super::pool_call;
use super::samples::Sample;

/// What the column `method` says where an endpoint was left for another.
const FAILOVER: &str = "failover";

impl Pool {
    /// A request came back.
    pub(super) fn settle(
        &self,
        at: usize,
        method: &'static str,
        took: Duration,
        answer: &Result<Box<RawValue>, CallError>,
    ) {
        let endpoint = &self.endpoints[at];
        let now = self.clock.elapsed();
        endpoint.meters.seconds.record(took);
        let error = answer.as_ref().err();
        let mut state = endpoint.state.borrow_mut();
        state.limiter.end();
        let mut retry_after = error.and_then(|error| error.retry_after);
        let opened = match error {
            None => {
                state.succeed(now);
                false
            }
            // The node works, and has not what was asked for.
            Some(error) if error.kind == ErrorKind::NullResult || error.is_unknown_method() => {
                state.succeed(now);
                false
            }
            // Questions about pools are extras: whatever the contract or the node says to one, blocks can be had.
            Some(error) if error.kind == ErrorKind::JsonRpc && method == pool_call::METHOD => {
                state.succeed(now);
                false
            }
            Some(error) if error.kind == ErrorKind::RateLimited => {
                state.breaker.abandon();
                retry_after = Some(state.limiter.refuse(now, retry_after));
                false
            }
            Some(_) => state.breaker.fail(now),
        };
        endpoint.meters.breaker.set(state.breaker.state(now).level());
        let breaker = state.breaker.state(now);
        drop(state);
        if let Some(error) = error {
            self.meters.error(error.kind);
            tracing::debug!(endpoint = %error.place, method, kind = error.kind.name(), detail = error.detail, "a request failed");
        }
        if opened && let Some(error) = error {
            self.left(at, error);
            tracing::warn!(endpoint = %error.place, kind = error.kind.name(), detail = error.detail, "an endpoint fails and is left for a while");
        }
        self.samples.note(|| {
            let bytes = answer.as_ref().ok().map(|text| text.get().len() as u64);
            Sample { bytes, ..self.sample(at, method, took, error, retry_after, breaker) }
        });
        self.changed.notify_waiters();
    }

    fn sample(
        &self,
        at: usize,
        method: &'static str,
        took: Duration,
        error: Option<&CallError>,
        retry_after: Option<Duration>,
        breaker: BreakerState,
    ) -> Sample {
        let endpoint = &self.endpoints[at];
        let head = endpoint.state.borrow().head;
        Sample {
            sampled_at_ms: unix_time_ms(),
            endpoint: endpoint.label.clone(),
            method,
            http_status: error.and_then(|error| error.http_status),
            jsonrpc_code: error.and_then(|error| error.jsonrpc_code),
            error: error.map(|error| error.kind),
            latency_ms: took.as_secs_f64() * 1e3,
            head_block: head,
            head_lag_blocks: head.and_then(|head| Some(self.best_head()?.saturating_sub(head))),
            bytes: None,
            retry_after_ms: retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            breaker,
        }
    }

    /// The highest head any endpoint was seen to have.
    pub(super) fn best_head(&self) -> Option<u64> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.state.borrow().head).max()
    }

    /// An answer of the endpoint cannot be true: it is left for a while.
    pub(super) fn distrust(&self, at: usize, method: &'static str, rule: &'static str, detail: &str) {
        let endpoint = &self.endpoints[at];
        let now = self.clock.elapsed();
        let opened = endpoint.state.borrow_mut().breaker.offend(now, self.len() == 1);
        endpoint.meters.breaker.set(BreakerState::Open.level());
        self.meters.error(ErrorKind::Inconsistent);
        tracing::warn!(
            endpoint = self.label(at),
            rule,
            detail,
            "an endpoint gave an answer that cannot be used and is left for a while"
        );
        let error = CallError::new(ErrorKind::Inconsistent, self.label(at), method, detail);
        self.samples.note(|| self.sample(at, method, Duration::ZERO, Some(&error), None, BreakerState::Open));
        if opened {
            self.left(at, &error);
        }
    }

    /// Others are asked from now on, if there are any.
    fn left(&self, at: usize, why: &CallError) {
        if self.len() > 1 {
            self.note_failover(at, why);
        }
    }

    /// An endpoint was left for another within one fetch.
    pub(super) fn rotated(&self, from: usize, why: &CallError) {
        // When the breaker opened, that was noted.
        if self.endpoints[from].state.borrow().breaker.state(self.clock.elapsed()) == BreakerState::Closed {
            self.note_failover(from, why);
        }
    }

    fn note_failover(&self, from: usize, why: &CallError) {
        let endpoint = &self.endpoints[from];
        endpoint.meters.rotations.add(1);
        self.samples.note(|| {
            let breaker = endpoint.state.borrow().breaker.state(self.clock.elapsed());
            self.sample(from, FAILOVER, Duration::ZERO, Some(why), None, breaker)
        });
    }

    /// An endpoint that announces blocks was connected, or was lost.
    pub(super) fn announcer(&self, label: &str, error: Option<&CallError>) {
        if let Some(error) = error {
            self.meters.error(error.kind);
            tracing::debug!(endpoint = label, kind = error.kind.name(), detail = error.detail, "announcements ended");
        }
        self.samples.note(|| Sample {
            sampled_at_ms: unix_time_ms(),
            endpoint: Arc::from(label),
            method: "eth_subscribe",
            http_status: error.and_then(|error| error.http_status),
            jsonrpc_code: error.and_then(|error| error.jsonrpc_code),
            error: error.map(|error| error.kind),
            latency_ms: 0.0,
            head_block: None,
            head_lag_blocks: None,
            bytes: None,
            retry_after_ms: None,
            breaker: BreakerState::Closed,
        });
    }
}
