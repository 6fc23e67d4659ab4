//! Brings what is told in line with what is asserted.

use rusqlite::{OptionalExtension as _, Row, params};

use super::super::Message;
use super::book::{Book, message, to_json};

/// A delivery that stands for a notification.
pub(super) struct Root {
    pub(super) seq: i64,
    key: Option<String>,
    state: String,
    maybe: bool,
    suppressed_by: Option<String>,
    /// What its reader sees, or will.
    pub(super) shown: Message,
}

impl Root {
    /// Whether its receiver has it, or may have it, or is getting it.
    fn is_told(&self) -> bool {
        match self.state.as_str() {
            "sent" | "sending" => true,
            "waiting" => self.maybe,
            _ => false,
        }
    }
}

/// What a reconciliation has to deal with.
#[derive(Default)]
struct Differences {
    came: Vec<Message>,
    gone: Vec<Root>,
}

impl Book<'_> {
    pub(super) fn asserted(&self, id: &str) -> rusqlite::Result<Option<Message>> {
        let sql = "SELECT message FROM statements WHERE sink = ?1 AND notification_id = ?2 AND gone_turn IS NULL";
        let mut query = self.transaction.prepare_cached(sql)?;
        query.query_row([self.sink, id], |row| message(row, 0)).optional()
    }

    pub(super) fn root(&self, id: &str) -> rusqlite::Result<Option<Root>> {
        let sql = "SELECT seq, key, state, maybe, suppressed_by, coalesce(shown, message) FROM deliveries
                   WHERE sink = ?1 AND notification_id = ?2 AND action = 'tell' AND standing = 1";
        self.transaction.prepare_cached(sql)?.query_row([self.sink, id], read_root).optional()
    }

    /// Brings what is told in line with what is asserted.
    pub(super) fn reconcile(&mut self, ids: &[&str]) -> rusqlite::Result<()> {
        let mut differences = Differences::default();
        for id in ids {
            match (self.asserted(id)?, self.root(id)?) {
                (None, None) => {}
                (Some(asserted), None) => differences.came.push(asserted),
                (None, Some(root)) => differences.gone.push(root),
                (Some(asserted), Some(root)) => self.compare(asserted, root, &mut differences)?,
            }
        }
        differences.came.sort_by(|a, b| a.told_order().cmp(&b.told_order()));
        for root in differences.gone {
            match takes_over(&root, &differences.came) {
                Some(index) => {
                    let message = differences.came.remove(index);
                    self.amend(&root, &message)?;
                }
                None => self.retract(&root)?,
            }
        }
        for message in differences.came {
            self.tell(&message)?;
        }
        Ok(())
    }

    fn compare(&mut self, asserted: Message, root: Root, differences: &mut Differences) -> rusqlite::Result<()> {
        match (&asserted.suppressed_by, &root.suppressed_by) {
            // Said to be told; that it was muted when it came stays so.
            (None, Some(reason)) if reason != MUTE => {
                differences.came.push(asserted);
                differences.gone.push(root);
            }
            (Some(_), None) => {
                differences.came.push(asserted);
                differences.gone.push(root);
            }
            _ => self.amend(&root, &asserted)?,
        }
        Ok(())
    }

    /// What a delivery stands for has another content, or another notification in its place.
    fn amend(&mut self, root: &Root, message: &Message) -> rusqlite::Result<()> {
        let text = to_json(message);
        let owner =
            "UPDATE deliveries SET notification_id = ?2, story_id = ?3, block_number = ?4, changed_at_ms = ?5, held = 0
                     WHERE seq = ?1 OR (root = ?1 AND state = 'waiting')";
        let values = params![root.seq, message.notification_id, message.story_id, message.block_number, self.now_ms];
        self.transaction.prepare_cached(owner)?.execute(values)?;
        if !root.is_told() {
            // It was on its way when it was amended, and did not arrive: it says what holds by itself now.
            self.cancel_waiting(root.seq, "amend")?;
            let sql = "UPDATE deliveries SET message = ?2, shown = NULL,
                       suppressed_by = CASE WHEN state = 'suppressed' THEN coalesce(?3, suppressed_by) END WHERE seq = ?1";
            let values = params![root.seq, text, message.suppressed_by];
            return self.transaction.prepare_cached(sql)?.execute(values).map(drop);
        }
        let sql = "UPDATE deliveries SET shown = ?2 WHERE seq = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![root.seq, text])?;
        if !self.corrections || message.reads_like(&root.shown) {
            return Ok(());
        }
        let waiting = "UPDATE deliveries SET message = ?2, changed_at_ms = ?3
                       WHERE root = ?1 AND action = 'amend' AND state = 'waiting' AND maybe = 0";
        if self.transaction.prepare_cached(waiting)?.execute(params![root.seq, text, self.now_ms])? > 0 {
            return Ok(());
        }
        let count = "SELECT count(*) FROM deliveries WHERE root = ?1 AND action = 'amend' AND key IS NOT NULL";
        let earlier: i64 = self.transaction.prepare_cached(count)?.query_row([root.seq], |row| row.get(0))?;
        self.correct(root, "amend", &format!("amend-{}", earlier + 1), message)
    }

    /// What a delivery stands for is not so.
    fn retract(&mut self, root: &Root) -> rusqlite::Result<()> {
        if !root.is_told() {
            let state = if root.state == "dead" { "dead" } else { "cancelled" };
            self.done.cancelled += u64::from(root.state == "waiting");
            let sql = "UPDATE deliveries SET state = ?2, standing = 0, changed_at_ms = ?3,
                       key = CASE WHEN ?2 = 'dead' THEN key END WHERE seq = ?1";
            return self.transaction.prepare_cached(sql)?.execute(params![root.seq, state, self.now_ms]).map(drop);
        }
        let sql = "UPDATE deliveries SET standing = 0, held = 0, changed_at_ms = ?2 WHERE seq = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![root.seq, self.now_ms])?;
        if !self.corrections {
            return Ok(());
        }
        let mut shown = root.shown.clone();
        if self.cancel_waiting(root.seq, "amend")? {
            shown = self.last_shown(root.seq)?;
            // What it stood for last is what is taken back, whatever its reader saw.
            shown.notification_id.clone_from(&root.shown.notification_id);
        }
        self.correct(root, "withdraw", "withdraw", &shown)
    }

    /// What a reader sees without the amendments that were never sent; noted as what is shown.
    fn last_shown(&self, root: i64) -> rusqlite::Result<Message> {
        let sql = "UPDATE deliveries SET shown = (SELECT amended.message FROM deliveries amended
                   WHERE amended.root = ?1 AND amended.action = 'amend' AND amended.key IS NOT NULL
                   ORDER BY amended.seq DESC LIMIT 1) WHERE seq = ?1 RETURNING coalesce(shown, message)";
        self.transaction.prepare_cached(sql)?.query_row([root], |row| message(row, 0))
    }

    /// Takes back a correction that nobody can have received. Whether there was one.
    fn cancel_waiting(&mut self, root: i64, action: &str) -> rusqlite::Result<bool> {
        let sql = "UPDATE deliveries SET state = 'cancelled', key = NULL, changed_at_ms = ?3
                   WHERE root = ?1 AND action = ?2 AND state = 'waiting' AND maybe = 0";
        let cancelled = self.transaction.prepare_cached(sql)?.execute(params![root, action, self.now_ms])?;
        self.done.cancelled += u64::try_from(cancelled).unwrap_or(u64::MAX);
        Ok(cancelled > 0)
    }

    fn correct(&mut self, root: &Root, action: &str, suffix: &str, message: &Message) -> rusqlite::Result<()> {
        let key = root.key.as_ref().map(|key| format!("{key}/{suffix}"));
        self.done.corrections += 1;
        let entry = Entry { action, root: Some(root.seq), key, base: &root.shown.notification_id, state: "waiting" };
        self.insert(&entry, message, None)
    }

    /// A notification is to be told, or is suppressed.
    fn tell(&mut self, message: &Message) -> rusqlite::Result<()> {
        let id = &message.notification_id;
        let mut suppressed_by = message.suppressed_by.as_deref();
        if suppressed_by.is_none() {
            if let Some(root) = self.revivable(id)? {
                let sql = "UPDATE deliveries SET standing = 1 WHERE seq = ?1";
                self.transaction.prepare_cached(sql)?.execute([root.seq])?;
                self.cancel_waiting(root.seq, "withdraw")?;
                return self.amend(&root, message);
            }
            suppressed_by = self.is_muted(message)?.then_some(MUTE);
        }
        if let Some(reason) = suppressed_by {
            self.done.suppressed.push(reason.to_owned());
            let entry = Entry { action: "tell", root: None, key: None, base: id, state: "suppressed" };
            return self.insert(&entry, message, Some(reason));
        }
        let sql =
            "SELECT count(*) FROM deliveries WHERE sink = ?1 AND base = ?2 AND action = 'tell' AND key IS NOT NULL";
        let earlier: i64 = self.transaction.prepare_cached(sql)?.query_row([self.sink, id], |row| row.get(0))?;
        let key = if earlier == 0 { id.clone() } else { format!("{id}~{}", earlier + 1) };
        self.done.told += 1;
        let entry = Entry { action: "tell", root: None, key: Some(key), base: id, state: "waiting" };
        self.insert(&entry, message, None)
    }

    /// What was told of it and never said to be withdrawn.
    fn revivable(&self, id: &str) -> rusqlite::Result<Option<Root>> {
        let sql = "SELECT seq, key, state, maybe, suppressed_by, coalesce(shown, message) FROM deliveries told
                   WHERE sink = ?1 AND notification_id = ?2 AND action = 'tell' AND standing = 0
                   AND (state IN ('sent', 'sending') OR (state = 'waiting' AND maybe = 1))
                   AND NOT EXISTS (SELECT 1 FROM deliveries told_so WHERE told_so.root = told.seq
                       AND told_so.action = 'withdraw' AND told_so.key IS NOT NULL
                       AND (told_so.state <> 'waiting' OR told_so.maybe = 1))
                   ORDER BY seq DESC LIMIT 1";
        self.transaction.prepare_cached(sql)?.query_row([self.sink, id], read_root).optional()
    }

    fn is_muted(&self, message: &Message) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM mutes WHERE (alert IS NULL OR alert = ?1)
                   AND (group_key IS NULL OR group_key = ?2) AND (until_ms IS NULL OR until_ms > ?3))";
        let mut query = self.transaction.prepare_cached(sql)?;
        query.query_row(params![message.alert, message.group_key, self.now_ms], |row| row.get(0))
    }

    fn insert(&self, entry: &Entry<'_>, message: &Message, suppressed_by: Option<&str>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO deliveries (sink, key, base, notification_id, action, root, state, standing, alert,
                   group_key, story_id, block_number, message, suppressed_by, next_at_ms, created_at_ms, changed_at_ms)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?15)";
        self.transaction.prepare_cached(sql)?.execute(params![
            self.sink,
            entry.key,
            entry.base,
            message.notification_id,
            entry.action,
            entry.root,
            entry.state,
            entry.action == "tell",
            message.alert,
            message.group_key,
            message.story_id,
            message.block_number,
            to_json(message),
            suppressed_by,
            self.now_ms,
        ])?;
        Ok(())
    }
}

/// The reason of what `highwater alerts mute` keeps back.
const MUTE: &str = "mute";

struct Entry<'a> {
    action: &'a str,
    root: Option<i64>,
    key: Option<String>,
    base: &'a str,
    state: &'a str,
}

/// The notification that takes the place of one that was told: the first of the same alert, group and kind.
fn takes_over(root: &Root, came: &[Message]) -> Option<usize> {
    if !root.is_told() {
        return None;
    }
    let place = |message: &Message| (message.alert.clone(), message.group_key.clone(), message.kind);
    came.iter().position(|message| message.suppressed_by.is_none() && place(message) == place(&root.shown))
}

fn read_root(row: &Row<'_>) -> rusqlite::Result<Root> {
    Ok(Root {
        seq: row.get(0)?,
        key: row.get(1)?,
        state: row.get(2)?,
        maybe: row.get(3)?,
        suppressed_by: row.get(4)?,
        shown: message(row, 5)?,
    })
}
