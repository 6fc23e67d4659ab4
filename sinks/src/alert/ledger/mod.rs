//! The ledger: what each sink was told by the dataflow, what it has to tell, and what it has told.
//!
//! One SQLite file for all sinks of a job. SQLite, because `highwater alerts` reads and writes it from another
//! process while the job runs, which the embedded stores written in Rust that are worth having (redb, fjall)
//! forbid. It is opened with a write-ahead log (readers never wait), `synchronous = FULL` (what is committed
//! survives a power cut, which at-least-once rests on) and a busy time-out (a second process waits its turn).
//! Within a process all users of a file share one connection.
//!
//! | table | a row is |
//! |---|---|
//! | `statements` | a notification while the dataflow asserts it: an interval of turns |
//! | `deliveries` | one thing to tell: a notification, an amendment, a withdrawal, an acknowledgement |
//! | `attempts` | one attempt at a delivery |
//! | `doubts` | a notification of which a former run knew more than this one yet does |
//! | `positions` | how far the ledger of a sink is |
//! | `mutes` | what `highwater alerts mute` said |
//!
//! A *turn* is one transaction of the outbox; it never goes back, and is what a checkpoint remembers.
//! A sink that is no longer in the job leaves its rows behind. State: a row in `deliveries` for every notification; [`console::forget`](super::console::forget) takes
//! old ones out. Statements go when their block is final.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use highwater_engine::error::{Class, Classified};
use highwater_engine::sink::SinkError;
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub(super) mod book;
pub(super) mod queue;
mod reconcile;

/// Number of the form of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 1;

/// How long a process waits while another one writes.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE statements (
    sink TEXT NOT NULL, notification_id TEXT NOT NULL, message TEXT NOT NULL, block_number INTEGER NOT NULL,
    came_turn INTEGER NOT NULL, gone_turn INTEGER,
    PRIMARY KEY (sink, notification_id, came_turn)
) WITHOUT ROWID;
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL,
    key TEXT,                           -- idempotency key; none if nobody was or will be told
    base TEXT NOT NULL,                 -- the notification the key was made for
    notification_id TEXT NOT NULL,      -- the notification it tells about now
    action TEXT NOT NULL,               -- tell, amend, withdraw, acknowledge
    root INTEGER,                       -- of all but tell: the told delivery it is about
    state TEXT NOT NULL,                -- waiting, sending, sent, cancelled, suppressed, dead
    standing INTEGER NOT NULL,          -- of tell: whether it is so on the canonical chain
    held INTEGER NOT NULL DEFAULT 0,    -- not sent while its notification is in doubt
    maybe INTEGER NOT NULL DEFAULT 0,   -- whether the receiver may have it
    alert TEXT NOT NULL, group_key TEXT NOT NULL, story_id TEXT NOT NULL, block_number INTEGER NOT NULL,
    message TEXT NOT NULL,              -- what is told
    shown TEXT,                         -- of tell: what holds since it was amended
    suppressed_by TEXT,
    receipt TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at_ms INTEGER NOT NULL,
    last_error TEXT,
    created_at_ms INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL, sent_at_ms INTEGER, acked_at_ms INTEGER,
    UNIQUE (sink, key)
);
CREATE INDEX deliveries_open ON deliveries (sink, alert, group_key, seq) WHERE state IN ('waiting', 'sending');
CREATE INDEX deliveries_notification ON deliveries (sink, notification_id);
CREATE INDEX deliveries_base ON deliveries (sink, base);
CREATE INDEX deliveries_story ON deliveries (sink, story_id, seq);
CREATE INDEX deliveries_root ON deliveries (root) WHERE root IS NOT NULL;
CREATE TABLE attempts (
    seq INTEGER NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, took_ms INTEGER NOT NULL, error TEXT,
    PRIMARY KEY (seq, number, at_ms)
) WITHOUT ROWID;
CREATE TABLE doubts (sink TEXT NOT NULL, notification_id TEXT NOT NULL, PRIMARY KEY (sink, notification_id))
    WITHOUT ROWID;
CREATE TABLE positions (
    sink TEXT PRIMARY KEY, turn INTEGER NOT NULL, last_tick INTEGER NOT NULL, last_head INTEGER NOT NULL,
    origin_tick INTEGER, origin_block INTEGER
) WITHOUT ROWID;
CREATE TABLE mutes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT, group_key TEXT, until_ms INTEGER, created_at_ms INTEGER NOT NULL
);
";

/// The ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It is of another version.
    #[error("the ledger {place} has form {found}, this version of Highwater knows {VERSION}; give another --state")]
    Version {
        /// The file.
        place: String,
        /// What it says.
        found: i64,
    },
    /// There is none.
    #[error("there is no ledger {place}; has the job run with --state and an alert channel?")]
    Absent {
        /// The file.
        place: String,
    },
    /// SQLite failed.
    #[error("{action} the ledger {place} failed")]
    Sql {
        /// What was being done.
        action: &'static str,
        /// The file.
        place: String,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Classified for LedgerError {
    fn class(&self) -> Class {
        match self {
            LedgerError::Version { .. } | LedgerError::Absent { .. } => Class::USER,
            LedgerError::Sql { .. } => Class::TRANSIENT,
        }
    }
}

impl From<LedgerError> for SinkError {
    fn from(error: LedgerError) -> SinkError {
        match error {
            LedgerError::Sql { action, place, source } => {
                SinkError::Write { action, place: format!("the ledger {place}"), source: source.into() }
            }
            other => SinkError::Write { action: "opening", place: "the ledger".to_owned(), source: other.into() },
        }
    }
}

/// An open ledger. Cloning shares it.
#[derive(Clone)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Mutex<Connection>,
    place: String,
    durable: bool,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.shared.place).finish()
    }
}

