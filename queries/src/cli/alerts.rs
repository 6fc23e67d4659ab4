//! `highwater alerts`: what was told, what waits, what failed; and what a person does about it, also while the job runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use highwater_engine::clock::unix_time_ms;
use highwater_engine::model::format::timestamp_text;
use highwater_engine::options::parse_duration;
use highwater_sinks::alert::console::{self, Entry, Filter, LedgerError};
use serde_json::json;

use super::run::LEDGER;
use super::{CliError, print};

/// Where the ledger is.
#[derive(Debug, Clone, Args)]
pub(crate) struct LedgerArgs {
    /// The state directory of the job (that of `run --state`)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state: PathBuf,
}

impl LedgerArgs {
    fn path(&self) -> PathBuf {
        self.state.join(LEDGER)
    }
}

/// Which deliveries.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Of this alert
    #[arg(long, value_name = "NAME")]
    alert: Option<String>,
    /// Of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// About this group
    #[arg(long, value_name = "KEY")]
    group: Option<String>,
}

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List deliveries, the newest first
    List {
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        filter: FilterArgs,
        /// Only those in this state: waiting, sending, sent, cancelled, suppressed, dead
        #[arg(long = "in", value_name = "STATE", value_parser = STATES)]
        in_state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// As JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Show one delivery with its attempts
    Show {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Its number, key or notification id
        which: String,
    },
    /// Send again what waits or is dead
    Retry {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Number, key or notification id of one delivery
        #[arg(required_unless_present = "dead")]
        which: Option<String>,
        /// All dead letters
        #[arg(long, conflicts_with = "which")]
        dead: bool,
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Note that somebody has taken a notification on, and tell channels that know of it
    Ack {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Number, key or notification id
        which: String,
    },
    /// Keep back what comes from now on about an alert, a group, or both
    Mute {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// About this alert
        #[arg(long, value_name = "NAME")]
        alert: Option<String>,
        /// About this group
        #[arg(long, value_name = "KEY")]
        group: Option<String>,
        /// So long (default: until `unmute`)
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_for)]
        lasts_ms: Option<i64>,
    },
    /// List mutes, or take one away
    Unmute {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Its number (none: list them)
        number: Option<i64>,
    },
    /// Take deliveries out of the ledger that were done with so long ago
    Forget {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Age; corrections of what is forgotten are not told, so well beyond finality
        #[arg(long, value_name = "DURATION", value_parser = parse_for)]
        older_than: i64,
    },
}

const STATES: [&str; 6] = ["waiting", "sending", "sent", "cancelled", "suppressed", "dead"];

fn parse_for(text: &str) -> Result<i64, String> {
    let duration = parse_duration(text).ok_or_else(|| "expected a duration, such as '2 hours'".to_owned())?;
    i64::try_from(duration.as_millis()).map_err(|_| "that is too long".to_owned())
}

/// Does it.
pub(super) fn execute(command: &AlertsCommand) -> Result<(), CliError> {
    let now_ms = unix_time_ms();
    match command {
        AlertsCommand::List { ledger, filter, in_state, limit, json } => {
            let filter = Filter { state: in_state.clone(), ..filter.filter() };
            let entries = of(ledger, |path| console::list(path, &filter, *limit))?;
            print(&if *json { json_lines(&entries) } else { table(&entries) })
        }
        AlertsCommand::Show { ledger, which } => show(ledger, which),
        AlertsCommand::Retry { ledger, which: None, filter, .. } => {
            let count = of(ledger, |path| console::replay_dead(path, &filter.filter(), now_ms))?;
            print(&format!("{count} dead letters are sent again\n"))
        }
        AlertsCommand::Retry { ledger, which: Some(which), .. } => {
            done(of(ledger, |path| console::retry(path, which, now_ms))?, which, "is sent now", "waits or is dead")
        }
        AlertsCommand::Ack { ledger, which } => {
            done(of(ledger, |path| console::ack(path, which, now_ms))?, which, "is taken on", "was not taken on before")
        }
        AlertsCommand::Mute { alert: None, group: None, .. } => Err(CliError::MuteWhat),
        AlertsCommand::Mute { ledger, alert, group, lasts_ms } => {
            let until_ms = lasts_ms.map(|lasts_ms| now_ms.saturating_add(lasts_ms));
            let number = of(ledger, |path| console::mute(path, alert.as_deref(), group.as_deref(), until_ms, now_ms))?;
            print(&format!("mute {number}\n"))
        }
        AlertsCommand::Unmute { ledger, number: Some(number) } => {
            let done_it = of(ledger, |path| console::unmute(path, *number))?;
            done(done_it, &number.to_string(), "is taken away", "is a mute")
        }
        AlertsCommand::Unmute { ledger, number: None } => {
            let mutes = of(ledger, |path| console::mutes(path, now_ms))?;
            let line = |mute: &console::Mute| {
                let all = |text: &Option<String>| text.clone().unwrap_or_else(|| "all".to_owned());
                let until = mute.until_ms.map_or_else(|| "taken away".to_owned(), timestamp_text);
                format!("{}  alert {}, group {}, until {until}\n", mute.number, all(&mute.alert), all(&mute.group_key))
            };
            print(&mutes.iter().map(line).collect::<String>())
        }
        AlertsCommand::Forget { ledger, older_than } => {
            let count = of(ledger, |path| console::forget(path, now_ms.saturating_sub(*older_than)))?;
            print(&format!("{count} deliveries are forgotten\n"))
        }
    }
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter { state: None, alert: self.alert.clone(), sink: self.sink.clone(), group_key: self.group.clone() }
    }
}

