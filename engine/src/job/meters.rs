//! The metrics of a running job.

use crate::metrics::{Counter, Gauge, Latency, Registry};

/// What the driver counts.
pub(super) struct Meters {
    pub(super) blocks: Counter,
    pub(super) rows: Counter,
    pub(super) reorgs: Counter,
    pub(super) skipped: Counter,
    pub(super) inserted: Counter,
    pub(super) retracted: Counter,
    pub(super) head: Gauge,
    pub(super) in_flight: Gauge,
    pub(super) latency: Latency,
}

impl Meters {
    pub(super) fn new(metrics: &Registry, source: &str) -> Meters {
        let label = ("source", source);
        Meters {
            blocks: metrics.counter("highwater_blocks_total", label, "Blocks applied."),
            rows: metrics.counter("highwater_rows_total", label, "Rows read, over all tables."),
            reorgs: metrics.counter("highwater_reorgs_total", label, "Reorgs followed."),
            skipped: metrics.counter("highwater_skipped_total", label, "Things the source could not use."),
            inserted: metrics.counter("highwater_inserted_total", ("", ""), "Rows sent to sinks."),
            retracted: metrics.counter("highwater_retracted_total", ("", ""), "Rows taken back at sinks."),
            head: metrics.gauge("highwater_head_block", label, "Height of the canonical head."),
            in_flight: metrics.gauge("highwater_ticks_in_flight", ("", ""), "Ticks submitted and not sealed."),
            latency: metrics.latency("highwater_tick_seconds", ("", ""), "Time of a tick from source to sinks."),
        }
    }
}
