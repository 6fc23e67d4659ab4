//! How many requests an endpoint bears: found out, not configured.
//!
//! The number of requests in flight doubles with every full round of answers until the endpoint says
//! that it is too much, then it is halved and grows by one a round (additive increase, multiplicative
//! decrease, as TCP does). The same refusal sets a rate a little below what was sent in the last second,
//! which grows back by a fifth a second.

use std::time::Duration;

/// What is kept of the rate after a refusal.
const RATE_KEPT: f64 = 0.7;
/// Growth of the rate a second.
const RATE_GROWTH: f64 = 0.2;
/// First pause after a refusal that names none.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause that an endpoint may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

/// The limits of one endpoint. Times are durations since any fixed moment.
#[derive(Debug)]
pub(super) struct Limiter {
    most_in_flight: f64,
    highest_rate: Option<f64>,
    /// Requests that may be in flight; the fraction is progress to the next whole one.
    allowed: f64,
    /// Where doubling ends.
    threshold: f64,
    in_flight: u32,
    /// Requests a second.
    rate: Option<f64>,
    /// When the rate lets the next request go.
    next_at: Duration,
    paused_until: Duration,
    pause: Duration,
    decreased_at: Option<Duration>,
    grown_at: Duration,
    /// Start of the running second, requests in it, requests in the second before.
    second: (Duration, u32, u32),
}

impl Limiter {
    /// Limits that are never exceeded, whatever the endpoint bears.
    pub(super) fn new(most_in_flight: usize, highest_rate: Option<f64>) -> Limiter {
        let most_in_flight = f64::from(u32::try_from(most_in_flight).unwrap_or(u32::MAX).max(1));
        Limiter {
            most_in_flight,
            highest_rate,
            allowed: most_in_flight.min(4.0),
            threshold: most_in_flight,
            in_flight: 0,
            rate: highest_rate,
            next_at: Duration::ZERO,
            paused_until: Duration::ZERO,
            pause: FIRST_PAUSE,
            decreased_at: None,
            grown_at: Duration::ZERO,
            second: (Duration::ZERO, 0, 0),
        }
    }

    /// How long until a request may go; zero for at once, `None` if one must come back first.
    pub(super) fn ready_in(&self, now: Duration) -> Option<Duration> {
        let wait = self.paused_until.max(self.next_at).saturating_sub(now);
        (!wait.is_zero() || f64::from(self.in_flight) < self.allowed.floor().max(1.0)).then_some(wait)
    }

    /// Whether the endpoint asked for a pause that lasts.
    pub(super) fn is_paused(&self, now: Duration) -> bool {
        now < self.paused_until
    }

    /// A request goes out.
    pub(super) fn start(&mut self, now: Duration) {
        self.in_flight += 1;
        if let Some(rate) = self.rate {
            // What was not used does not add up to a burst.
            self.next_at = self.next_at.max(now) + Duration::from_secs_f64(1.0 / rate);
        }
        let (start, count, _) = self.second;
        if now >= start + SECOND {
            let before = if now < start + 2 * SECOND { count } else { 0 };
            self.second = (now, 1, before);
        } else {
            self.second.1 += 1;
        }
    }

    /// A request came back or was given up, whatever its outcome.
    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The endpoint answered.
    pub(super) fn succeed(&mut self, now: Duration) {
        self.pause = FIRST_PAUSE;
        let step = if self.allowed < self.threshold { 1.0 } else { 1.0 / self.allowed };
        self.allowed = (self.allowed + step).min(self.most_in_flight);
        let passed = now.saturating_sub(self.grown_at).min(SECOND).as_secs_f64();
        self.grown_at = now;
        if let Some(rate) = &mut self.rate {
            *rate *= 1.0 + RATE_GROWTH * passed;
            *rate = rate.min(self.highest_rate.unwrap_or(f64::MAX));
        }
    }

    /// The endpoint says it is too much, and perhaps for how long. Gives the pause.
    pub(super) fn refuse(&mut self, now: Duration, asked: Option<Duration>) -> Duration {
        let pause = match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => self.pause,
        };
        // Requests that were out together are refused together; that counts once.
        if self.decreased_at.is_none_or(|at| now >= at + FIRST_PAUSE) {
            self.decreased_at = Some(now);
            self.pause = self.pause.mul_f64(1.5).min(LONGEST_PAUSE);
            self.allowed = (self.allowed / 2.0).max(1.0);
            self.threshold = self.allowed;
            let rate = self.sent_rate(now).min(self.rate.unwrap_or(f64::MAX)) * RATE_KEPT;
            self.rate = Some(rate.max(1.0).min(self.highest_rate.unwrap_or(f64::MAX)));
        }
        self.paused_until = self.paused_until.max(now + pause);
        pause
    }

    /// Requests a second lately: of the last second, or of the running one if that was busier.
    fn sent_rate(&self, now: Duration) -> f64 {
        let (start, running, before) = self.second;
        // Of less than that no rate can be told.
        let passed = now.saturating_sub(start).max(FIRST_PAUSE).as_secs_f64();
        f64::from(before).max(f64::from(running) / passed).max(1.0)
    }

    /// Requests that may be in flight.
    #[cfg(test)]
    fn allowed(&self) -> f64 {
        self.allowed.floor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn answered(limiter: &mut Limiter, count: u32, now: Duration) {
        for _ in 0..count {
            limiter.start(now);
            limiter.end();
            limiter.succeed(now);
        }
    }

    #[test]
    fn doubles_then_grows_by_one_a_round() {
        let mut limiter = Limiter::new(64, None);
        answered(&mut limiter, 4, ms(0));
        assert!((limiter.allowed() - 8.0).abs() < 0.01);
        answered(&mut limiter, 24, ms(10));
        assert!((limiter.allowed() - 32.0).abs() < 0.01);
        assert_eq!(limiter.refuse(ms(20), Some(ms(700))), ms(700));
        limiter.refuse(ms(21), None);
        assert!((limiter.allowed() - 16.0).abs() < 0.01);
        assert_eq!(limiter.ready_in(ms(20)), Some(ms(700)));
        answered(&mut limiter, 17, ms(800));
        assert!((limiter.allowed() - 17.0).abs() < 0.01);
    }

    #[test]
    fn never_more_in_flight_than_allowed() {
        let mut limiter = Limiter::new(2, None);
        limiter.start(ms(0));
        assert_eq!(limiter.ready_in(ms(0)), Some(ms(0)));
        limiter.start(ms(0));
        assert_eq!(limiter.ready_in(ms(0)), None);
        limiter.end();
        assert_eq!(limiter.ready_in(ms(0)), Some(ms(0)));
    }

    #[test]
    fn a_rate_spaces_requests() {
        let mut limiter = Limiter::new(8, Some(10.0));
        limiter.start(ms(0));
        assert_eq!(limiter.ready_in(ms(0)), Some(ms(100)));
        limiter.start(ms(100));
        assert_eq!(limiter.ready_in(ms(150)), Some(ms(50)));
        // A pause in between gives no burst.
        limiter.start(ms(900));
        assert_eq!(limiter.ready_in(ms(900)), Some(ms(100)));
    }

    #[test]
    fn a_refusal_sets_a_rate_below_what_was_sent() {
        let mut limiter = Limiter::new(100, None);
        answered(&mut limiter, 100, ms(0));
        limiter.refuse(ms(500), None);
        assert!((limiter.rate.unwrap() - 140.0).abs() < 0.01, "{limiter:?}");
        for second in 1..=10 {
            answered(&mut limiter, 1, ms(1_000 * second));
        }
        assert!(limiter.rate.unwrap() > 700.0, "{limiter:?}");
    }
}
