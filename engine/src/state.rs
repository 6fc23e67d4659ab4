//! The state directory: what lets a job continue where it was.
//!
//! ```text
//! DIR/LOCK                   held by the process that uses the directory
//! DIR/job.json               which job the state belongs to
//! DIR/journal.ndjson         the tick journal
//! DIR/CURRENT                the tick of the newest complete checkpoint; renamed into place last
//! DIR/checkpoint-<tick>/     manifest.json and Arrow IPC files: operators, open blocks, sinks, feeds
//! ```
//!
//! State belongs to the plan, not to workers: each operator's rows are loaded by any number of workers.

use std::fs::{self, File, TryLockError};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::Tick;
use crate::chain::TrackedBlock;
use crate::error::{BoxError, StateError};
use crate::model::{BlockHash, BlockRef};
use crate::runtime::SavedStates;
use crate::sink::SinkState;

/// Everything a job needs to continue after a tick.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The tick after which this was taken.
    pub tick: Tick,
    /// Position of the source after that tick.
    pub cursor: Option<u64>,
    /// The newest final block.
    pub finalized: Option<BlockRef>,
    /// The blocks that may still be taken back, oldest first, with their rows.
    pub open: Vec<TrackedBlock>,
    /// The state of each operator.
    pub operators: SavedStates,
    /// The state of each sink, by name.
    pub sinks: Vec<(String, SinkState)>,
    /// What the dataflow has of each relation that changes from outside, by name.
    pub feeds: Vec<(String, RecordBatch)>,
}

/// A state directory in use.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    current: Option<Tick>,
    /// Held while the directory is in use; the system lets go of it when the process ends, however it ends.
    _lock: File,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct JobFile {
    format: u32,
    fingerprint: String,
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Manifest {
    tick: Tick,
    cursor: Option<u64>,
    finalized: Option<SavedBlock>,
    open: Vec<SavedBlock>,
    /// Name and number of batches.
    operators: Vec<(String, usize)>,
    sinks: Vec<SavedSink>,
    /// Names; one batch each.
    #[serde(default)]
    feeds: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SavedSink {
    name: String,
    facts: serde_json::Value,
    batches: usize,
}

#[derive(Serialize, Deserialize)]
struct SavedBlock {
    number: u64,
    hash: [u8; 32],
    parent: [u8; 32],
    timestamp_ms: i64,
    tables: usize,
}

impl SavedBlock {
    fn new(block: &BlockRef, tables: usize) -> SavedBlock {
        let BlockRef { number, hash, parent, timestamp_ms } = *block;
        SavedBlock { number, hash: hash.0, parent: parent.0, timestamp_ms, tables }
    }

    fn block(&self) -> BlockRef {
        BlockRef {
            number: self.number,
            hash: BlockHash(self.hash),
            parent: BlockHash(self.parent),
            timestamp_ms: self.timestamp_ms,
        }
    }
}

impl StateDir {
    /// Opens or makes the directory for the job with this fingerprint, and loads its newest checkpoint.
    ///
    /// `reset` throws away what is there. State of another job is an error, never a fresh start.
    pub fn open(path: &Path, fingerprint: &str, reset: bool) -> Result<(StateDir, Option<Checkpoint>), StateError> {
        fs::create_dir_all(path).map_err(|source| io("making", path, source))?;
        let lock = lock(path)?;
        if reset {
            clear(path)?;
        }
        let job = JobFile { format: FORMAT, fingerprint: fingerprint.to_owned() };
        let job_path = path.join("job.json");
        if job_path.exists() {
            let found: JobFile = read_json(&job_path)?;
            if found != job {
                let detail = if found.format == FORMAT {
                    "its sources or views differ".to_owned()
                } else {
                    format!("its format is {}, this version writes {FORMAT}", found.format)
                };
                return Err(StateError::OtherJob { path: path.display().to_string(), detail });
            }
        } else {
            write_json(&job_path, &job)?;
        }
        let mut state = StateDir { path: path.to_owned(), current: None, _lock: lock };
        let checkpoint = state
            .load()
            .map_err(|source| StateError::Damaged { path: path.display().to_string(), source: Box::new(source) })?;
        state.current = checkpoint.as_ref().map(|checkpoint| checkpoint.tick);
        Ok((state, checkpoint))
    }

    /// Where the tick journal is.
    pub fn journal_path(&self) -> PathBuf {
        self.path.join("journal.ndjson")
    }

    /// Writes a checkpoint; the previous one stays valid until this one is complete.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        if self.current == Some(checkpoint.tick) {
            return Ok(());
        }
        let folder = self.folder(checkpoint.tick);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|source| io("removing", &folder, source))?;
        }
        fs::create_dir(&folder).map_err(|source| io("making", &folder, source))?;
        write_files(&folder, checkpoint)?;
        sync_dir(&folder)?;
        let pointer = self.path.join("CURRENT.tmp");
        write_synced(&pointer, checkpoint.tick.to_string().as_bytes())?;
        let target = self.path.join("CURRENT");
        fs::rename(&pointer, &target).map_err(|source| io("renaming", &pointer, source))?;
        sync_dir(&self.path)?;
        if let Some(previous) = self.current.replace(checkpoint.tick) {
            let previous = self.folder(previous);
            fs::remove_dir_all(&previous).map_err(|source| io("removing", &previous, source))?;
        }
        Ok(())
    }

    fn folder(&self, tick: Tick) -> PathBuf {
        self.path.join(format!("checkpoint-{tick:012}"))
    }

    fn load(&self) -> Result<Option<Checkpoint>, StateError> {
        let pointer = self.path.join("CURRENT");
        if !pointer.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&pointer).map_err(|source| io("reading", &pointer, source))?;
        let tick: Tick = text.trim().parse().map_err(|source| other("reading", &pointer, source))?;
        let folder = self.folder(tick);
        let manifest: Manifest = read_json(&folder.join("manifest.json"))?;
        let mut checkpoint = Checkpoint {
            tick: manifest.tick,
            cursor: manifest.cursor,
            finalized: manifest.finalized.as_ref().map(SavedBlock::block),
            ..Checkpoint::default()
        };
        for (index, block) in manifest.open.iter().enumerate() {
            let rows = read_batches(&folder, &format!("block-{index}"), block.tables)?;
            checkpoint.open.push(TrackedBlock { block: block.block(), rows });
        }
        for (index, (name, batches)) in manifest.operators.iter().enumerate() {
            let batches = read_batches(&folder, &format!("operator-{index}"), *batches)?;
            checkpoint.operators.insert(name.clone(), batches);
        }
        for (index, sink) in manifest.sinks.into_iter().enumerate() {
            let rows = read_batches(&folder, &format!("sink-{index}"), sink.batches)?;
            checkpoint.sinks.push((sink.name, SinkState { facts: sink.facts, rows }));
        }
        for (index, name) in manifest.feeds.into_iter().enumerate() {
            let rows = read_batches(&folder, &format!("feed-{index}"), 1)?;
            checkpoint.feeds.extend(rows.into_iter().map(|rows| (name.clone(), rows)));
        }
        Ok(Some(checkpoint))
    }
}

