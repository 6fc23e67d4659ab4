//! What the materialised views of a running job hold, for whoever reads them.
//!
//! The sinks of the views bring the changes of a tick one after the other; the last of them makes the tick
//! visible, all views at once. So a snapshot is always of one sealed tick. A row is its `arrow-row` bytes and a
//! count; a snapshot copies references to them under the lock and makes rows of them outside.
//!
//! A subscriber has a queue of bounded length. Who does not read it fast enough is dropped: the job never waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_engine::model::{Delta, Progress};

/// Ticks that a subscriber may be behind.
const QUEUED_TICKS: usize = 1024;
/// Changed rows that it may be behind.
const QUEUED_ROWS: usize = 1 << 20;
/// Rows made at once: bounds the memory of a snapshot of a large view, and the length of a message.
const CHUNK_ROWS: usize = 1 << 15;
/// How long a job that has ended waits for its subscribers to read the rest.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The changes of one tick, by view.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) progress: Progress,
    pub(super) changes: Vec<(usize, Delta)>,
}

/// A view that is served.
pub(super) struct Served {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    converter: RowConverter,
}

/// The views of a job.
pub(in super::super) struct Hub {
    pub(super) views: Vec<Served>,
    state: Mutex<State>,
    /// A subscription has ended.
    left: Condvar,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("views", &self.views.len()).finish_non_exhaustive()
    }
}

type Contents = BTreeMap<Arc<[u8]>, i64>;

#[derive(Default)]
struct State {
    contents: Vec<Contents>,
    /// The chain at the tick that is visible.
    progress: Option<Progress>,
    /// Changes of the next tick.
    pending: Vec<(usize, Delta)>,
    subscribers: Vec<Subscriber>,
    /// Subscriptions whose connections are open.
    open: usize,
    ended: bool,
}

struct Subscriber {
    views: Vec<usize>,
    progress: bool,
    queue: SyncSender<Arc<Sealed>>,
    queued_rows: Arc<AtomicUsize>,
}

/// The rows of views at one tick, not made yet.
pub(super) struct Snapshot {
    pub(super) progress: Option<Progress>,
    views: Vec<(usize, Vec<Counted>)>,
}

/// A row and how often it is there.
type Counted = (Arc<[u8]>, i64);

/// What a subscription gets.
pub(super) struct Subscribed {
    pub(super) ticks: Receiver<Arc<Sealed>>,
    queued_rows: Arc<AtomicUsize>,
    hub: Arc<Hub>,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.hub.lock().open -= 1;
        self.hub.left.notify_all();
    }
}

impl Subscribed {
    /// The next tick; none if there will be no more.
    pub(super) fn next(&self) -> Option<Arc<Sealed>> {
        let sealed = self.ticks.recv().ok()?;
        self.queued_rows.fetch_sub(rows_of(&sealed.changes), Ordering::Relaxed);
        Some(sealed)
    }
}

fn rows_of(changes: &[(usize, Delta)]) -> usize {
    changes.iter().map(|(_, delta)| delta.len()).sum()
}

