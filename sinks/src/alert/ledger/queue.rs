//! The sender's side of the ledger: what is due, and what became of it.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::super::Message;
use super::super::channel::{Action, Outgoing, Receipt, Told};
use super::book::message;

/// What is sent next, with what its channel needs for it.
#[derive(Clone, Debug)]
pub(in super::super) struct Due {
    pub(in super::super) seq: i64,
    /// Attempts so far, this one included.
    pub(in super::super) attempts: u64,
    /// Whether the receiver may have it from an earlier attempt.
    pub(in super::super) maybe: bool,
    pub(in super::super) outgoing: Outgoing,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(in super::super) enum Outcome {
    /// It was taken.
    Sent(Receipt),
    /// It is tried again at a time; whether the receiver may have it, and what went wrong.
    Again { at_ms: i64, maybe: bool, error: String },
    /// It is not tried again.
    Dead { maybe: bool, error: String },
}

/// The queue of one sink in one transaction.
pub(in super::super) struct Queue<'a> {
    pub(in super::super) transaction: &'a Transaction<'a>,
    pub(in super::super) sink: &'a str,
    pub(in super::super) now_ms: i64,
}

/// The oldest open delivery of each group: those behind it wait for it.
const HEADS: &str = "SELECT min(seq) FROM deliveries WHERE sink = ?1 AND state IN ('waiting', 'sending')
                     GROUP BY alert, group_key";

/// A row of `deliveries` that is due.
struct Candidate {
    seq: i64,
    key: Option<String>,
    action: String,
    root: Option<i64>,
    attempts: u64,
    maybe: bool,
    message: Message,
}

