//! What a person sees while a job runs, and the summary at its end.

use std::io::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use highwater_engine::Tick;
use highwater_engine::job::{Observer, Summary, TickReport};
use highwater_engine::model::format::grouped;
use highwater_engine::sink::SinkReport;
use indicatif::{ProgressBar, ProgressStyle};

use super::run::Outcome;

/// A progress bar on standard error, or nothing.
pub(super) struct Watch {
    bar: Option<ProgressBar>,
    skipped: u64,
}

impl Watch {
    /// A bar of `blocks` blocks (or a counter, if their number is not known).
    pub(super) fn new(shown: bool, colour: bool, blocks: Option<u64>) -> Watch {
        if !shown {
            return Watch { bar: None, skipped: 0 };
        }
        let bar = match blocks {
            Some(blocks) => ProgressBar::new(blocks),
            None => ProgressBar::no_length(),
        };
        let bar_style = if colour { "{wide_bar:.cyan/dim}" } else { "{wide_bar}" };
        let place =
            if blocks.is_some() { format!("{bar_style} {{pos}}/{{len}}") } else { "{spinner} {pos}".to_owned() };
        let template = format!("{{elapsed:>4}} {place} blocks {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Watch { bar: Some(bar), skipped: 0 }
    }

    /// The bar, so that others can print beside it.
    pub(super) fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    /// Takes the bar off the screen.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Watch {
    fn on_tick(&mut self, report: &TickReport<'_>) {
        if let Some(reorg) = &report.progress.reorg {
            tracing::info!(
                ancestor = reorg.ancestor_number,
                depth = reorg.depth,
                replaced_by = reorg.replaced_by,
                "reorg followed"
            );
        }
        let Some(bar) = &self.bar else { return };
        let summary = report.summary;
        bar.set_position(summary.blocks);
        let reorgs = if summary.reorgs > 0 { format!(", {} reorgs", summary.reorgs) } else { String::new() };
        bar.set_message(format!("block {}, {}/s{reorgs}", report.progress.head_number, rate(summary)));
    }

    fn on_skipped(&mut self, count: u64, reason: &str) {
        self.skipped += count;
        tracing::warn!(count, reason, "skipped");
    }

    fn on_checkpoint(&mut self, tick: Tick) {
        tracing::debug!(tick, "checkpoint taken");
    }
}

fn rate(summary: &Summary) -> String {
    let seconds = summary.elapsed.as_secs_f64().max(1e-9);
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    let per_second = summary.rows as f64 / seconds;
    format!("{} rows", short(per_second))
}

/// `950`, `12.3 k`, `4.56 M`.
fn short(number: f64) -> String {
    if number >= 1e6 {
        format!("{:.2} M", number / 1e6)
    } else if number >= 1e4 {
        format!("{:.1} k", number / 1e3)
    } else {
        format!("{number:.0}")
    }
}

/// The summary for a person.
pub(super) fn print_summary(outcome: &Outcome, colour: bool) {
    let Outcome { summary, errors, skipped_logs, .. } = outcome;
    let bold = if colour { Style::new().bold() } else { Style::new() };
    let dim = if colour { Style::new().dimmed() } else { Style::new() };
    let warn = if colour { AnsiColor::Yellow.on_default() } else { Style::new() };
    let mut out = anstream::AutoStream::new(std::io::stderr(), anstream::ColorChoice::Always);
    let mut lines = vec![
        ("blocks", format!("{} ({} taken back)", grouped(summary.blocks), grouped(summary.blocks_reverted))),
        ("reorgs", grouped(summary.reorgs)),
        ("rows", format!("{} read ({} taken back)", grouped(summary.rows), grouped(summary.rows_reverted))),
        ("changes", format!("{} inserted, {} retracted", grouped(summary.inserted), grouped(summary.retracted))),
        ("speed", format!("{}/s over {:.2} s", rate(summary), summary.elapsed.as_secs_f64())),
        ("per tick", format!("p50 {}, p99 {}", millis(summary.tick_p50), millis(summary.tick_p99))),
    ];
    for (name, report) in shown_sinks(summary) {
        lines.push((name.as_str(), report.place.clone()));
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let state = if summary.stopped { "stopped" } else { "done" };
    // Nothing can be done about a closed standard error.
    let _ = writeln!(out, "{bold}{state}{bold:#}");
    for (name, text) in lines {
        let _ = writeln!(out, "  {dim}{name:>width$}{dim:#}  {text}");
    }
    if summary.skipped > 0 {
        let _ = writeln!(out, "  {warn}{} things were skipped by the source; see the log{warn:#}", summary.skipped);
    }
    for (event, count) in skipped_logs.iter().filter(|(_, count)| *count > 0) {
        let count = grouped(*count);
        let _ = writeln!(out, "  {warn}{count} logs only look like {event}; see {event}_skipped{warn:#}");
    }
    for (view, count) in errors.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(out, "  {warn}{count} rows of {view} could not be evaluated; see {view}_errors{warn:#}");
    }
}

/// The summary for a program: one JSON line.
pub(super) fn summary_json(outcome: &Outcome) -> String {
    let Outcome { summary, errors, skipped_logs, .. } = outcome;
    let counts = |counts: &[(String, u64)]| -> serde_json::Map<String, serde_json::Value> {
        counts.iter().map(|(name, count)| (name.clone(), (*count).into())).collect()
    };
    let sinks: serde_json::Map<String, serde_json::Value> = shown_sinks(summary)
        .map(|(name, report)| {
            let facts = serde_json::json!({
                "inserted": report.inserted, "retracted": report.retracted, "place": report.place,
            });
            (name.clone(), facts)
        })
        .collect();
    serde_json::json!({"summary": {
        "stopped": summary.stopped,
        "blocks": summary.blocks,
        "blocks_reverted": summary.blocks_reverted,
        "reorgs": summary.reorgs,
        "rows": summary.rows,
        "rows_reverted": summary.rows_reverted,
        "inserted": summary.inserted,
        "retracted": summary.retracted,
        "skipped": summary.skipped,
        "skipped_logs": counts(skipped_logs),
        "errors": counts(errors),
        "ticks": summary.ticks,
        "last_tick": summary.last_tick,
        "elapsed_ms": millis_number(summary.elapsed),
        "tick_p50_ms": millis_number(summary.tick_p50),
        "tick_p99_ms": millis_number(summary.tick_p99),
        "sinks": sinks,
    }})
    .to_string()
}

/// The sinks of the job; what only counts errors has no place.
fn shown_sinks(summary: &Summary) -> impl Iterator<Item = &(String, SinkReport)> {
    summary.sinks.iter().filter(|(_, report)| !report.place.is_empty())
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", millis_number(duration))
}

fn millis_number(duration: Duration) -> f64 {
    // Microseconds are what is measured.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(short(950.4), "950");
        assert_eq!(short(12_345.0), "12.3 k");
        assert_eq!(short(4_560_000.0), "4.56 M");
    }
}
