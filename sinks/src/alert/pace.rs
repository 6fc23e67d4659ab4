//! When the next attempt may be made: pauses that grow, a limit of attempts a minute, a circuit breaker.
//!
//! All are functions of the time they are told, so that tests need not wait.

use std::hash::BuildHasher as _;
use std::time::Duration;

use foldhash::quality::FixedState;

use super::channel::Retry;
use super::settings::{RetrySettings, Settings};

/// The pause after the given number of attempts: `initial × factor^(attempts − 1)`, at most `max_delay`, and a
/// fifth more or less, so that what failed together is not tried again together. The jitter follows from the
/// key and the attempt.
pub(super) fn backoff(retry: &RetrySettings, key: &str, attempts: u64) -> Duration {
    let steps = f64::from(u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    let longest_s = retry.max_delay.as_secs_f64();
    let pause_s = (retry.initial.as_secs_f64() * retry.factor.powf(steps)).min(longest_s);
    let hash = FixedState::default().hash_one((key, attempts));
    let unit = f64::from(u32::try_from(hash >> 32).expect("32 bits are left")) / f64::from(u32::MAX);
    Duration::from_secs_f64(pause_s * (0.8 + 0.4 * unit)).min(retry.max_delay)
}

/// Milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether the channel is used at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Breaker {
    /// As usual.
    Closed,
    /// One message is under way to see whether it works again.
    Probing,
    /// Left alone until then.
    Open { until_ms: i64 },
}

impl Breaker {
    /// Its value as a metric.
    pub(super) fn level(self) -> u64 {
        match self {
            Breaker::Closed => 0,
            Breaker::Probing => 1,
            Breaker::Open { .. } => 2,
        }
    }
}

/// How many attempts may start now, or when it is worth asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    /// So many, at least one.
    Free(usize),
    /// None before this time.
    Until(i64),
    /// None before one that is under way has ended.
    Full,
}

/// What governs the attempts of one channel.
#[derive(Debug)]
pub(super) struct Pace {
    concurrency: usize,
    breaker: Breaker,
    breaker_limit: u64,
    breaker_pause_ms: i64,
    failures_in_a_row: u64,
    longest_pause: Duration,
    /// The service asked for a pause.
    not_before_ms: i64,
    tokens: Tokens,
}

impl Pace {
    pub(super) fn new(settings: &Settings, now_ms: i64) -> Pace {
        Pace {
            concurrency: settings.concurrency,
            breaker: Breaker::Closed,
            breaker_limit: settings.breaker_failures,
            breaker_pause_ms: millis(settings.breaker_pause),
            failures_in_a_row: 0,
            longest_pause: settings.retry.max_delay,
            not_before_ms: now_ms,
            tokens: Tokens::new(settings.max_per_minute, now_ms),
        }
    }

    pub(super) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// What may start now, with so many attempts under way.
    pub(super) fn gate(&mut self, now_ms: i64, under_way: usize) -> Gate {
        if let Breaker::Open { until_ms } = self.breaker
            && now_ms >= until_ms
        {
            self.breaker = Breaker::Probing;
        }
        let limit = match self.breaker {
            Breaker::Open { until_ms } => return Gate::Until(until_ms),
            Breaker::Probing => 1,
            Breaker::Closed => self.concurrency,
        };
        let room = limit.saturating_sub(under_way);
        if room == 0 {
            return Gate::Full;
        }
        if now_ms < self.not_before_ms {
            return Gate::Until(self.not_before_ms);
        }
        match self.tokens.available(now_ms) {
            0 => Gate::Until(self.tokens.next_ms(now_ms)),
            tokens => Gate::Free(room.min(tokens)),
        }
    }

    /// An attempt has started.
    pub(super) fn started(&mut self) {
        self.tokens.take();
    }

    /// An attempt has succeeded, or failed for a reason that lies in its message.
    pub(super) fn answered(&mut self) {
        self.failures_in_a_row = 0;
        self.breaker = Breaker::Closed;
    }

    /// An attempt has failed for a reason that lies in the channel.
    pub(super) fn failed(&mut self, now_ms: i64, retry: Retry) {
        if let Retry::After(pause) = retry {
            // It works, and says itself when to come again.
            self.answered();
            self.not_before_ms = self.not_before_ms.max(now_ms.saturating_add(millis(pause.min(self.longest_pause))));
            return;
        }
        self.failures_in_a_row += 1;
        if self.breaker == Breaker::Probing || self.failures_in_a_row >= self.breaker_limit {
            self.breaker = Breaker::Open { until_ms: now_ms.saturating_add(self.breaker_pause_ms) };
        }
    }
}

