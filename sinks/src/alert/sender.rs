//! The thread that sends what is due, one for each sink, so that a dead channel delays nobody else.
//!
//! ```text
//! waiting ──claim──▶ sending ──answer──▶ sent
//!    ▲                  │
//!    └──── failure ─────┴─ last attempt or never ──▶ dead
//! ```
//! Both steps are durable before what follows: a process that dies between them repeats the message with the
//! same key. Of each group the oldest open message alone is sent.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use highwater_engine::error::chain;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::channel::{Channel, Failure, Receipt, Retry};
use super::clock::Clock;
use super::ledger::queue::{Due, Outcome, Queue};
use super::ledger::{Ledger, LedgerError};
use super::meters::Meters;
use super::pace::{Gate, Pace, backoff, millis};
use super::payload::payload;
use super::settings::Settings;

/// How often a ledger that another process may change is looked at.
const POLL_MS: i64 = 500;

/// What the outbox wants of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Go on; the number changes when there is something new.
    Run(u64),
    /// Send what is due by then, and end.
    Drain { deadline_ms: i64 },
    /// End at once.
    Stop,
}

/// A running sender. Ends when dropped.
pub(super) struct Sender {
    orders: watch::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    pub(super) fn start(work: Work) -> std::io::Result<Sender> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, received) = watch::channel(Order::Run(0));
        let thread = thread::Builder::new().name(format!("alert {}", work.sink)).spawn(move || {
            runtime.block_on(Run::new(work, received).run());
            // A name that is still being resolved must not keep the end of the job waiting.
            runtime.shutdown_background();
        })?;
        Ok(Sender { orders, thread: Some(thread) })
    }

    /// There is something new in the ledger.
    pub(super) fn wake(&self) {
        self.orders.send_modify(|order| {
            if let Order::Run(number) = order {
                *number += 1;
            }
        });
    }

    /// Waits until what is due by then was sent or failed. False if the thread has broken down.
    pub(super) fn drain(&mut self, deadline_ms: i64) -> bool {
        self.orders.send_replace(Order::Drain { deadline_ms });
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.orders.send_replace(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by its own hook.
            let _ = thread.join();
        }
    }
}

/// What a sender works with.
pub(super) struct Work {
    pub(super) sink: String,
    pub(super) ledger: Ledger,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meters: Meters,
}

/// An attempt that has not ended.
struct Flight {
    task: Id,
    due: Due,
    started_ms: i64,
}

struct Run {
    work: Work,
    pace: Pace,
    orders: watch::Receiver<Order>,
    under_way: JoinSet<Result<Receipt, Failure>>,
    flights: Vec<Flight>,
    /// When the metrics of the queue are due.
    gauge_at_ms: i64,
}

impl Run {
    fn new(work: Work, orders: watch::Receiver<Order>) -> Run {
        let pace = Pace::new(&work.settings, work.clock.now_ms());
        Run { work, pace, orders, under_way: JoinSet::new(), flights: Vec::new(), gauge_at_ms: i64::MIN }
    }

    async fn run(mut self) {
        loop {
            let order = *self.orders.borrow_and_update();
            let now_ms = self.work.clock.now_ms();
            let ending = matches!(order, Order::Drain { .. });
            let wake_ms = match self.step(now_ms, ending) {
                Ok(wake_ms) => wake_ms,
                Err(error) => {
                    tracing::error!(
                        sink = self.work.sink,
                        error = chain(&error),
                        "the ledger cannot be used; trying again"
                    );
                    Some(now_ms + POLL_MS)
                }
            };
            let wake_ms = match order {
                Order::Stop => return,
                Order::Drain { deadline_ms } => {
                    let idle = self.under_way.is_empty() && wake_ms.is_none_or(|wake_ms| wake_ms > deadline_ms);
                    if idle || now_ms >= deadline_ms {
                        self.gauge_at_ms = now_ms;
                        return self.gauge(now_ms);
                    }
                    Some(wake_ms.unwrap_or(deadline_ms).min(deadline_ms))
                }
                Order::Run(_) if self.work.ledger.is_shared() => {
                    Some(wake_ms.unwrap_or(i64::MAX).min(now_ms + POLL_MS))
                }
                Order::Run(_) => wake_ms,
            };
            self.wait(wake_ms).await;
        }
    }

    /// Starts what may be started, and says when it is worth looking again; exactly, if the run is ending.
    fn step(&mut self, now_ms: i64, ending: bool) -> Result<Option<i64>, LedgerError> {
        self.gauge(now_ms);
        loop {
            let room = match self.pace.gate(now_ms, self.under_way.len()) {
                Gate::Free(room) => room,
                Gate::Full => return Ok(None),
                // A dead channel's queue may be long: it is not gone through for every tick.
                Gate::Until(time_ms) if !ending => return Ok(Some(time_ms)),
                Gate::Until(time_ms) => {
                    let next_ms = self.look(|queue| queue.next_due_ms())?;
                    return Ok(next_ms.map(|next_ms| next_ms.max(time_ms)));
                }
            };
            let next_ms = self.look(|queue| queue.next_due_ms())?;
            if next_ms.is_none_or(|next_ms| next_ms > now_ms) {
                return Ok(next_ms);
            }
            let claimed = self.change("taking from", |queue| queue.claim(room))?;
            claimed.into_iter().for_each(|due| self.launch(due, now_ms));
        }
    }

