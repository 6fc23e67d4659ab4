//! What `highwater alerts` does: reads and changes the ledger of a job, also while the job runs.
//!
//! A running job sees a change within half a second; without one it is there at the next start.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};

use super::Message;
use super::ledger::Ledger;
pub use super::ledger::LedgerError;
use super::ledger::book::message;

/// One delivery: a notification, an amendment, a withdrawal or an acknowledgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number in the ledger.
    pub number: i64,
    /// The sink.
    pub sink: String,
    /// `tell`, `amend`, `withdraw`, `acknowledge`.
    pub action: String,
    /// `waiting`, `sending`, `sent`, `cancelled`, `suppressed`, `dead`.
    pub state: String,
    /// Idempotency key; none if nobody was told nor will be.
    pub key: Option<String>,
    /// The delivery that it corrects or acknowledges.
    pub corrects: Option<i64>,
    /// Of a `tell`: whether it is so on the canonical chain.
    pub standing: bool,
    /// Whether it waits until a restarted job has found it again.
    pub held: bool,
    /// Why it was suppressed.
    pub suppressed_by: Option<String>,
    /// Attempts so far.
    pub attempts: i64,
    /// When the next attempt is made, milliseconds since the epoch, if it waits.
    pub next_attempt_ms: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What the service answered, as JSON.
    pub receipt: Option<String>,
    /// When it came into the ledger, milliseconds since the epoch.
    pub created_ms: i64,
    /// When it was taken by its channel.
    pub sent_ms: Option<i64>,
    /// When a person took it on.
    pub acked_ms: Option<i64>,
    /// What is told.
    pub message: Message,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From 1 on.
    pub number: i64,
    /// When it began, milliseconds since the epoch.
    pub at_ms: i64,
    /// How long it took.
    pub took_ms: i64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Which entries are wanted; empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those in this state.
    pub state: Option<String>,
    /// Those of this alert.
    pub alert: Option<String>,
    /// Those of this sink.
    pub sink: Option<String>,
    /// Those about this group.
    pub group_key: Option<String>,
}

/// Which notifications are kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Its number.
    pub number: i64,
    /// Those of this alert; none: of all.
    pub alert: Option<String>,
    /// Those about this group; none: about all.
    pub group_key: Option<String>,
    /// Until then, milliseconds since the epoch; none: until it is taken away.
    pub until_ms: Option<i64>,
}

const COLUMNS: &str = "seq, sink, action, state, key, root, standing, held, suppressed_by, attempts,
    CASE WHEN state = 'waiting' THEN next_at_ms END, last_error, receipt, created_at_ms, sent_at_ms, acked_at_ms, message";

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        number: row.get(0)?,
        sink: row.get(1)?,
        action: row.get(2)?,
        state: row.get(3)?,
        key: row.get(4)?,
        corrects: row.get(5)?,
        standing: row.get(6)?,
        held: row.get(7)?,
        suppressed_by: row.get(8)?,
        attempts: row.get(9)?,
        next_attempt_ms: row.get(10)?,
        last_error: row.get(11)?,
        receipt: row.get(12)?,
        created_ms: row.get(13)?,
        sent_ms: row.get(14)?,
        acked_ms: row.get(15)?,
        message: message(row, 16)?,
    })
}

/// The newest entries that pass the filter, newest first, at most `limit`.
///
/// # Errors
/// If the ledger is absent or cannot be read.
pub fn list(ledger: &Path, filter: &Filter, limit: u32) -> Result<Vec<Entry>, LedgerError> {
    Ledger::open_existing(ledger)?.read(|transaction| {
        let (condition, mut values) = condition(filter);
        values.push(Value::from(limit));
        let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE {condition} ORDER BY seq DESC LIMIT ?");
        transaction.prepare(&sql)?.query_map(params_from_iter(values), read)?.collect()
    })
}

/// The entry of this number, notification id or idempotency key (the newest), with its attempts.
///
/// # Errors
/// If the ledger is absent or cannot be read.
pub fn show(ledger: &Path, which: &str) -> Result<Option<(Entry, Vec<Attempt>)>, LedgerError> {
    Ledger::open_existing(ledger)?.read(|transaction| {
        let Some(entry) = find(transaction, which)? else { return Ok(None) };
        let sql = "SELECT number, at_ms, took_ms, error FROM attempts WHERE seq = ?1 ORDER BY at_ms, number";
        let attempt = |row: &Row<'_>| {
            Ok(Attempt { number: row.get(0)?, at_ms: row.get(1)?, took_ms: row.get(2)?, error: row.get(3)? })
        };
        let attempts =
            transaction.prepare(sql)?.query_map([entry.number], attempt)?.collect::<rusqlite::Result<_>>()?;
        Ok(Some((entry, attempts)))
    })
}

/// Has an entry sent now: one that waits or is dead. False if there is none such, or its notification was
/// taken back meanwhile.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn retry(ledger: &Path, which: &str, now_ms: i64) -> Result<bool, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| {
        let Some(entry) = find(transaction, which)? else { return Ok(false) };
        let sql = format!("{RETRY} AND seq = ?2");
        Ok(transaction.execute(&sql, params![now_ms, entry.number])? > 0)
    })
}

/// Has all dead letters sent again that pass the filter and still hold (dead-letter replay), with their old
/// keys. Gives how many.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn replay_dead(ledger: &Path, filter: &Filter, now_ms: i64) -> Result<usize, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| {
        let (condition, values) = condition(filter);
        let values = std::iter::once(Value::from(now_ms)).chain(values);
        let sql = format!("{RETRY} AND state = 'dead' AND {condition}");
        transaction.execute(&sql, params_from_iter(values))
    })
}

