//! Counters, gauges and latency histograms, and their Prometheus text.
//!
//! Labels never hold addresses, hashes or pools. Values are summed locally and added once a tick.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value; values beyond 63 bits are cut.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution of durations, in microseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Latency(Arc<Mutex<Histogram<u64>>>);

impl Default for Latency {
    fn default() -> Latency {
        // An hour is the longest that is told apart; longer durations count as an hour.
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are allowed");
        Latency(Arc::new(Mutex::new(histogram)))
    }
}

impl Latency {
    /// Notes one duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
    }

    /// The duration that the given part (0 to 1) of all notes does not exceed.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(histogram.value_at_quantile(quantile))
    }

    /// How many durations were noted.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[derive(Clone, Debug)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Latency(Latency),
}

#[derive(Debug)]
struct Entry {
    help: &'static str,
    metric: Metric,
}

/// All metrics of a process, by name and labels.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<(&'static str, String), Entry>>>);

impl Registry {
    /// The counter of this name and label (`""` for none); made when first asked for.
    pub fn counter(&self, name: &'static str, label: (&str, &str), help: &'static str) -> Counter {
        match self.get(name, label, help, || Metric::Counter(Counter::default())) {
            Metric::Counter(counter) => counter,
            _ => unreachable!("metric {name} is used with one type"),
        }
    }

    /// The gauge of this name and label.
    pub fn gauge(&self, name: &'static str, label: (&str, &str), help: &'static str) -> Gauge {
        match self.get(name, label, help, || Metric::Gauge(Gauge::default())) {
            Metric::Gauge(gauge) => gauge,
            _ => unreachable!("metric {name} is used with one type"),
        }
    }

    /// The latency distribution of this name and label.
    pub fn latency(&self, name: &'static str, label: (&str, &str), help: &'static str) -> Latency {
        match self.get(name, label, help, || Metric::Latency(Latency::default())) {
            Metric::Latency(latency) => latency,
            _ => unreachable!("metric {name} is used with one type"),
        }
    }

    fn get(
        &self,
        name: &'static str,
        (key, value): (&str, &str),
        help: &'static str,
        make: impl FnOnce() -> Metric,
    ) -> Metric {
        let labels = if key.is_empty() { String::new() } else { format!("{key}={value:?}") };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.entry((name, labels)).or_insert_with(|| Entry { help, metric: make() }).metric.clone()
    }

    /// All metrics in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut described = "";
        for ((name, labels), entry) in entries.iter() {
            if described != *name {
                let kind = match entry.metric {
                    Metric::Counter(_) => "counter",
                    Metric::Gauge(_) => "gauge",
                    Metric::Latency(_) => "summary",
                };
                let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", entry.help);
                described = name;
            }
            write_samples(&mut text, name, labels, &entry.metric);
        }
        text
    }
}

fn write_samples(text: &mut String, name: &str, labels: &str, metric: &Metric) {
    let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = match metric {
        Metric::Counter(counter) => writeln!(text, "{name}{braces} {}", counter.get()),
        Metric::Gauge(gauge) => writeln!(text, "{name}{braces} {}", gauge.get()),
        Metric::Latency(latency) => {
            let comma = if labels.is_empty() { "" } else { "," };
            for quantile in [0.5, 0.99] {
                let seconds = latency.quantile(quantile).as_secs_f64();
                let _ = writeln!(text, "{name}{{{labels}{comma}quantile=\"{quantile}\"}} {seconds}");
            }
            writeln!(text, "{name}_count{braces} {}", latency.count())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text() {
        let registry = Registry::default();
        registry.counter("highwater_blocks_total", ("source", "eth"), "Blocks applied.").add(3);
        registry.gauge("highwater_head", ("", ""), "Height of the head.").set(7);
        let latency = registry.latency("highwater_tick_seconds", ("", ""), "Time of a tick.");
        latency.record(Duration::from_millis(2));
        latency.record(Duration::from_millis(500));
        assert_eq!(
            registry.prometheus(),
            "# HELP highwater_blocks_total Blocks applied.\n# TYPE highwater_blocks_total counter\n\
             highwater_blocks_total{source=\"eth\"} 3\n\
             # HELP highwater_head Height of the head.\n# TYPE highwater_head gauge\nhighwater_head 7\n\
             # HELP highwater_tick_seconds Time of a tick.\n# TYPE highwater_tick_seconds summary\n\
             highwater_tick_seconds{quantile=\"0.5\"} 0.002\nhighwater_tick_seconds{quantile=\"0.99\"} 0.500223\n\
             highwater_tick_seconds_count 2\n"
        );
    }
}