fn of<T>(ledger: &LedgerArgs, work: impl FnOnce(&Path) -> Result<T, LedgerError>) -> Result<T, CliError> {
    work(&ledger.path()).map_err(|source| CliError::Ledger(Box::new(source)))
}

fn done(done: bool, which: &str, what: &str, needed: &'static str) -> Result<(), CliError> {
    if done {
        print(&format!("{which} {what}\n"))
    } else {
        Err(CliError::NoDelivery { which: which.to_owned(), needed })
    }
}

fn show(ledger: &LedgerArgs, which: &str) -> Result<(), CliError> {
    let Some((entry, attempts)) = of(ledger, |path| console::show(path, which))? else {
        return Err(CliError::NoDelivery { which: which.to_owned(), needed: "is in the ledger" });
    };
    let mut value = value(&entry);
    value["message"] = serde_json::to_value(&entry.message).unwrap_or_default();
    value["receipt"] = entry.receipt.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let attempt = |attempt: &console::Attempt| json!({ "number": attempt.number, "at": timestamp_text(attempt.at_ms), "took_ms": attempt.took_ms, "error": attempt.error });
    value["attempts"] = attempts.iter().map(attempt).collect();
    print(&format!("{value:#}\n"))
}

/// One delivery without its texts.
fn value(entry: &Entry) -> serde_json::Value {
    json!({
        "number": entry.number, "sink": entry.sink, "alert": entry.message.alert, "group": entry.message.group_key,
        "action": entry.action, "kind": entry.message.kind, "state": entry.state, "key": entry.key,
        "corrects": entry.corrects, "standing": entry.standing, "held": entry.held,
        "suppressed_by": entry.suppressed_by, "tries": entry.attempts,
        "next_attempt": entry.next_attempt_ms.map(timestamp_text), "last_error": entry.last_error,
        "created": timestamp_text(entry.created_ms), "sent": entry.sent_ms.map(timestamp_text),
        "acked": entry.acked_ms.map(timestamp_text), "severity": entry.message.severity,
        "title": entry.message.title, "block": entry.message.block_number,
    })
}

fn json_lines(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{}\n", value(entry))).collect()
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no deliveries\n".to_owned();
    }
    let head = ["number", "created", "state", "action", "severity", "sink", "title"].map(str::to_owned);
    let rows = entries.iter().map(|entry| {
        let state = match (&entry.suppressed_by, entry.acked_ms) {
            (Some(reason), _) => format!("{} ({reason})", entry.state),
            (None, Some(_)) => format!("{}, acked", entry.state),
            (None, None) => entry.state.clone(),
        };
        let action = if entry.action == "tell" { word(entry) } else { entry.action.clone() };
        [
            entry.number.to_string(),
            timestamp_text(entry.created_ms),
            state,
            action,
            entry.message.severity.clone(),
            entry.sink.clone(),
            entry.message.title.clone(),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.push_str(&row[6]);
        text.push('\n');
    }
    text
}

/// `fire`, `escalate`, `update`, `resolve`.
fn word(entry: &Entry) -> String {
    serde_json::to_value(entry.message.kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