/// The ledgers this process has open, so that no two of its threads wait for each other's file locks.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

impl Ledger {
    /// Opens the file, made if absent; without a path one in memory, which goes with the process.
    pub(super) fn open(path: Option<&Path>) -> Result<Ledger, LedgerError> {
        let Some(path) = path else {
            let place = "in memory".to_owned();
            let made =
                Connection::open_in_memory().and_then(|mut connection| prepare(&mut connection).map(|()| connection));
            let connection =
                made.map_err(|source| LedgerError::Sql { action: "making", place: place.clone(), source })?;
            return Ok(Ledger::of(connection, place, false));
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(Ledger { shared });
        }
        if let Some(folder) = path.parent() {
            // If this fails, SQLite says what is wrong with the place.
            let _ = std::fs::create_dir_all(folder);
        }
        let ledger = Ledger::open_file(&path)?;
        open.insert(path, Arc::downgrade(&ledger.shared));
        Ok(ledger)
    }

    /// Opens a ledger that must be there already.
    pub(super) fn open_existing(path: &Path) -> Result<Ledger, LedgerError> {
        if !path.is_file() {
            return Err(LedgerError::Absent { place: path.display().to_string() });
        }
        Ledger::open(Some(path))
    }

    fn open_file(path: &Path) -> Result<Ledger, LedgerError> {
        let place = path.display().to_string();
        let failed = |action| {
            let place = place.clone();
            move |source| LedgerError::Sql { action, place, source }
        };
        let mut connection = Connection::open(path).map_err(failed("opening"))?;
        connection.busy_timeout(BUSY).map_err(failed("opening"))?;
        prepare(&mut connection).map_err(failed("making"))?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed("reading"))?;
        if found != VERSION {
            return Err(LedgerError::Version { place, found });
        }
        Ok(Ledger::of(connection, place, true))
    }

    fn of(connection: Connection, place: String, durable: bool) -> Ledger {
        connection.set_prepared_statement_cache_capacity(64);
        Ledger { shared: Arc::new(Shared { connection: Mutex::new(connection), place, durable }) }
    }

    /// Whether another process may change it.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.durable
    }

    /// Does all of the work or nothing of it; durable when it returns.
    pub(super) fn transaction<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let mut connection = self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Immediate: a reader that becomes a writer later would be refused instead of waiting.
        let done = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        done.map_err(|source| LedgerError::Sql { action, place: self.shared.place.clone(), source })
    }

    /// Reads, seeing one state throughout.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let mut connection = self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let done = connection.transaction().and_then(|transaction| work(&transaction));
        done.map_err(|source| LedgerError::Sql { action: "reading", place: self.shared.place.clone(), source })
    }
}

/// Sets up a connection, and the tables of a new file.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    // The answer says which mode it is: a file system without shared memory keeps the old one, which is as safe.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version(connection)?;
    if found != 0 {
        return Ok(());
    }
    // Two processes may have found nothing at once; one of them makes the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = version(&transaction)?;
    if found == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use highwater_engine::model::{BlockHash, BlockRef, Progress};

    use super::super::Message;
    use super::super::testing::fire;
    use super::book::Book;
    use super::queue::{Due, Outcome, Queue};
    use super::*;

    fn says(title: &str) -> Message {
        Message { title: title.to_owned(), ..fire() }
    }

    fn tick(ledger: &Ledger, number: u64, gone: &[Message], came: &[Message]) {
        let head = BlockRef { number, hash: BlockHash::default(), parent: BlockHash::default(), timestamp_ms: 0 };
        let progress = Progress::at(number, &head);
        let worked = ledger.transaction("writing to", |transaction| {
            let mut book = Book { transaction, sink: "s", now_ms: 1, corrections: true, done: Default::default() };
            book.tick(&progress, gone, came, |_| true)
        });
        worked.expect("an open ledger takes a tick");
    }

    fn claim(ledger: &Ledger) -> Option<Due> {
        let claimed =
            ledger.transaction("writing to", |transaction| Queue { transaction, sink: "s", now_ms: 2 }.claim(1));
        claimed.expect("an open ledger gives what is due").pop()
    }

    fn record(ledger: &Ledger, due: &Due, outcome: &Outcome) {
        let recorded = ledger.transaction("writing to", |transaction| {
            Queue { transaction, sink: "s", now_ms: 2 }.record(due, 0, outcome)
        });
        recorded.expect("an open ledger takes an outcome");
    }

    /// Two reorgs while a message was on its way, which then turned out not to have arrived: what is told is what holds,
    /// and no amendment of before comes after it.
    #[test]
    fn what_did_not_arrive_is_told_as_it_is_now() {
        let ledger = Ledger::open(None).expect("memory is there");
        tick(&ledger, 1, &[], &[says("first")]);
        let due = claim(&ledger).expect("it is due");
        assert_eq!(due.outgoing.message.title, "first");
        tick(&ledger, 2, &[says("first")], &[says("second")]);
        record(&ledger, &due, &Outcome::Again { at_ms: 2, maybe: false, error: "refused".to_owned() });
        tick(&ledger, 3, &[says("second")], &[says("third")]);
        let due = claim(&ledger).expect("it is due again");
        assert_eq!(due.outgoing.message.title, "third");
        record(&ledger, &due, &Outcome::Sent(Default::default()));
        assert!(claim(&ledger).is_none(), "there is nothing to amend");
    }
}
