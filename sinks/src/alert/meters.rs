//! What is counted of a channel.

use highwater_engine::metrics::{Counter, Gauge, Latency, Registry};

use super::ledger::book::Done;

/// The metrics of one sink.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    pub(super) sent: Counter,
    pub(super) failed: Counter,
    pub(super) retried: Counter,
    pub(super) dead: Counter,
    pub(super) cancelled: Counter,
    pub(super) corrections: Counter,
    pub(super) waiting: Gauge,
    pub(super) latency: Latency,
    pub(super) breaker: Gauge,
    registry: Registry,
}

impl Meters {
    pub(super) fn new(registry: &Registry, sink: &str) -> Meters {
        let label = ("sink", sink);
        let counter = |name, help| registry.counter(name, label, help);
        Meters {
            sent: counter("highwater_alerts_sent_total", "Messages that a channel has taken, corrections included."),
            failed: counter("highwater_alert_attempts_failed_total", "Attempts that failed."),
            retried: counter("highwater_alert_attempts_retried_total", "Attempts that repeat an earlier one."),
            dead: counter("highwater_alerts_dead_total", "Messages given up after the last attempt."),
            cancelled: counter("highwater_alerts_cancelled_total", "Messages taken back before they were sent."),
            corrections: counter("highwater_alert_corrections_total", "Amendments and withdrawals to be told."),
            waiting: registry.gauge("highwater_alerts_waiting", label, "Messages that wait or are on their way."),
            latency: registry.latency(
                "highwater_alert_latency_seconds",
                label,
                "Time from the block of a notification to the answer of its channel.",
            ),
            breaker: registry.gauge(
                "highwater_alert_breaker_state",
                label,
                "Whether the channel is used: 0 as usual, 1 probing, 2 left alone after failures.",
            ),
            registry: registry.clone(),
        }
    }

    /// Adds what a tick did.
    pub(super) fn add(&self, done: &Done) {
        self.cancelled.add(done.cancelled);
        self.corrections.add(done.corrections);
        for reason in &done.suppressed {
            let help = "Notifications that were not to be sent, by reason.";
            self.registry.counter("highwater_alerts_suppressed_total", ("reason", reason), help).add(1);
        }
    }
}
