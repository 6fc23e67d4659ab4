//! What a process has cost, and quantiles of samples.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux counts the CPU time of processes in hundredths of a second, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process has cost so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU seconds in user mode.
    pub(crate) user_s: f64,
    /// CPU seconds in the kernel.
    pub(crate) system_s: f64,
    /// The most memory it held at once, in megabytes.
    pub(crate) peak_rss_mb: f64,
}

impl Cost {
    /// Asks the kernel.
    pub(crate) fn so_far() -> anyhow::Result<Cost> {
        let stat = fs::read_to_string("/proc/self/stat").context("reading the process's times")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<f64> {
            let field = fields.get(index).context("the kernel's line of process times is too short")?;
            Ok(field.parse::<f64>()? / TICKS_PER_SECOND)
        };
        let status = fs::read_to_string("/proc/self/status").context("reading the process's memory")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.split_whitespace().next()).context("the kernel names no peak memory")?;
        Ok(Cost { user_s: ticks(11)?, system_s: ticks(12)?, peak_rss_mb: peak.parse::<f64>()? / 1024.0 })
    }
}

/// Samples in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Samples {
        samples.sort_unstable();
        Samples(samples)
    }

    /// The sample below which a share of all lies, in microseconds; 0 without samples.
    pub(crate) fn micros(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).map_or(0.0, |sample| tenths(sample.as_secs_f64() * 1e6))
    }
}

/// With one digit after the point.
pub(crate) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// With three digits after the point.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
