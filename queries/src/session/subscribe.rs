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

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::plan::{LoadError, LoadRequest};
    use crate::session::{Answer, World};

    /// A world of one table, `t (a)`.
    struct OneTable;

    fn rows(values: &[i64]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
    }

    impl World for OneTable {
        fn load_table(&mut self, _: &LoadRequest) -> Result<RecordBatch, LoadError> {
            Ok(rows(&[10]))
        }

        fn connector_of(&self, path: &str) -> Option<&'static str> {
            (path == "one.file").then_some("one")
        }
    }

    fn subscription(session: &mut Session, text: &str) -> Subscription {
        match session.execute(text).unwrap().pop() {
            Some(Answer::Subscription(subscription)) => subscription,
            other => panic!("{other:?}"),
        }
    }

    fn shown(changes: Option<Delta>) -> Vec<(i64, i64)> {
        let rows = |delta: Delta| {
            let values = delta.batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            values.into_iter().enumerate().map(|(row, value)| (value, delta.diffs.at(row))).collect()
        };
        changes.map(rows).unwrap_or_default()
    }

    #[test]
    fn a_query_is_stepped_by_the_changes_of_what_it_reads() {
        let mut session = Session::over(Box::new(OneTable));
        session
            .execute("CREATE TABLE t WITH (connector = 'one'); CREATE VIEW big AS SELECT a FROM t WHERE a > 1")
            .unwrap();
        let text = "SUBSCRIBE TO (SELECT CAST(sum(a) AS BIGINT) AS s FROM big ORDER BY s) WITH (PROGRESS, SNAPSHOT = false) UP TO 9";
        let wanted = subscription(&mut session, text);
        assert_eq!((wanted.snapshot, wanted.progress, wanted.up_to), (false, true, Some(9)));
        let mut following = session.follow(&wanted, &|name| name == "t").unwrap();
        assert_eq!(following.tables, ["t"]);
        let mut step = |tick, values: &[i64], diff| {
            let changes = vec![(0, Delta::derived(rows(values), vec![diff; values.len()]))];
            shown(following.step(tick, 0, changes).unwrap())
        };
        assert_eq!(step(3, &[1, 2, 3], 1), [(5, 1)]);
        assert_eq!(step(4, &[1], -1), []);
        assert_eq!(step(7, &[2], -1), [(5, -1), (3, 1)]);
    }

    #[test]
    fn what_does_not_come_in_steps_is_there_at_once_and_files_are_forgotten() {
        let mut session = Session::over(Box::new(OneTable));
        session.execute("CREATE TABLE own (a BIGINT); INSERT INTO own VALUES (1), (1)").unwrap();
        let wanted = subscription(&mut session, "SUBSCRIBE (SELECT a FROM own UNION ALL SELECT a FROM 'one.file')");
        let mut following = session.follow(&wanted, &|_| false).unwrap();
        assert_eq!(shown(following.step(0, 0, Vec::new()).unwrap()), [(1, 2), (10, 1)]);
        assert_eq!(session.names(), ["own"]);
        assert!(session.definitions.iter().all(|definition| !definition.implied));
        session.execute("CREATE VIEW kept AS SELECT a FROM 'one.file'").unwrap();
        assert!(session.definitions.iter().any(|definition| definition.implied));
    }

    #[test]
    fn a_session_without_a_world_has_no_files() {
        let mut session = Session::new();
        let error = session.execute("SELECT * FROM 'one.file'").unwrap_err().to_string();
        assert!(error.contains("table \"one.file\" does not exist"), "{error}");
        let error = session.execute("CREATE TABLE t WITH (connector = 'csv', path = 'x')").unwrap_err().to_string();
        assert!(error.contains("no table connector \"csv\""), "{error}");
    }
}
