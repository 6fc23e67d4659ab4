//! `mode = 'snapshot'`: the folder holds the view as it is.
//!
//! Rows that are final leave memory: they are sorted, wait until `file_rows` of them are together, and
//! go into a file that is never touched again. The rest, and final rows still waiting, are written at
//! each snapshot into files that replace those of the last one. Files of final rows are cut by the
//! number of rows alone, so ticks of any size and any number of workers end in the same bytes.
//!
//! State: rows that are not final, and at most `file_rows` that are. A retraction removes a row; a row
//! in a file of final rows is never taken back.

use std::collections::BTreeMap;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::Delta;
use highwater_engine::sink::{Sink, SinkError, SinkReport, SinkRequest, SinkState, SinkTick};
use serde::{Deserialize, Serialize};

use super::buffer::{Buffer, Cut};
use super::cadence::{Cadence, Timer};
use super::manifest::{Head, Manifest, Part};
use super::partition::Partition;
use super::store::Store;
use crate::common::{counted, encode_error, unsupported, write_error};
use crate::contents::{Contents, Sealed};
use crate::lines::count;

/// A running snapshot sink.
pub(super) struct Snapshot {
    store: Store,
    contents: Contents,
    timer: Timer,
    partition: Option<Partition>,
    file_rows: usize,
    /// Final rows that wait for their file, by folder.
    waiting: BTreeMap<String, Buffer>,
    /// Files of final rows.
    parts: Vec<Part>,
    /// Files of the last snapshot.
    live: Vec<Part>,
    /// Name of those, to give the next ones another.
    live_name: Option<(u64, u32)>,
    /// Whether rows have changed since the last snapshot.
    changed: bool,
    head: Option<Head>,
    inserted: u64,
    retracted: u64,
}

/// What a checkpoint keeps besides rows.
#[derive(Serialize, Deserialize)]
struct Facts {
    parts: Vec<Part>,
    head: Option<Head>,
    inserted: u64,
    retracted: u64,
}

impl Snapshot {
    pub(super) fn new(
        request: &SinkRequest,
        store: Store,
        cadence: Cadence,
        partition: Option<Partition>,
        file_rows: usize,
    ) -> Result<Snapshot, SinkError> {
        Ok(Snapshot {
            store,
            contents: Contents::sealing(request).map_err(|error| unsupported(request, error.to_string()))?,
            timer: Timer::new(cadence),
            partition,
            file_rows,
            waiting: BTreeMap::new(),
            parts: Vec::new(),
            live: Vec::new(),
            live_name: None,
            changed: true,
            head: None,
            inserted: 0,
            retracted: 0,
        })
    }

    /// Final rows: to their folders, and into a file whenever enough are together.
    fn take_sealed(&mut self, sealed: &Sealed) -> Result<(), SinkError> {
        let Some(partition) = self.partition.clone() else {
            self.wait(String::new(), sealed.batch.clone())?;
            return self.write_full();
        };
        // One closing value at a time, so that the files do not depend on how many a tick has made final.
        let mut start = 0;
        for end in &sealed.ends {
            let rows = sealed.batch.slice(start, end - start);
            for (folder, rows) in partition.split(&rows).map_err(|error| self.encoding(error))? {
                self.wait(folder, rows)?;
            }
            self.write_full()?;
            start = *end;
        }
        Ok(())
    }

    fn wait(&mut self, folder: String, rows: RecordBatch) -> Result<(), SinkError> {
        let pushed = self.waiting.entry(folder).or_default().push(rows);
        pushed.map_err(|error| self.encoding(error))
    }

    /// While `file_rows` rows wait: the folder with most of them gets a file.
    fn write_full(&mut self) -> Result<(), SinkError> {
        while self.waiting.values().map(Buffer::rows).sum::<usize>() >= self.file_rows {
            let largest = self.waiting.iter().rev().max_by_key(|(_, buffer)| buffer.rows());
            let Some((folder, buffer)) = largest else { return Ok(()) };
            let folder = folder.clone();
            let rows = buffer.rows().min(self.file_rows);
            let name = format!("{}__{:06}", self.store.stem(), self.parts.len());
            let facts = [("highwater.finality", "final".to_owned())];
            let mut part = self.store.write(&folder, &name, buffer.front(rows).into_iter().map(Ok), &facts)?;
            part.is_final = Some(true);
            self.parts.push(part);
            if let Some(buffer) = self.waiting.get_mut(&folder) {
                buffer.drop_front(rows);
            }
            self.waiting.retain(|_, buffer| buffer.rows() > 0);
        }
        Ok(())
    }

    /// Brings the folder to the current state of the view.
    fn write_snapshot(&mut self) -> Result<(), SinkError> {
        if self.changed {
            let (name, live) = self.write_live()?;
            self.commit_manifest(&live)?;
            let old = std::mem::replace(&mut self.live, live);
            self.live_name = Some(name);
            self.store.remove(&old)?;
            self.changed = false;
            return Ok(());
        }
        let live = self.live.clone();
        self.commit_manifest(&live)
    }

    fn commit_manifest(&mut self, live: &[Part]) -> Result<(), SinkError> {
        let files = self.parts.iter().chain(live).cloned().collect();
        let manifest = Manifest::new(self.store.view(), "snapshot", self.head, files);
        tracing::debug!(view = self.store.view(), block = manifest.block, rows = manifest.rows, "snapshot");
        self.store.commit(&manifest)
    }

