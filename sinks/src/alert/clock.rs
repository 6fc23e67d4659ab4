//! The clock of deliveries, which a test may replace.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use highwater_engine::clock::unix_time_ms;

/// Wall time as deliveries see it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;

    /// Ends at this time, at the earliest.
    fn sleep_until(&self, time_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        unix_time_ms()
    }

    fn sleep_until(&self, time_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // One more, so that the time has surely come in whole milliseconds.
        let pause_ms = time_ms.saturating_sub(unix_time_ms()).saturating_add(1);
        Box::pin(tokio::time::sleep(Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0))))
    }
}
