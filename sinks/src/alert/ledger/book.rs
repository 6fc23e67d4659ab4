//! The outbox's side of the ledger: what the dataflow asserts, and what there is to tell because of it.
//!
//! Definition: after a tick, what receivers are told (once all is delivered) is what the dataflow asserts. So a
//! change is not translated into a message; the changed notifications are *reconciled*: for each, what is
//! asserted is compared with the told delivery that stands for it.
//!
//! A restart goes back to a checkpoint, but what was told meanwhile stays told. Then the ledger is ahead of
//! the run. Notifications of which it knows more are in *doubt* until the run has come as far as the former one
//! was, and is only then reconciled: the same ticks again lead to nothing new, a chain that has changed
//! leads to corrections.

use std::collections::BTreeSet;

use highwater_engine::model::Progress;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::super::Message;

/// How far a sink's ledger is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Position {
    pub(in super::super) turn: i64,
    pub(in super::super) last_tick: i64,
    pub(in super::super) last_head: i64,
    /// First tick and first block of the run that filled it.
    pub(in super::super) origin: Option<(i64, i64)>,
}

/// What the outbox did, for counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Done {
    pub(in super::super) told: u64,
    pub(in super::super) cancelled: u64,
    pub(in super::super) corrections: u64,
    /// Reasons of what was suppressed.
    pub(in super::super) suppressed: Vec<String>,
}

/// The ledger of one sink in one transaction.
pub(in super::super) struct Book<'a> {
    pub(in super::super) transaction: &'a Transaction<'a>,
    pub(in super::super) sink: &'a str,
    pub(in super::super) now_ms: i64,
    /// Whether what was told is amended and withdrawn.
    pub(in super::super) corrections: bool,
    pub(in super::super) done: Done,
}

