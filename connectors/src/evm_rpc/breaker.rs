//! Leaves an endpoint alone that fails, and lets it back by one trial request.

use std::time::Duration;

/// Failures in a row after which an endpoint is left.
const FAILURES: u32 = 5;
/// First pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause while every endpoint is left.
const LAST_RESORT: Duration = Duration::from_secs(2);
/// Pause of an endpoint that cannot be left for another.
const ALONE_PAUSE: Duration = Duration::from_millis(50);
/// After this long without one, an answer that could not be true is forgiven.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Whether an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// It is.
    Closed,
    /// It is left alone for now.
    Open,
    /// One request tries whether it is back.
    HalfOpen,
}

impl BreakerState {
    /// As rows say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }

    /// As the gauge says it.
    pub(super) fn level(self) -> u64 {
        match self {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        }
    }
}

/// The circuit breaker of one endpoint. Times are durations since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// How often it opened since the last success; each time the pause doubles.
    opened: u32,
    open_until: Option<Duration>,
    trying: bool,
    /// Answers that could not be true and are not forgiven yet, and when the last one came.
    offences: u32,
    offended_at: Duration,
}

impl Breaker {
    /// What it is now.
    pub(super) fn state(&self, now: Duration) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// How long until a request may go; zero for at once, `None` while another request is on trial.
    pub(super) fn ready_in(&self, now: Duration) -> Option<Duration> {
        match self.open_until {
            None => Some(Duration::ZERO),
            Some(until) if now < until => Some(until - now),
            Some(_) => (!self.trying).then_some(Duration::ZERO),
        }
    }

    /// A request goes out.
    pub(super) fn start(&mut self) {
        self.trying = self.open_until.is_some();
    }

    /// It was answered. Answers of requests from before the endpoint was left change nothing.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.trying) {
            self.opened = 0;
            self.open_until = None;
        }
    }

    /// It was given up without an outcome.
    pub(super) fn abandon(&mut self) {
        self.trying = false;
    }

    /// Nobody else can be asked: it is tried before its pause is over.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.open_until = self.open_until.map(|until| until.min(now + LAST_RESORT));
    }

    /// It failed. True if the endpoint is left from now on, for the first time since it last answered.
    pub(super) fn fail(&mut self, now: Duration) -> bool {
        self.failures += 1;
        let trying = std::mem::take(&mut self.trying);
        if trying || (self.open_until.is_none() && self.failures >= FAILURES) {
            self.opened += 1;
            self.open(now, self.opened - 1);
            return self.opened == 1;
        }
        false
    }

    /// It gave an answer that cannot be true: no second chance before a pause, however well it answers
    /// otherwise; a short one if there is nobody else to ask. True if it was not left before.
    pub(super) fn offend(&mut self, now: Duration, is_alone: bool) -> bool {
        let calm = now.saturating_sub(self.offended_at).as_secs() / FORGIVEN.as_secs();
        self.offences = self.offences.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX));
        self.offended_at = now;
        self.offences += 1;
        if is_alone {
            return self.open_for(now, ALONE_PAUSE);
        }
        self.open(now, self.offences - 1)
    }

    /// Leaves the endpoint alone for a pause that was doubled so many times.
    fn open(&mut self, now: Duration, doubled: u32) -> bool {
        self.open_for(now, FIRST_PAUSE.saturating_mul(1 << doubled.min(10)).min(LONGEST_PAUSE))
    }

    fn open_for(&mut self, now: Duration, pause: Duration) -> bool {
        let was_asked = self.open_until.is_none_or(|until| until <= now);
        self.trying = false;
        self.open_until = self.open_until.max(Some(now + pause));
        was_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn opens_tries_once_and_closes() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            assert!(!breaker.fail(ms(0)));
        }
        assert!(breaker.fail(ms(0)));
        assert_eq!(breaker.state(ms(1)), BreakerState::Open);
        assert_eq!(breaker.ready_in(ms(100)), Some(ms(400)));
        assert_eq!(breaker.state(ms(500)), BreakerState::HalfOpen);
        breaker.start();
        assert_eq!(breaker.ready_in(ms(500)), None);
        assert!(!breaker.fail(ms(600)));
        assert_eq!(breaker.ready_in(ms(600)), Some(ms(1_000)));
        breaker.start();
        breaker.abandon();
        assert_eq!(breaker.ready_in(ms(1_600)), Some(ms(0)));
        breaker.start();
        breaker.succeed();
        assert_eq!(breaker.state(ms(1_600)), BreakerState::Closed);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut breaker = Breaker::default();
        for _ in 0..40 {
            breaker.offend(ms(0), false);
        }
        assert_eq!(breaker.ready_in(ms(0)), Some(LONGEST_PAUSE));
        breaker.hurry(ms(10));
        assert_eq!(breaker.ready_in(ms(10)), Some(LAST_RESORT));
    }

    #[test]
    fn good_answers_in_between_do_not_shorten_the_pause_of_an_offender() {
        let mut breaker = Breaker::default();
        assert!(breaker.offend(ms(0), false));
        breaker.succeed();
        assert_eq!(breaker.ready_in(ms(0)), Some(ms(500)));
        breaker.start();
        breaker.succeed();
        assert_eq!(breaker.state(ms(500)), BreakerState::Closed);
        breaker.offend(ms(1_000), false);
        assert_eq!(breaker.ready_in(ms(1_000)), Some(ms(1_000)));
        breaker.offend(ms(200_000), false);
        assert_eq!(breaker.ready_in(ms(200_000)), Some(ms(500)));
        breaker.offend(ms(300_000), true);
        assert_eq!(breaker.ready_in(ms(300_000)), Some(ALONE_PAUSE));
    }
}