fn write_files(folder: &Path, checkpoint: &Checkpoint) -> Result<(), StateError> {
    for (index, tracked) in checkpoint.open.iter().enumerate() {
        write_batches(folder, &format!("block-{index}"), &tracked.rows)?;
    }
    for (index, batches) in checkpoint.operators.values().enumerate() {
        write_batches(folder, &format!("operator-{index}"), batches)?;
    }
    for (index, (_, state)) in checkpoint.sinks.iter().enumerate() {
        write_batches(folder, &format!("sink-{index}"), &state.rows)?;
    }
    for (index, (_, rows)) in checkpoint.feeds.iter().enumerate() {
        write_batches(folder, &format!("feed-{index}"), std::slice::from_ref(rows))?;
    }
    let manifest = Manifest {
        tick: checkpoint.tick,
        cursor: checkpoint.cursor,
        finalized: checkpoint.finalized.as_ref().map(|block| SavedBlock::new(block, 0)),
        open: checkpoint.open.iter().map(|open| SavedBlock::new(&open.block, open.rows.len())).collect(),
        operators: checkpoint.operators.iter().map(|(name, batches)| (name.clone(), batches.len())).collect(),
        sinks: checkpoint
            .sinks
            .iter()
            .map(|(name, state)| SavedSink {
                name: name.clone(),
                facts: state.facts.clone(),
                batches: state.rows.len(),
            })
            .collect(),
        feeds: checkpoint.feeds.iter().map(|(name, _)| name.clone()).collect(),
    };
    write_json(&folder.join("manifest.json"), &manifest)
}

/// One file a batch: batches of one operator may have different columns.
fn write_batches(folder: &Path, name: &str, batches: &[RecordBatch]) -> Result<(), StateError> {
    for (index, batch) in batches.iter().enumerate() {
        let path = folder.join(format!("{name}-{index}.arrow"));
        let file = File::create(&path).map_err(|source| io("creating", &path, source))?;
        let mut writer = FileWriter::try_new(BufWriter::new(file), batch.schema_ref())
            .map_err(|source| other("writing", &path, source))?;
        writer.write(batch).and_then(|()| writer.finish()).map_err(|source| other("writing", &path, source))?;
        let buffered = writer.into_inner().map_err(|source| other("writing", &path, source))?;
        let file = buffered.into_inner().map_err(|source| other("writing", &path, source.into_error()))?;
        file.sync_all().map_err(|source| io("syncing", &path, source))?;
    }
    Ok(())
}

fn read_batches(folder: &Path, name: &str, count: usize) -> Result<Vec<RecordBatch>, StateError> {
    let mut batches = Vec::with_capacity(count);
    for index in 0..count {
        let path = folder.join(format!("{name}-{index}.arrow"));
        let file = File::open(&path).map_err(|source| io("opening", &path, source))?;
        let mut reader =
            FileReader::try_new(BufReader::new(file), None).map_err(|source| other("reading", &path, source))?;
        let schema = reader.schema();
        let batch = reader.next().unwrap_or_else(|| Ok(RecordBatch::new_empty(schema)));
        batches.push(batch.map_err(|source| other("reading", &path, source))?);
    }
    Ok(batches)
}

