//! What is counted.

use highwater_engine::metrics::{Counter, Gauge, Latency, Registry};

use super::call::ErrorKind;

/// Meters of the whole source.
#[derive(Debug)]
pub(super) struct Meters {
    registry: Registry,
    errors: Vec<Counter>,
    /// Reorgs that were followed.
    pub(super) reorgs: Counter,
    /// Heads that were not followed because nothing confirmed them.
    pub(super) suspicions: Counter,
}

/// Meters of one endpoint.
#[derive(Debug)]
pub(super) struct EndpointMeters {
    pub(super) requests: Counter,
    pub(super) seconds: Latency,
    pub(super) rotations: Counter,
    pub(super) head_lag: Gauge,
    pub(super) breaker: Gauge,
}

impl Meters {
    pub(super) fn new(registry: &Registry) -> Meters {
        let errors = ErrorKind::ALL.iter().map(|kind| {
            let help = "Requests that failed, and answers that were refused.";
            registry.counter("highwater_rpc_errors_total", ("kind", kind.name()), help)
        });
        Meters {
            registry: registry.clone(),
            errors: errors.collect(),
            reorgs: registry.counter("highwater_rpc_reorgs_total", ("", ""), "Reorgs seen at the node."),
            suspicions: registry.counter(
                "highwater_rpc_suspicions_total",
                ("", ""),
                "Heads not followed because only one endpoint named them.",
            ),
        }
    }

    pub(super) fn endpoint(&self, label: &str) -> EndpointMeters {
        let label = ("endpoint", label);
        let registry = &self.registry;
        EndpointMeters {
            requests: registry.counter("highwater_rpc_requests_total", label, "Requests sent."),
            seconds: registry.latency("highwater_rpc_seconds", label, "Time from a request to its answer."),
            rotations: registry.counter(
                "highwater_rpc_rotations_total",
                label,
                "Times the endpoint was left for another.",
            ),
            head_lag: registry.gauge("highwater_rpc_head_lag_blocks", label, "Blocks behind the best endpoint."),
            breaker: registry.gauge("highwater_rpc_breaker_state", label, "0 closed, 1 half open, 2 open."),
        }
    }

    pub(super) fn error(&self, kind: ErrorKind) {
        let counters = ErrorKind::ALL.iter().zip(&self.errors);
        if let Some((_, counter)) = counters.into_iter().find(|(of, _)| **of == kind) {
            counter.add(1);
        }
    }

    /// A block that broke a rule was not used.
    pub(super) fn rejected(&self, rule: &'static str) {
        let help = "Blocks that broke a rule and were not used.";
        self.registry.counter("highwater_rpc_blocks_rejected_total", ("rule", rule), help).add(1);
    }
}
