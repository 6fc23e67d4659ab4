//! The tick journal: which blocks each tick took back and added. Append-only, one JSON line a tick.
//!
//! About 100 bytes a block. The journal is what makes the history of a run explainable: it says for
//! every tick which blocks were taken back and which were added.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Tick;
use crate::error::StateError;

/// One tick as journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The tick.
    pub tick: Tick,
    /// The source whose chain changed.
    pub source: String,
    /// Hashes of the blocks taken back, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverted: Vec<String>,
    /// Blocks added: number, hash, parent, time in milliseconds.
    pub applied: Vec<(u64, String, String, i64)>,
    /// Position of the source after this tick.
    pub cursor: u64,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    unsynced: u32,
}

impl Journal {
    /// Opens the journal and drops entries past `last` (they are made again after a restart), and an
    /// unfinished last line.
    pub fn open(path: &Path, last: Tick) -> Result<Journal, StateError> {
        let error = |action, source: std::io::Error| StateError::Io {
            action,
            path: path.display().to_string(),
            source: source.into(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|source| error("opening", source))?;
        let keep = length_up_to(&file, last).map_err(|source| error("reading", source))?;
        file.set_len(keep).map_err(|source| error("truncating", source))?;
        file.seek(SeekFrom::End(0)).map_err(|source| error("reading", source))?;
        Ok(Journal { path: path.to_owned(), file, unsynced: 0 })
    }

    /// Appends an entry; it is on disk when this returns, unless `relaxed` (catch-up: on disk after
    /// at most 64 entries).
    pub fn append(&mut self, entry: &JournalEntry, relaxed: bool) -> Result<(), StateError> {
        let mut line = serde_json::to_vec(entry).map_err(|source| self.error("encoding", source.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| self.error("appending to", source.into()))?;
        self.unsynced += 1;
        if !relaxed || self.unsynced >= 64 { self.sync() } else { Ok(()) }
    }

    /// Puts all entries on disk.
    pub fn sync(&mut self) -> Result<(), StateError> {
        self.unsynced = 0;
        self.file.sync_data().map_err(|source| self.error("syncing", source.into()))
    }

    fn error(&self, action: &'static str, source: crate::error::BoxError) -> StateError {
        StateError::Io { action, path: self.path.display().to_string(), source }
    }
}

/// Reads all whole entries of a journal.
pub fn read(path: &Path) -> Result<Vec<JournalEntry>, StateError> {
    let error =
        |source: crate::error::BoxError| StateError::Io { action: "reading", path: path.display().to_string(), source };
    let file = File::open(path).map_err(|source| error(source.into()))?;
    let mut entries = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|source| error(source.into()))?;
        entries.push(serde_json::from_str(&line).map_err(|source| error(source.into()))?);
    }
    Ok(entries)
}

/// Bytes of the entries up to tick `last`.
fn length_up_to(file: &File, last: Tick) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut keep = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n');
        let entry = serde_json::from_slice::<JournalEntry>(&line).ok().filter(|entry| whole && entry.tick <= last);
        if entry.is_none() {
            return Ok(keep);
        }
        keep += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tick: Tick) -> JournalEntry {
        JournalEntry {
            tick,
            source: "eth".to_owned(),
            reverted: Vec::new(),
            applied: vec![(tick, "0xaa".to_owned(), "0xbb".to_owned(), 12_000)],
            cursor: tick,
        }
    }

    #[test]
    fn entries_past_the_checkpoint_and_torn_lines_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let mut journal = Journal::open(&path, 0).unwrap();
        for tick in 1..=5 {
            journal.append(&entry(tick), false).unwrap();
        }
        journal.file.write_all(b"{\"tick\":6,\"sour").unwrap();
        drop(journal);
        drop(Journal::open(&path, 5).unwrap());
        assert_eq!(read(&path).unwrap().len(), 5);
        let mut journal = Journal::open(&path, 3).unwrap();
        journal.append(&entry(4), true).unwrap();
        journal.sync().unwrap();
        let ticks: Vec<Tick> = read(&path).unwrap().iter().map(|entry| entry.tick).collect();
        assert_eq!(ticks, [1, 2, 3, 4]);
    }
}
