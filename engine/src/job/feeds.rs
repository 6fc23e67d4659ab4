//! What the dataflow has of relations that change from outside, and how it gets to know of changes.

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::JobError;
use crate::consolidate::Consolidator;
use crate::feed::Feed;
use crate::metrics::{Counter, Registry};
use crate::model::Delta;

/// The feeds of a job, in the order of their tables.
pub(super) struct Feeds {
    feeds: Vec<Fed>,
    /// Whether the last tick was one of a change whose rest follows.
    within_change: bool,
}

struct Fed {
    feed: Box<dyn Feed>,
    consolidator: Consolidator,
    /// What the dataflow has.
    known: RecordBatch,
    /// Whether it was asked before.
    asked: bool,
    reloads: Counter,
    errors: Counter,
}

impl Feeds {
    pub(super) fn new(feeds: Vec<Box<dyn Feed>>, metrics: &Registry) -> Result<Feeds, JobError> {
        let feeds = feeds.into_iter().map(|feed| Fed::new(feed, metrics)).collect::<Result<_, _>>()?;
        Ok(Feeds { feeds, within_change: false })
    }

    /// What changed, with the index of the feed. Within an atomic change of several ticks nothing changes.
    pub(super) fn changes(&mut self, more_follow: bool) -> Result<Vec<(usize, Delta)>, JobError> {
        if std::mem::replace(&mut self.within_change, more_follow) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        for (index, fed) in self.feeds.iter_mut().enumerate() {
            changes.extend(fed.change()?.map(|delta| (index, delta)));
        }
        Ok(changes)
    }

    /// What the dataflow has, by name.
    pub(super) fn checkpoint(&self) -> Vec<(String, RecordBatch)> {
        self.feeds.iter().map(|fed| (fed.feed.name().to_owned(), fed.known.clone())).collect()
    }

    /// The dataflow has what it had at a checkpoint.
    pub(super) fn restore(&mut self, saved: &[(String, RecordBatch)]) {
        for fed in &mut self.feeds {
            if let Some((_, known)) = saved.iter().find(|(name, _)| name == fed.feed.name()) {
                fed.known = known.clone();
            }
        }
    }
}

impl Fed {
    fn new(feed: Box<dyn Feed>, metrics: &Registry) -> Result<Fed, JobError> {
        let (name, schema) = (feed.name().to_owned(), feed.schema());
        let label = ("table", name.as_str());
        let consolidator = Consolidator::new(schema.clone(), None)
            .map_err(|source| JobError::Consolidate { name: name.clone(), source })?;
        let errors = "Times a reference table could not be read again.";
        Ok(Fed {
            consolidator,
            known: RecordBatch::new_empty(schema),
            asked: false,
            reloads: metrics.counter("highwater_table_reloads_total", label, "Times a reference table was read again."),
            errors: metrics.counter("highwater_table_reload_errors_total", label, errors),
            feed,
        })
    }

    fn change(&mut self) -> Result<Option<Delta>, JobError> {
        let first = !std::mem::replace(&mut self.asked, true);
        let rows = match self.feed.poll() {
            Ok(Some(rows)) => rows,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.errors.add(1);
                let reason = crate::error::chain(error.as_ref());
                tracing::warn!(
                    table = self.feed.name(),
                    reason,
                    "the table cannot be read again; its rows stay as they were"
                );
                return Ok(None);
            }
        };
        let delta = self.difference(&rows);
        let delta = delta.map_err(|source| JobError::Consolidate { name: self.feed.name().to_owned(), source })?;
        self.known = rows;
        if !first {
            self.reloads.add(1);
            if let Some(delta) = &delta {
                let (rows, changed) = (self.known.num_rows(), delta.len());
                tracing::info!(table = self.feed.name(), rows, changed, "the table has changed");
            }
        }
        Ok(delta)
    }

    /// The rows that came and went, as rows that may go at any time.
    fn difference(&self, rows: &RecordBatch) -> Result<Option<Delta>, ArrowError> {
        let whole = |batch: &RecordBatch, diff| Delta::derived(batch.clone(), vec![diff; batch.num_rows()]);
        self.consolidator.consolidate(&[whole(&self.known, -1), whole(rows, 1)])
    }
}
