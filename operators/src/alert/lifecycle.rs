//! When a story begins, cools and ends.

/// When stories begin and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Silence after which a story cools, in milliseconds.
    pub cool_after_ms: i64,
    /// Silence after which it is over; not less than `cool_after_ms`.
    pub resolve_after_ms: i64,
    /// Findings in a row that begin it.
    pub open_after: u32,
    /// Healthy signals in a row that end it.
    pub close_after: u32,
    /// How soon after its end a finding opens it again.
    pub reopen_within_ms: i64,
    /// Openings within `flap_window_ms` that keep it open; 0: any number.
    pub flap_limit: u32,
    /// See there.
    pub flap_window_ms: i64,
    /// Whether it ends when no row of the group stands.
    pub resolve_when_gone: bool,
    /// How long two findings of one identity are the same one.
    pub same_for_ms: i64,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        const MINUTE_MS: i64 = 60_000;
        Lifecycle {
            cool_after_ms: 10 * MINUTE_MS,
            resolve_after_ms: 30 * MINUTE_MS,
            open_after: 1,
            close_after: 1,
            reopen_within_ms: 0,
            flap_limit: 0,
            flap_window_ms: 60 * MINUTE_MS,
            resolve_when_gone: false,
            same_for_ms: 30 * MINUTE_MS,
        }
    }
}
