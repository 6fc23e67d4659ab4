//! A source followed from its own thread, as a job follows it.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use highwater_engine::model::{BlockRef, BlockRun};
use highwater_engine::source::{ReadRequest, Source, SourceEvent, SourceReader};

/// How long a source may take to get to where it must be.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came so far.
#[derive(Default)]
pub(crate) struct Followed {
    /// The canonical chain with the rows of each block.
    pub(crate) chain: Vec<(BlockRef, Vec<RecordBatch>)>,
    /// For each reorg how many blocks were taken back.
    pub(crate) reorgs: Vec<usize>,
    /// How often the source had nothing.
    pub(crate) idles: u64,
    error: Option<String>,
    stop: bool,
}

/// A source that is being followed.
pub(crate) struct Follower {
    shared: Arc<(Mutex<Followed>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn start(source: Box<dyn Source>, request: ReadRequest) -> Follower {
        let shared = Arc::<(Mutex<Followed>, Condvar)>::default();
        let mut reader = source.start(request).unwrap();
        let told = shared.clone();
        let thread = std::thread::spawn(move || while follow_on(reader.as_mut(), &told) {});
        Follower { shared, thread: Some(thread) }
    }

    /// Waits until the head of the followed chain has this hash.
    pub(crate) fn wait_for_head(&self, hash: [u8; 32]) {
        self.wait("the head", |followed| followed.chain.last().is_some_and(|(block, _)| block.hash.0 == hash));
    }

    /// Waits until `condition` holds. Fails if the source fails.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Followed) -> bool) {
        let (lock, changed) = &*self.shared;
        let waits = |followed: &mut Followed| !condition(followed) && followed.error.is_none();
        let (followed, _) = changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, waits).unwrap();
        let (head, error) = (followed.chain.last().map(|(block, _)| *block), followed.error.clone());
        assert!(error.is_none(), "the source failed: {error:?}");
        assert!(condition(&followed), "waited in vain for {what}; the head is {head:?}");
    }

    /// Waits until the source fails, and says how.
    pub(crate) fn wait_for_error(&self) -> String {
        let (lock, changed) = &*self.shared;
        let waits = |followed: &mut Followed| followed.error.is_none();
        let (followed, _) = changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, waits).unwrap();
        followed.error.clone().expect("the source had to fail and did not")
    }

    /// Reads what came so far.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Followed) -> T) -> T {
        read(&self.shared.0.lock().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Ok(mut followed) = self.shared.0.lock() {
            followed.stop = true;
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn follow_on(reader: &mut dyn SourceReader, (lock, changed): &(Mutex<Followed>, Condvar)) -> bool {
    let event = reader.next();
    let Ok(mut followed) = lock.lock() else { return false };
    match event {
        Ok(SourceEvent::Blocks { run, .. }) => followed.apply(&run),
        Ok(SourceEvent::Idle) => followed.idles += 1,
        Ok(SourceEvent::Skipped { .. }) => {}
        Ok(SourceEvent::End) => followed.error = Some("the source ended".to_owned()),
        Err(error) => followed.error = Some(format!("{error:?}")),
    }
    changed.notify_all();
    !followed.stop && followed.error.is_none()
}

impl Followed {
    fn apply(&mut self, run: &BlockRun) {
        let first = run.blocks[0];
        if self.chain.last().is_some_and(|(head, _)| head.hash != first.parent) {
            let fork = self.chain.iter().rposition(|(block, _)| block.hash == first.parent);
            let whole = self.chain[0].0.parent == first.parent;
            let Some(keep) = fork.map(|fork| fork + 1).or(whole.then_some(0)) else {
                self.error = Some(format!("block {} has an unknown parent", first.number));
                return;
            };
            self.reorgs.push(self.chain.len() - keep);
            self.chain.truncate(keep);
        }
        for (index, block) in run.blocks.iter().enumerate() {
            let rows = run.tables.iter().map(|table| table.slice(index, index + 1)).collect();
            self.chain.push((*block, rows));
        }
    }
}