impl Queue<'_> {
    /// What a process left behind while it was sending, is to be sent again.
    pub(in super::super) fn recover(&self) -> rusqlite::Result<usize> {
        let sql = "UPDATE deliveries SET state = 'waiting', next_at_ms = ?2 WHERE sink = ?1 AND state = 'sending'";
        self.transaction.execute(sql, params![self.sink, self.now_ms])
    }

    /// Takes at most so many that are due, of different groups; from now on they may have been received.
    pub(in super::super) fn claim(&self, limit: usize) -> rusqlite::Result<Vec<Due>> {
        let sql = format!(
            "SELECT seq, key, action, root, attempts, maybe, message FROM deliveries WHERE seq IN ({HEADS})
             AND state = 'waiting' AND held = 0 AND next_at_ms <= ?2 ORDER BY seq LIMIT ?3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let candidates: Vec<Candidate> = self
            .transaction
            .prepare_cached(&sql)?
            .query_map(params![self.sink, self.now_ms, limit], read_candidate)?
            .collect::<rusqlite::Result<_>>()?;
        let mut claimed = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            match self.outgoing(&candidate)? {
                Some(outgoing) => {
                    let sql = "UPDATE deliveries SET state = 'sending', maybe = 1, attempts = attempts + 1,
                               changed_at_ms = ?2 WHERE seq = ?1";
                    self.transaction.prepare_cached(sql)?.execute(params![candidate.seq, self.now_ms])?;
                    let Candidate { seq, attempts, maybe, .. } = candidate;
                    claimed.push(Due { seq, attempts: attempts + 1, maybe, outgoing });
                }
                None => self.cancel(candidate.seq)?,
            }
        }
        Ok(claimed)
    }

    /// Nobody was told what this would correct.
    fn cancel(&self, seq: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE deliveries SET state = 'cancelled', key = NULL, changed_at_ms = ?2 WHERE seq = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![seq, self.now_ms]).map(drop)
    }

    fn outgoing(&self, candidate: &Candidate) -> rusqlite::Result<Option<Outgoing>> {
        let told = match candidate.root {
            None => None,
            Some(root) => match self.told(root)? {
                Some(told) => Some(told),
                None => return Ok(None),
            },
        };
        let action = match (candidate.action.as_str(), told) {
            ("amend", Some(told)) => Action::Amend(told),
            ("withdraw", Some(told)) => Action::Withdraw(told),
            ("acknowledge", _) => Action::Acknowledge,
            _ => Action::Tell,
        };
        Ok(Some(Outgoing {
            message: candidate.message.clone(),
            idempotency_key: candidate.key.clone().unwrap_or_else(|| candidate.message.notification_id.clone()),
            action,
            story: self.story(candidate)?,
            sent_at_s: self.now_ms.div_euclid(1000),
        }))
    }

    /// What was told, if it was.
    fn told(&self, root: i64) -> rusqlite::Result<Option<Told>> {
        let sql = "SELECT key, receipt FROM deliveries WHERE seq = ?1 AND state = 'sent'";
        let found = self.transaction.prepare_cached(sql)?.query_row([root], |row| {
            let key: Option<String> = row.get(0)?;
            Ok(Told { idempotency_key: key.unwrap_or_default(), receipt: receipt(row, 1)? })
        });
        found.optional()
    }

    /// The receipt of the first message of the same story.
    fn story(&self, candidate: &Candidate) -> rusqlite::Result<Option<Receipt>> {
        let sql = "SELECT receipt FROM deliveries WHERE sink = ?1 AND story_id = ?2 AND action = 'tell'
                   AND state = 'sent' AND seq <> ?3 ORDER BY seq LIMIT 1";
        let values = params![self.sink, candidate.message.story_id, candidate.seq];
        self.transaction.prepare_cached(sql)?.query_row(values, |row| receipt(row, 0)).optional()
    }

    /// When something is due next.
    pub(in super::super) fn next_due_ms(&self) -> rusqlite::Result<Option<i64>> {
        let sql =
            format!("SELECT min(next_at_ms) FROM deliveries WHERE seq IN ({HEADS}) AND state = 'waiting' AND held = 0");
        self.transaction.prepare_cached(&sql)?.query_row([self.sink], |row| row.get(0))
    }

    /// Notes what became of an attempt.
    pub(in super::super) fn record(&self, due: &Due, took_ms: i64, outcome: &Outcome) -> rusqlite::Result<()> {
        let (seq, now_ms) = (due.seq, self.now_ms);
        let error = match outcome {
            Outcome::Sent(receipt) => {
                let sql = "UPDATE deliveries SET state = 'sent', receipt = ?2, sent_at_ms = ?3, changed_at_ms = ?3
                           WHERE seq = ?1";
                self.transaction.prepare_cached(sql)?.execute(params![seq, receipt.0.to_string(), now_ms])?;
                None
            }
            Outcome::Again { at_ms, maybe, error } => {
                let sql = "UPDATE deliveries SET state = 'waiting', next_at_ms = ?2, last_error = ?3, maybe = ?4,
                           changed_at_ms = ?5 WHERE seq = ?1";
                self.transaction.prepare_cached(sql)?.execute(params![seq, at_ms, error, maybe, now_ms])?;
                self.drop_if_gone(seq, *maybe)?;
                Some(error)
            }
            Outcome::Dead { maybe, error } => {
                let sql = "UPDATE deliveries SET state = 'dead', last_error = ?2, maybe = ?3, changed_at_ms = ?4
                           WHERE seq = ?1";
                self.transaction.prepare_cached(sql)?.execute(params![seq, error, maybe, now_ms])?;
                Some(error)
            }
        };
        let sql = "INSERT OR REPLACE INTO attempts (seq, number, at_ms, took_ms, error) VALUES (?1, ?2, ?3, ?4, ?5)";
        let number = i64::try_from(due.attempts).unwrap_or(i64::MAX);
        let values = params![seq, number, now_ms - took_ms, took_ms, error];
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// What was taken back while it was on its way, and surely did not arrive, is never told.
    fn drop_if_gone(&self, seq: i64, maybe: bool) -> rusqlite::Result<()> {
        if maybe {
            return Ok(());
        }
        let sql = "UPDATE deliveries SET state = 'cancelled', key = NULL
                   WHERE seq = ?1 AND action = 'tell' AND standing = 0";
        self.transaction.prepare_cached(sql)?.execute([seq]).map(drop)
    }

    /// How many wait or are on their way.
    pub(in super::super) fn open(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM deliveries WHERE sink = ?1 AND state IN ('waiting', 'sending')";
        self.transaction.prepare_cached(sql)?.query_row([self.sink], |row| row.get(0)).map(i64::unsigned_abs)
    }

    /// How many ended in this state.
    pub(in super::super) fn count(&self, state: &str) -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM deliveries WHERE sink = ?1 AND state = ?2";
        self.transaction.prepare_cached(sql)?.query_row([self.sink, state], |row| row.get(0)).map(i64::unsigned_abs)
    }
}

fn read_candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let attempts: i64 = row.get(4)?;
    Ok(Candidate {
        seq: row.get(0)?,
        key: row.get(1)?,
        action: row.get(2)?,
        root: row.get(3)?,
        attempts: attempts.unsigned_abs(),
        maybe: row.get(5)?,
        message: message(row, 6)?,
    })
}

fn receipt(row: &Row<'_>, column: usize) -> rusqlite::Result<Receipt> {
    let text: Option<String> = row.get(column)?;
    Ok(Receipt(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()))
}