    /// Shows how things stand, now and then: a long queue is not counted for every message.
    fn gauge(&mut self, now_ms: i64) {
        self.work.meters.breaker.set(self.pace.breaker().level());
        if now_ms < self.gauge_at_ms {
            return;
        }
        self.gauge_at_ms = now_ms + POLL_MS;
        if let Ok(open) = self.look(|queue| queue.open()) {
            self.work.meters.waiting.set(open);
        }
    }

    /// Changes the queue, durably.
    fn change<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Queue<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let (sink, now_ms) = (self.work.sink.as_str(), self.work.clock.now_ms());
        self.work.ledger.transaction(action, |transaction| work(&Queue { transaction, sink, now_ms }))
    }

    /// Looks at the queue.
    fn look<T>(&self, work: impl FnOnce(&Queue<'_>) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let (sink, now_ms) = (self.work.sink.as_str(), self.work.clock.now_ms());
        self.work.ledger.read(|transaction| work(&Queue { transaction, sink, now_ms }))
    }

    fn launch(&mut self, due: Due, started_ms: i64) {
        self.pace.started();
        self.work.meters.retried.add(u64::from(due.attempts > 1));
        let channel = self.work.channel.clone();
        let outgoing = due.outgoing.clone();
        let task = self.under_way.spawn(async move { channel.deliver(&outgoing).await }).id();
        self.flights.push(Flight { task, due, started_ms });
    }

    async fn wait(&mut self, wake_ms: Option<i64>) {
        let clock = self.work.clock.clone();
        let sleep = async {
            match wake_ms {
                Some(wake_ms) => clock.sleep_until(wake_ms).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(landed) = self.under_way.join_next_with_id() => self.land(landed).await,
            _ = self.orders.changed() => {}
            () = sleep => {}
        }
    }

    /// Notes how an attempt has ended; goes on trying, because what is not noted would be sent again.
    async fn land(&mut self, landed: Result<(Id, Result<Receipt, Failure>), JoinError>) {
        let (task, result) = landed.unwrap_or_else(|error| {
            let detail = "the channel broke down, which is a bug".to_owned();
            (error.id(), Err(Failure { detail, retry: Retry::Backoff }))
        });
        let Some(index) = self.flights.iter().position(|flight| flight.task == task) else { return };
        let Flight { due, started_ms, .. } = self.flights.swap_remove(index);
        let now_ms = self.work.clock.now_ms();
        let outcome = self.outcome(&due, result, now_ms);
        let took_ms = now_ms.saturating_sub(started_ms);
        while let Err(error) = self.change("writing to", |queue| queue.record(&due, took_ms, &outcome)) {
            tracing::error!(sink = self.work.sink, error = chain(&error), "an answer cannot be noted; trying again");
            if *self.orders.borrow() == Order::Stop {
                return;
            }
            self.work.clock.sleep_until(self.work.clock.now_ms() + POLL_MS).await;
        }
        if let Outcome::Dead { error, .. } = &outcome {
            self.bury(&due, error);
        }
    }

    fn outcome(&mut self, due: &Due, result: Result<Receipt, Failure>, now_ms: i64) -> Outcome {
        let failure = match result {
            Ok(receipt) => {
                self.pace.answered();
                self.work.meters.sent.add(1);
                let age_ms = now_ms.saturating_sub(due.outgoing.message.notified_at_ms);
                self.work.meters.latency.record(Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)));
                return Outcome::Sent(receipt);
            }
            Err(failure) => failure,
        };
        self.work.meters.failed.add(1);
        match failure.retry {
            Retry::Never => self.pace.answered(),
            retry => self.pace.failed(now_ms, retry),
        }
        let retry = &self.work.settings.retry;
        let error = failure.detail;
        let maybe = due.maybe || failure.retry == Retry::Backoff;
        if failure.retry == Retry::Never || due.attempts >= retry.max_attempts {
            self.work.meters.dead.add(1);
            return Outcome::Dead { maybe, error };
        }
        let pause = backoff(retry, &due.outgoing.idempotency_key, due.attempts);
        let pause = match failure.retry {
            Retry::After(asked) => asked.max(retry.initial),
            _ => pause,
        };
        Outcome::Again { at_ms: now_ms.saturating_add(millis(pause)), maybe, error }
    }

    /// A dead letter: told in the log, and appended to its file.
    fn bury(&self, due: &Due, error: &str) {
        let (sink, key) = (&self.work.sink, &due.outgoing.idempotency_key);
        tracing::error!(
            sink,
            key,
            attempts = due.attempts,
            error,
            "an alert could not be delivered and is a dead letter"
        );
        let Some(path) = &self.work.settings.dead_letter else { return };
        let mut line = payload(&due.outgoing);
        line["error"] = error.into();
        line["attempts"] = due.attempts.into();
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = fs::File::options().create(true).append(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())
        });
        if let Err(error) = written {
            let path = path.display();
            tracing::error!(sink, %path, %error, "a dead letter cannot be written; it is in the ledger all the same");
        }
    }
}
