//! `SUBSCRIBE`: a query of the session that is stepped from outside, tick by tick.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use highwater_engine::consolidate::Consolidator;
use highwater_engine::model::Delta;

use super::live::{Live, Moment};
use super::maintain::no_errors;
use super::table::internal;
use super::{Session, SessionError};
use crate::plan::Shown;
use crate::sql::{SinkFrom, SubscribeStatement};

/// What is to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The query as SQL.
    query: String,
    /// The tables and views that it reads, those that views of the session read included.
    pub reads: Vec<String>,
    /// Whether the rows that are there come first.
    pub snapshot: bool,
    /// Whether ticks without changes are told too.
    pub progress: bool,
    /// The tick before which it ends.
    pub up_to: Option<u64>,
}

/// A query that is followed.
#[derive(Debug)]
pub struct Following {
    live: Live,
    /// The names of the tables that it reads, in the order of their indices.
    pub tables: Vec<String>,
    /// The columns of the query.
    pub schema: SchemaRef,
    columns: Vec<usize>,
    consolidator: Consolidator,
    /// The rows of the tables that do not come from outside, until the first step.
    own: Vec<(usize, Delta)>,
    errors: Vec<Delta>,
}

impl Session {
    /// Checks what is to be followed. `whole` is the text that the places of the statement are places of.
    pub(super) fn subscription(
        &self,
        statement: &SubscribeStatement,
        whole: &str,
        shift: usize,
    ) -> Result<Subscription, SessionError> {
        let SubscribeStatement { target, snapshot, progress, up_to } = statement;
        let query = match target {
            SinkFrom::View(name) => {
                let text = format!("SELECT * FROM \"{}\"", name.text.replace('"', "\"\""));
                self.plan(&text, 0).map_err(|error| match error {
                    SessionError::Statement(mut mistakes) => {
                        for mistake in &mut mistakes {
                            mistake.span = Some(name.span);
                        }
                        super::moved(mistakes, shift)
                    }
                    error => error,
                })?;
                text
            }
            SinkFrom::Query(_, span) => {
                let text = &whole[span.start..span.end];
                self.plan(text, span.start - shift)?;
                text.to_owned()
            }
        };
        let reads = self.needed(&super::world::reads_of_target(target));
        Ok(Subscription { query, reads, snapshot: *snapshot, progress: *progress, up_to: *up_to })
    }

    /// Starts to follow. The rows of the tables that `steps` names come with [`Following::step`], those of the
    /// others are there from the first step.
    ///
    /// # Errors
    /// If the query cannot be maintained.
    pub fn follow(
        &mut self,
        subscription: &Subscription,
        steps: &dyn Fn(&str) -> bool,
    ) -> Result<Following, SessionError> {
        self.adopt(subscription.reads.clone());
        let following = self.start_to_follow(subscription, steps);
        self.release_files();
        following
    }

    fn start_to_follow(
        &self,
        subscription: &Subscription,
        steps: &dyn Fn(&str) -> bool,
    ) -> Result<Following, SessionError> {
        let (plan, view) = self.plan(&subscription.query, 0)?;
        let mut own = Vec::new();
        let held = self.tables_of(&plan);
        for (index, (table, held)) in plan.reloaded.iter().zip(&held).enumerate() {
            if !steps(&table.name) {
                let rows = held.as_ref().rows()?;
                let count = rows.num_rows();
                own.push((index, Delta::derived(rows, vec![1; count])));
            }
        }
        let tables = plan.reloaded.iter().map(|table| table.name.clone()).collect();
        let schema = plan.views[view].schema.clone();
        let shown = plan.views[view].shown.clone();
        let shown = shown.unwrap_or(Shown { columns: schema.fields().len(), sort: Vec::new() });
        let columns: Vec<usize> = (0..shown.columns).collect();
        let schema = Arc::new(schema.project(&columns).map_err(internal)?);
        let consolidator = Consolidator::new(schema.clone(), None).map_err(internal)?;
        let live = Live::start(Arc::new(plan), view, self.workers.max(1))?;
        Ok(Following { live, tables, schema, columns, consolidator, own, errors: Vec::new() })
    }
}

impl Following {
    /// What the changes of one tick do to the query: each row with its change, retractions first. `now_ms` is
    /// the time of the tick. Ticks ascend.
    ///
    /// # Errors
    /// If a row cannot be evaluated.
    pub fn step(
        &mut self,
        tick: u64,
        now_ms: i64,
        mut changes: Vec<(usize, Delta)>,
    ) -> Result<Option<Delta>, SessionError> {
        changes.append(&mut self.own);
        let changed = self.live.step(Moment { tick, now_ms, final_ms: None }, changes)?;
        self.errors.extend(changed.errors);
        no_errors(&self.errors)?;
        self.errors.clear();
        let shown =
            changed.rows.iter().map(|delta| delta.batch.project(&self.columns).map(|rows| delta.with_batch(rows)));
        let shown = shown.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        self.consolidator.consolidate(&shown).map_err(internal)
    }
}