impl Hub {
    /// Views of these names and columns, empty.
    pub(in super::super) fn new(views: Vec<(String, SchemaRef)>) -> Result<Arc<Hub>, ArrowError> {
        let views = views.into_iter().map(|(name, schema)| {
            let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
            let converter = RowConverter::new(fields.collect())?;
            Ok(Served { name, schema, converter })
        });
        let views = views.collect::<Result<Vec<_>, ArrowError>>()?;
        let contents = views.iter().map(|_| Contents::new()).collect();
        let state = Mutex::new(State { contents, ..State::default() });
        Ok(Arc::new(Hub { views, state, left: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }

    /// Takes the changes of one view; with those of the last view the tick becomes visible.
    pub(super) fn take(&self, view: usize, deltas: &[Delta], progress: &Progress) -> Result<(), ArrowError> {
        let mut state = self.lock();
        for delta in deltas.iter().filter(|delta| !delta.is_empty()) {
            state.pending.push((view, delta.clone()));
        }
        if view + 1 < self.views.len() {
            return Ok(());
        }
        let changes = std::mem::take(&mut state.pending);
        for (view, delta) in &changes {
            self.add(&mut state.contents[*view], *view, delta)?;
        }
        state.progress = Some(progress.clone());
        let sealed = Arc::new(Sealed { progress: progress.clone(), changes });
        state.subscribers.retain(|subscriber| subscriber.offer(&sealed));
        Ok(())
    }

    fn add(&self, contents: &mut Contents, view: usize, delta: &Delta) -> Result<(), ArrowError> {
        let rows = self.views[view].converter.convert_columns(delta.batch.columns())?;
        for (row, encoded) in rows.iter().enumerate() {
            let bytes: &[u8] = encoded.as_ref();
            match contents.get_mut(bytes) {
                Some(count) => {
                    *count += delta.diffs.at(row);
                    if *count == 0 {
                        contents.remove(bytes);
                    }
                }
                None => {
                    contents.insert(Arc::from(bytes), delta.diffs.at(row));
                }
            }
        }
        Ok(())
    }

    /// A view has what it had at a checkpoint.
    pub(super) fn restore(&self, view: usize, rows: &[RecordBatch], progress: Progress) -> Result<(), ArrowError> {
        let mut state = self.lock();
        for batch in rows {
            let whole = Delta::derived(batch.clone(), vec![1; batch.num_rows()]);
            self.add(&mut state.contents[view], view, &whole)?;
        }
        state.progress = Some(progress);
        Ok(())
    }

    /// The rows of views at the tick that is visible.
    pub(super) fn snapshot(&self, views: &[usize]) -> Snapshot {
        snapshot_of(&self.lock(), views)
    }

    /// The rows of views, and all ticks after.
    pub(super) fn subscribe(self: &Arc<Hub>, views: &[usize], progress: bool) -> (Snapshot, Subscribed) {
        let mut state = self.lock();
        let (queue, ticks) = sync_channel(QUEUED_TICKS);
        let queued_rows = Arc::new(AtomicUsize::new(0));
        state.open += 1;
        if !state.ended {
            let queued_rows = queued_rows.clone();
            state.subscribers.push(Subscriber { views: views.to_vec(), progress, queue, queued_rows });
        }
        (snapshot_of(&state, views), Subscribed { ticks, queued_rows, hub: self.clone() })
    }

    /// Whether the job has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The job has ended: subscribers read what is left.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.subscribers.clear();
        let waited = self.left.wait_timeout_while(state, LAST_WAIT, |state| state.open > 0);
        drop(waited);
    }

    /// The rows of a snapshot, in pieces.
    pub(super) fn rows(
        &self,
        snapshot: &Snapshot,
        mut take: impl FnMut(usize, RecordBatch) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        for (view, rows) in &snapshot.views {
            let served = &self.views[*view];
            let parser = served.converter.parser();
            let copies = rows
                .iter()
                .flat_map(|(bytes, count)| std::iter::repeat_n(bytes, usize::try_from(*count).unwrap_or_default()));
            let mut copies = copies.peekable();
            while copies.peek().is_some() {
                let piece = copies.by_ref().take(CHUNK_ROWS).map(|bytes| parser.parse(bytes));
                let columns = served.converter.convert_rows(piece).map_err(std::io::Error::other)?;
                let batch = RecordBatch::try_new(served.schema.clone(), columns).map_err(std::io::Error::other)?;
                take(*view, batch)?;
            }
        }
        Ok(())
    }
}

fn snapshot_of(state: &State, views: &[usize]) -> Snapshot {
    let rows = |view: &usize| {
        let rows = state.contents[*view].iter().map(|(bytes, count)| (bytes.clone(), *count));
        (*view, rows.collect())
    };
    Snapshot { progress: state.progress.clone(), views: views.iter().map(rows).collect() }
}

impl Subscriber {
    /// Queues what of a tick it wants; false if it is too far behind, or gone.
    fn offer(&self, sealed: &Arc<Sealed>) -> bool {
        let wanted = |view: &usize| self.views.contains(view);
        let changes = sealed.changes.iter().filter(|(view, _)| wanted(view));
        let sealed = if sealed.changes.iter().all(|(view, _)| wanted(view)) {
            sealed.clone()
        } else {
            Arc::new(Sealed { progress: sealed.progress.clone(), changes: changes.cloned().collect() })
        };
        if sealed.changes.is_empty() && !self.progress {
            return true;
        }
        let rows = rows_of(&sealed.changes);
        let before = self.queued_rows.fetch_add(rows, Ordering::Relaxed);
        // One large tick alone is no sign of being slow.
        (before == 0 || before + rows <= QUEUED_ROWS) && self.queue.try_send(sealed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use highwater_engine::testing::block;

    use super::*;

    fn hub(views: &[&str]) -> Arc<Hub> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        Hub::new(views.iter().map(|name| ((*name).to_owned(), schema.clone())).collect()).unwrap()
    }

    fn delta(hub: &Hub, values: &[(i64, i64)]) -> Vec<Delta> {
        let column = Int64Array::from_iter_values(values.iter().map(|(value, _)| *value));
        let batch = RecordBatch::try_new(hub.views[0].schema.clone(), vec![Arc::new(column)]).unwrap();
        vec![Delta::derived(batch, values.iter().map(|(_, diff)| *diff).collect())]
    }

    fn at(tick: u64) -> Progress {
        Progress::at(tick, &block(0, tick, None))
    }

    fn values(hub: &Hub, snapshot: &Snapshot) -> Vec<(usize, i64)> {
        let mut found = Vec::new();
        hub.rows(snapshot, |view, batch| {
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
            found.extend(column.values().iter().map(|value| (view, *value)));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn a_tick_is_visible_only_as_a_whole() {
        let hub = hub(&["a", "b"]);
        hub.take(0, &delta(&hub, &[(1, 2)]), &at(1)).unwrap();
        assert_eq!(values(&hub, &hub.snapshot(&[0, 1])), []);
        hub.take(1, &delta(&hub, &[(7, 1)]), &at(1)).unwrap();
        assert_eq!(values(&hub, &hub.snapshot(&[0, 1])), [(0, 1), (0, 1), (1, 7)]);
        let (before, ticks) = hub.subscribe(&[0], false);
        hub.take(0, &delta(&hub, &[(1, -2), (3, 1)]), &at(2)).unwrap();
        hub.take(1, &[], &at(2)).unwrap();
        assert_eq!(values(&hub, &before), [(0, 1), (0, 1)]);
        assert_eq!(values(&hub, &hub.snapshot(&[0])), [(0, 3)]);
        assert_eq!(ticks.next().unwrap().progress.tick, 2);
    }

    #[test]
    fn who_does_not_read_is_dropped_and_the_job_goes_on() {
        let hub = hub(&["a"]);
        let (_, slow) = hub.subscribe(&[0], true);
        let (_, only_changes) = hub.subscribe(&[0], false);
        for tick in 1..=u64::try_from(QUEUED_TICKS).unwrap() + 10 {
            hub.take(0, &[], &at(tick)).unwrap();
        }
        hub.take(0, &delta(&hub, &[(5, 1)]), &at(9_999)).unwrap();
        let mut got = 0;
        while let Some(sealed) = slow.next() {
            got += 1;
            assert_eq!(sealed.progress.tick, got);
        }
        assert_eq!(usize::try_from(got).unwrap(), QUEUED_TICKS);
        assert_eq!(only_changes.next().unwrap().progress.tick, 9_999);
        drop((slow, only_changes));
        hub.end();
        let (snapshot, none) = hub.subscribe(&[0], true);
        assert_eq!(values(&hub, &snapshot), [(0, 5)]);
        assert!(none.next().is_none() && hub.has_ended());
    }
}