/// A dead notification that does not hold any more stays dead.
const RETRY: &str = "UPDATE deliveries SET attempts = CASE WHEN state = 'dead' THEN 0 ELSE attempts END,
    state = 'waiting', next_at_ms = ?1, changed_at_ms = ?1
    WHERE state IN ('waiting', 'dead') AND (action <> 'tell' OR standing = 1 OR state = 'waiting')";

/// Notes that a person has taken a notification on, and has its channel say so if it was told. False if there
/// is none such or it was taken on before.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn ack(ledger: &Path, which: &str, now_ms: i64) -> Result<bool, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| {
        let Some(entry) = find(transaction, which)? else { return Ok(false) };
        let root = entry.corrects.unwrap_or(entry.number);
        let noted = "UPDATE deliveries SET acked_at_ms = ?2, changed_at_ms = ?2
                     WHERE seq = ?1 AND acked_at_ms IS NULL AND action = 'tell'";
        if transaction.execute(noted, params![root, now_ms])? == 0 {
            return Ok(false);
        }
        let queued = "INSERT INTO deliveries (sink, key, base, notification_id, action, root, state, standing, alert,
                      group_key, story_id, block_number, message, next_at_ms, created_at_ms, changed_at_ms)
                      SELECT sink, key || '/ack', base, notification_id, 'acknowledge', seq, 'waiting', 0, alert,
                      group_key, story_id, block_number, coalesce(shown, message), ?2, ?2, ?2 FROM deliveries
                      WHERE seq = ?1 AND key IS NOT NULL AND standing = 1 AND state IN ('waiting', 'sending', 'sent')";
        transaction.execute(queued, params![root, now_ms])?;
        Ok(true)
    })
}

/// Keeps back what comes from now on about an alert, a group or both; gives the number of the mute.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn mute(
    ledger: &Path,
    alert: Option<&str>,
    group_key: Option<&str>,
    until_ms: Option<i64>,
    now_ms: i64,
) -> Result<i64, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| {
        transaction.execute("DELETE FROM mutes WHERE until_ms <= ?1", [now_ms])?;
        let sql = "INSERT INTO mutes (alert, group_key, until_ms, created_at_ms) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(sql, params![alert, group_key, until_ms, now_ms])?;
        Ok(transaction.last_insert_rowid())
    })
}

/// Takes a mute away. False if there is none such.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn unmute(ledger: &Path, number: i64) -> Result<bool, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| {
        Ok(transaction.execute("DELETE FROM mutes WHERE id = ?1", [number])? > 0)
    })
}

/// The mutes that hold now.
///
/// # Errors
/// If the ledger is absent or cannot be read.
pub fn mutes(ledger: &Path, now_ms: i64) -> Result<Vec<Mute>, LedgerError> {
    Ledger::open_existing(ledger)?.read(|transaction| {
        let sql =
            "SELECT id, alert, group_key, until_ms FROM mutes WHERE until_ms IS NULL OR until_ms > ?1 ORDER BY id";
        let read = |row: &Row<'_>| {
            Ok(Mute { number: row.get(0)?, alert: row.get(1)?, group_key: row.get(2)?, until_ms: row.get(3)? })
        };
        transaction.prepare(sql)?.query_map([now_ms], read)?.collect()
    })
}

/// Takes out what has been done with since a time: entries that were sent, cancelled, suppressed or are dead, and
/// have not changed since. Of what is forgotten a reorg is not corrected any more, so the time should be well before
/// the newest final block. Gives how many.
///
/// # Errors
/// If the ledger is absent or cannot be written.
pub fn forget(ledger: &Path, before_ms: i64) -> Result<usize, LedgerError> {
    Ledger::open_existing(ledger)?.transaction("writing to", |transaction| forget_in(transaction, before_ms))
}

fn forget_in(transaction: &Transaction<'_>, before_ms: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM deliveries WHERE state NOT IN ('waiting', 'sending') AND changed_at_ms < ?1
               AND NOT EXISTS (SELECT 1 FROM deliveries later WHERE later.root = deliveries.seq
                               AND (later.state IN ('waiting', 'sending') OR later.changed_at_ms >= ?1))";
    let forgotten = transaction.execute(sql, [before_ms])?;
    transaction.execute("DELETE FROM attempts WHERE seq NOT IN (SELECT seq FROM deliveries)", [])?;
    Ok(forgotten)
}

fn find(connection: &Connection, which: &str) -> rusqlite::Result<Option<Entry>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE seq = ?1 OR key = ?2 OR (notification_id = ?2 AND action = 'tell')
         ORDER BY seq = ?1 DESC, key IS ?2 DESC, seq DESC LIMIT 1"
    );
    let number: Option<i64> = which.parse().ok();
    connection.prepare(&sql)?.query_row(params![number, which], read).optional()
}

/// The condition of a filter, and the values of its question marks.
fn condition(filter: &Filter) -> (String, Vec<Value>) {
    let Filter { state, alert, sink, group_key } = filter;
    let given = [("state", state), ("alert", alert), ("sink", sink), ("group_key", group_key)];
    let mut values = Vec::new();
    let mut condition = "1".to_owned();
    for (column, value) in given {
        if let Some(value) = value {
            condition.push_str(&format!(" AND {column} = ?"));
            values.push(Value::from(value.clone()));
        }
    }
    (condition, values)
}