    /// Writes all rows that are in memory, under names of their own.
    fn write_live(&mut self) -> Result<((u64, u32), Vec<Part>), SinkError> {
        let block = self.head.map_or(0, |head| head.block);
        let revision = match self.live_name {
            Some((last, revision)) if last == block => revision + 1,
            _ => 0,
        };
        let revised = if revision == 0 { String::new() } else { format!("_r{revision}") };
        let stem = format!("{}__live_{block:012}{revised}", self.store.stem());
        let view = self.store.view().to_owned();
        let finality = if self.contents.len() == 0 { "final" } else { "latest" };
        let facts = [("highwater.finality", finality.to_owned()), ("highwater.last_block", block.to_string())];

        let file_rows = self.file_rows;
        let store = &mut self.store;
        let mut written = Vec::new();
        let mut write = |folder: &str, count: usize, rows: &mut dyn Iterator<Item = _>| -> Result<(), SinkError> {
            let mut rows = Cut::new(rows);
            for index in 0..count.div_ceil(file_rows).max(1) {
                let name = if index == 0 { stem.clone() } else { format!("{stem}_{index}") };
                let mut part = store.write(folder, &name, rows.take(file_rows), &facts)?;
                part.is_final = Some(false);
                written.push(part);
            }
            Ok(())
        };
        match &self.partition {
            None => {
                let waiting = self.waiting.values().flat_map(|buffer| buffer.batches().iter().cloned().map(Ok));
                let count = self.waiting.values().map(Buffer::rows).sum::<usize>() + self.contents.len();
                // An empty file tells readers the columns.
                if count > 0 || self.parts.is_empty() {
                    write("", count, &mut waiting.chain(self.contents.batches()))?;
                }
            }
            Some(partition) => {
                let split = by_folder(partition, &self.waiting, self.contents.batches());
                let folders = split.map_err(|error| encode_error(&view, error))?;
                for (folder, rows) in &folders {
                    let count = rows.iter().map(RecordBatch::num_rows).sum();
                    write(folder, count, &mut rows.iter().cloned().map(Ok))?;
                }
                if folders.is_empty() && self.parts.is_empty() {
                    write("", 0, &mut std::iter::empty())?;
                }
            }
        }
        Ok(((block, revision), written))
    }

    fn encoding(&self, error: ArrowError) -> SinkError {
        encode_error(self.store.view(), error)
    }
}

/// Rows by folder, final ones first; no folder is without rows.
fn by_folder(
    partition: &Partition,
    waiting: &BTreeMap<String, Buffer>,
    live: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<BTreeMap<String, Vec<RecordBatch>>, ArrowError> {
    let waiting = waiting.iter().filter(|(_, buffer)| buffer.rows() > 0);
    let mut folders: BTreeMap<String, Vec<RecordBatch>> =
        waiting.map(|(folder, buffer)| (folder.clone(), buffer.batches().to_vec())).collect();
    for rows in live {
        for (folder, rows) in partition.split(&rows?)? {
            folders.entry(folder).or_default().push(rows);
        }
    }
    Ok(folders)
}

impl Sink for Snapshot {
    fn canonical_order(&self) -> bool {
        false
    }

    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        for delta in tick.changes.iter().filter(|delta| !delta.is_empty()) {
            let (inserted, retracted) = count(delta);
            self.inserted += inserted;
            self.retracted += retracted;
            self.changed = true;
        }
        self.head = Some(Head { block: tick.progress.head_number, time_ms: tick.progress.now_ms });
        let sealed = self.contents.commit(tick.changes, tick.progress).map_err(|error| self.encoding(error))?;
        if let Some(sealed) = sealed {
            self.changed = true;
            self.take_sealed(&sealed)?;
        }
        if self.timer.due(tick.progress) {
            self.write_snapshot()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        self.write_snapshot()?;
        let facts =
            Facts { parts: self.parts.clone(), head: self.head, inserted: self.inserted, retracted: self.retracted };
        let facts = serde_json::to_value(facts)
            .map_err(|error| write_error("saving the state of", self.store.root(), error))?;
        // Waiting rows are final but in no lasting file: they come back as rows and are sealed again.
        let mut rows: Vec<RecordBatch> = self.waiting.values().flat_map(|buffer| buffer.batches().to_vec()).collect();
        for batch in self.contents.batches() {
            rows.push(batch.map_err(|error| self.encoding(error))?);
        }
        Ok(SinkState { facts, rows })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let facts: Facts = serde_json::from_value(state.facts.clone())
            .map_err(|error| write_error("loading the state of", self.store.root(), error))?;
        self.store.resume(&facts.parts)?;
        self.parts = facts.parts;
        self.head = facts.head;
        (self.inserted, self.retracted) = (facts.inserted, facts.retracted);
        self.waiting.clear();
        self.live.clear();
        self.live_name = None;
        self.contents.clear();
        for batch in &state.rows {
            let delta = Delta::derived(batch.clone(), vec![1; batch.num_rows()]);
            self.contents.add(&delta).map_err(|error| encode_error(self.store.view(), error))?;
        }
        self.changed = true;
        self.write_snapshot()?;
        let files: Vec<Part> = self.parts.iter().chain(&self.live).cloned().collect();
        self.store.keep_only(&files)
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        self.write_snapshot()?;
        let files = u64::try_from(self.parts.len() + self.live.len()).unwrap_or(u64::MAX);
        let place = format!("{} in {}", counted(files, "file"), self.store.root().display());
        Ok(SinkReport { inserted: self.inserted, retracted: self.retracted, place })
    }
}