/// A token bucket: refilled evenly over the minute, with room for a tenth of it.
#[derive(Debug)]
struct Tokens {
    per_ms: f64,
    most: f64,
    left: f64,
    at_ms: i64,
}

impl Tokens {
    fn new(per_minute: u64, now_ms: i64) -> Tokens {
        let per_minute = f64::from(u32::try_from(per_minute).unwrap_or(u32::MAX));
        let most = (per_minute / 10.0).max(1.0);
        Tokens { per_ms: per_minute / 60_000.0, most, left: most, at_ms: now_ms }
    }

    fn available(&mut self, now_ms: i64) -> usize {
        let passed_ms = u32::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        self.left = (self.left + f64::from(passed_ms) * self.per_ms).min(self.most);
        self.at_ms = now_ms;
        (1..=64).take_while(|count| f64::from(*count) <= self.left + 1e-9).count()
    }

    fn take(&mut self) {
        self.left -= 1.0;
    }

    /// When there is a whole one again.
    fn next_ms(&self, now_ms: i64) -> i64 {
        let missing_ms = ((1.0 - self.left).max(0.0) / self.per_ms).ceil();
        let wait = Duration::try_from_secs_f64(missing_ms / 1000.0).unwrap_or(Duration::from_secs(60));
        now_ms.saturating_add(millis(wait).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let retry = RetrySettings {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(300),
            max_attempts: 8,
        };
        Settings {
            corrections: true,
            concurrency: 4,
            max_per_minute: 60,
            retry,
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(30),
            drain: Duration::ZERO,
            dead_letter: None,
        }
    }

    #[test]
    fn pauses_double_with_jitter_up_to_the_longest() {
        let retry = settings().retry;
        for (attempts, expected_s) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (30, 300.0)] {
            let pauses: Vec<f64> =
                (0..50).map(|key| backoff(&retry, &format!("key {key}"), attempts).as_secs_f64()).collect();
            assert!(pauses.iter().all(|pause| (expected_s * 0.8..=expected_s * 1.2).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
            assert!(pauses.iter().all(|pause| *pause <= 300.0));
        }
        assert_eq!(backoff(&retry, "key", 3), backoff(&retry, "key", 3));
    }

    #[test]
    fn a_breaker_opens_probes_and_closes() {
        let mut pace = Pace::new(&settings(), 0);
        for _ in 0..3 {
            assert!(matches!(pace.gate(0, 0), Gate::Free(_)));
            pace.started();
            pace.failed(0, Retry::Backoff);
        }
        assert_eq!(pace.gate(0, 0), Gate::Until(30_000));
        assert_eq!(pace.gate(30_000, 0), Gate::Free(1));
        assert_eq!(pace.gate(30_000, 1), Gate::Full);
        pace.failed(31_000, Retry::Backoff);
        assert_eq!(pace.gate(31_000, 0), Gate::Until(61_000));
        assert_eq!(pace.gate(61_000, 0), Gate::Free(1));
        pace.answered();
        assert_eq!(pace.gate(61_000, 0), Gate::Free(4));
        assert_eq!(pace.breaker(), Breaker::Closed);
    }

    #[test]
    fn the_service_may_ask_for_a_pause() {
        let mut pace = Pace::new(&settings(), 0);
        pace.failed(1_000, Retry::After(Duration::from_secs(20)));
        assert_eq!(pace.gate(1_000, 0), Gate::Until(21_000));
        assert_eq!(pace.gate(21_000, 0), Gate::Free(4));
    }

    #[test]
    fn no_more_than_so_many_a_minute() {
        let mut pace = Pace::new(&settings(), 0);
        let (mut now_ms, mut started) = (0, 0);
        while now_ms < 60_000 {
            match pace.gate(now_ms, 0) {
                Gate::Free(_) => {
                    pace.started();
                    started += 1;
                }
                Gate::Until(time_ms) => {
                    assert!(time_ms > now_ms);
                    now_ms = time_ms;
                }
                Gate::Full => unreachable!("nothing is under way"),
            }
        }
        assert_eq!(started, 65, "six at once, then one a second");
    }
}