impl Book<'_> {
    /// Where the ledger is.
    pub(in super::super) fn position(&self) -> rusqlite::Result<Position> {
        let sql = "SELECT turn, last_tick, last_head, origin_tick, origin_block FROM positions WHERE sink = ?1";
        let found = self.transaction.prepare_cached(sql)?.query_row([self.sink], |row| {
            let origin: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
            Ok(Position {
                turn: row.get(0)?,
                last_tick: row.get(1)?,
                last_head: row.get(2)?,
                origin: origin.0.zip(origin.1),
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    pub(in super::super) fn set_position(&self, position: Position) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO positions (sink, turn, last_tick, last_head, origin_tick, origin_block)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (tick, block) = position.origin.unzip();
        let Position { turn, last_tick, last_head, .. } = position;
        self.transaction.prepare_cached(sql)?.execute(params![self.sink, turn, last_tick, last_head, tick, block])?;
        Ok(())
    }

    /// How many notifications are in doubt.
    pub(in super::super) fn doubts(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM doubts WHERE sink = ?1";
        self.transaction.prepare_cached(sql)?.query_row([self.sink], |row| row.get(0)).map(i64::unsigned_abs)
    }

    /// Goes back to a checkpoint: what is asserted is what was asserted then.
    pub(in super::super) fn go_back(&self, turn: i64) -> rusqlite::Result<()> {
        let touched = "INSERT OR IGNORE INTO doubts SELECT sink, notification_id FROM statements
                       WHERE sink = ?1 AND (came_turn > ?2 OR gone_turn > ?2)";
        self.transaction.execute(touched, params![self.sink, turn])?;
        let came = "DELETE FROM statements WHERE sink = ?1 AND came_turn > ?2";
        self.transaction.execute(came, params![self.sink, turn])?;
        let gone = "UPDATE statements SET gone_turn = NULL WHERE sink = ?1 AND gone_turn > ?2";
        self.transaction.execute(gone, params![self.sink, turn])?;
        // A ledger that was lost is behind its checkpoint; turns do not go back.
        let mut position = self.position()?;
        position.turn = position.turn.max(turn);
        self.set_position(position)?;
        self.hold()
    }

    /// Starts again without a checkpoint: nothing is asserted, and all that was told is in doubt, but for what
    /// is older than this run's first block.
    pub(in super::super) fn start_again(&self, first_tick: i64, first_block: i64) -> rusqlite::Result<()> {
        let mut position = self.position()?;
        if position.origin != Some((first_tick, first_block)) {
            // Ticks are counted anew; those of the former run say nothing about this one.
            (position.last_tick, position.last_head) = (0, 0);
            position.origin = Some((first_tick, first_block));
        }
        self.set_position(position)?;
        let told = "INSERT OR IGNORE INTO doubts SELECT sink, notification_id FROM deliveries
                    WHERE sink = ?1 AND action = 'tell' AND (block_number >= ?2 OR block_number = 0)";
        self.transaction.execute(told, params![self.sink, first_block])?;
        self.transaction.execute("DELETE FROM statements WHERE sink = ?1", [self.sink])?;
        self.hold()
    }

    /// Nothing in doubt is sent.
    fn hold(&self) -> rusqlite::Result<()> {
        let sql = "UPDATE deliveries SET held = 1 WHERE sink = ?1 AND state = 'waiting'
                   AND notification_id IN (SELECT notification_id FROM doubts WHERE sink = ?1)";
        self.transaction.execute(sql, [self.sink]).map(drop)
    }

    /// Notes the changes of one tick, and what there is to tell. `came` is in the order in which it is told.
    /// `settled` says whether this run has come as far as the former one.
    pub(in super::super) fn tick(
        &mut self,
        progress: &Progress,
        gone: &[Message],
        came: &[Message],
        settled: impl Fn(&Position) -> bool,
    ) -> rusqlite::Result<()> {
        let mut position = self.position()?;
        let settled = settled(&position);
        position.turn += 1;
        position.last_tick = position.last_tick.max(i64::try_from(progress.tick).unwrap_or(i64::MAX));
        position.last_head = position.last_head.max(i64::try_from(progress.head_number).unwrap_or(i64::MAX));
        self.set_position(position)?;
        for message in gone {
            self.close(&message.notification_id, position.turn)?;
        }
        for message in came {
            self.close(&message.notification_id, position.turn)?;
            self.assert(message, position.turn)?;
        }
        let doubted = self.doubted()?;
        let mut changed: Vec<&str> = Vec::new();
        for message in gone.iter().chain(came) {
            let id = message.notification_id.as_str();
            if doubted.contains(id) {
                self.release_confirmed(id)?;
            } else if !changed.contains(&id) {
                changed.push(id);
            }
        }
        let head = i64::try_from(progress.head_number).unwrap_or(i64::MAX);
        let resolved = if settled { self.resolvable(&doubted, head)? } else { Vec::new() };
        changed.extend(resolved.iter().map(String::as_str));
        self.reconcile(&changed)?;
        for id in &resolved {
            self.resolve(id)?;
        }
        Ok(())
    }

    fn close(&self, id: &str, turn: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE statements SET gone_turn = ?3 WHERE sink = ?1 AND notification_id = ?2 AND gone_turn IS NULL";
        self.transaction.prepare_cached(sql)?.execute(params![self.sink, id, turn]).map(drop)
    }

    fn assert(&self, message: &Message, turn: i64) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO statements (sink, notification_id, message, block_number, came_turn)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![self.sink, message.notification_id, to_json(message), message.block_number, turn];
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn doubted(&self) -> rusqlite::Result<BTreeSet<String>> {
        let mut query = self.transaction.prepare_cached("SELECT notification_id FROM doubts WHERE sink = ?1")?;
        query.query_map([self.sink], |row| row.get(0))?.collect()
    }

    /// Doubts about what this run could know by now: a block above its head may still bring what was told.
    fn resolvable(&self, doubted: &BTreeSet<String>, head: i64) -> rusqlite::Result<Vec<String>> {
        let mut resolvable = Vec::new();
        for id in doubted {
            let ahead =
                self.asserted(id)?.is_none() && self.root(id)?.is_some_and(|root| root.shown.block_number > head);
            if !ahead {
                resolvable.push(id.clone());
            }
        }
        Ok(resolvable)
    }

    fn resolve(&self, id: &str) -> rusqlite::Result<()> {
        let values = params![self.sink, id];
        let free = "UPDATE deliveries SET held = 0 WHERE sink = ?1 AND notification_id = ?2 AND held = 1";
        self.transaction.prepare_cached(free)?.execute(values)?;
        let sql = "DELETE FROM doubts WHERE sink = ?1 AND notification_id = ?2";
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// What waits to be told of a notification that is asserted again need wait no longer.
    fn release_confirmed(&self, id: &str) -> rusqlite::Result<()> {
        let (Some(asserted), Some(root)) = (self.asserted(id)?, self.root(id)?) else { return Ok(()) };
        if asserted.suppressed_by.is_none() && asserted.reads_like(&root.shown) {
            let sql = "UPDATE deliveries SET held = 0 WHERE seq = ?1";
            self.transaction.prepare_cached(sql)?.execute([root.seq])?;
        }
        Ok(())
    }

    /// Forgets statements of final blocks: nothing takes them back.
    pub(in super::super) fn forget_final(&self, finalized_number: u64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM statements WHERE sink = ?1 AND block_number <= ?2
                   AND notification_id NOT IN (SELECT notification_id FROM doubts WHERE sink = ?1)";
        let finalized = i64::try_from(finalized_number).unwrap_or(i64::MAX);
        self.transaction.execute(sql, params![self.sink, finalized]).map(drop)
    }
}

/// A message as it is kept.
pub(in super::super) fn to_json(message: &Message) -> String {
    serde_json::to_string(message).expect("a message is made of text and numbers")
}

/// A message that is kept in a column.
pub(in super::super) fn message(row: &Row<'_>, column: usize) -> rusqlite::Result<Message> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}