fn lock(path: &Path) -> Result<File, StateError> {
    let name = path.join("LOCK");
    let file = File::create(&name).map_err(|source| io("creating", &name, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(io("locking", &name, source)),
    }
}

/// Removes what a state directory holds, and nothing else that may lie there.
fn clear(path: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(path).map_err(|source| io("reading", path, source))? {
        let entry = entry.map_err(|source| io("reading", path, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = entry.path();
        if name.starts_with("checkpoint-") {
            fs::remove_dir_all(&target).map_err(|source| io("removing", &target, source))?;
        } else if matches!(name.as_str(), "job.json" | "journal.ndjson" | "CURRENT" | "CURRENT.tmp") {
            fs::remove_file(&target).map_err(|source| io("removing", &target, source))?;
        }
    }
    Ok(())
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, StateError> {
    let bytes = fs::read(path).map_err(|source| io("reading", path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| other("reading", path, source))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|source| other("encoding", path, source))?;
    write_synced(path, &bytes)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut file = File::create(path).map_err(|source| io("creating", path, source))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| io("writing", path, source))
}

fn sync_dir(path: &Path) -> Result<(), StateError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| io("syncing", path, source))
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> StateError {
    other(action, path, source)
}

fn other(action: &'static str, path: &Path, source: impl Into<BoxError>) -> StateError {
    StateError::Io { action, path: path.display().to_string(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::testing::block;

    fn batch(values: Vec<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        RecordBatch::try_new(schema, vec![column]).unwrap()
    }

    fn checkpoint(tick: Tick) -> Checkpoint {
        Checkpoint {
            tick,
            cursor: Some(9),
            finalized: Some(block(b'a', 1, None)),
            open: vec![TrackedBlock { block: block(b'a', 2, None), rows: vec![batch(vec![1, 2])] }],
            operators: SavedStates::from([("v/aggregate-0".to_owned(), vec![batch(vec![3]), batch(vec![])])]),
            sinks: vec![("s".to_owned(), SinkState { facts: serde_json::json!({"at": 5}), rows: vec![] })],
            feeds: vec![("watchlist".to_owned(), batch(vec![4, 5])), ("empty".to_owned(), batch(vec![]))],
        }
    }

    #[test]
    fn the_newest_checkpoint_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, none) = StateDir::open(folder.path(), "job", false).unwrap();
        assert!(none.is_none());
        state.write(&checkpoint(4)).unwrap();
        state.write(&checkpoint(7)).unwrap();
        assert!(matches!(StateDir::open(folder.path(), "job", false), Err(StateError::InUse { .. })));
        drop(state);
        let (_, found) = StateDir::open(folder.path(), "job", false).unwrap();
        let found = found.unwrap();
        assert_eq!((found.tick, found.cursor), (7, Some(9)));
        assert_eq!(found.finalized, Some(block(b'a', 1, None)));
        assert_eq!(found.open[0].rows, [batch(vec![1, 2])]);
        assert_eq!(found.operators["v/aggregate-0"], [batch(vec![3]), batch(vec![])]);
        assert_eq!(found.sinks[0].1.facts, serde_json::json!({"at": 5}));
        assert_eq!(found.feeds, checkpoint(7).feeds);
        assert!(!folder.path().join("checkpoint-000000000004").exists());
    }

    #[test]
    fn an_unfinished_checkpoint_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, _) = StateDir::open(folder.path(), "job", false).unwrap();
        state.write(&checkpoint(4)).unwrap();
        fs::create_dir(folder.path().join("checkpoint-000000000009")).unwrap();
        drop(state);
        let (mut state, found) = StateDir::open(folder.path(), "job", false).unwrap();
        assert_eq!(found.unwrap().tick, 4);
        state.write(&checkpoint(9)).unwrap();
    }

    #[test]
    fn state_of_another_job_is_refused_until_reset() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, _) = StateDir::open(folder.path(), "job", false).unwrap();
        state.write(&checkpoint(4)).unwrap();
        drop(state);
        assert!(matches!(StateDir::open(folder.path(), "other", false), Err(StateError::OtherJob { .. })));
        let (_, found) = StateDir::open(folder.path(), "other", true).unwrap();
        assert!(found.is_none());
    }

    #[test]
    fn a_damaged_checkpoint_is_told_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, _) = StateDir::open(folder.path(), "job", false).unwrap();
        state.write(&checkpoint(4)).unwrap();
        drop(state);
        fs::remove_file(folder.path().join("checkpoint-000000000004/operator-0-0.arrow")).unwrap();
        let error = StateDir::open(folder.path(), "job", false).unwrap_err();
        assert!(error.to_string().ends_with("start again with --reset"), "{error}");
        StateDir::open(folder.path(), "job", true).unwrap();
    }
}
