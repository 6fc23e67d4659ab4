//! What a session sees of the world outside: tables in files, and the views of a running job.

use std::cell::{RefCell, RefMut};
use std::fmt;

use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::source::TableSchema;

use super::define::Definition;
use super::{Session, SessionError};
use crate::plan::{Catalog, LoadError, LoadRequest, PlannedSetting, PlannedSink, PlannedView};
use crate::sql::{ExplainTarget, SessionStatement, SinkFrom, Statement, relations_read};

/// The world outside a session.
pub trait World {
    /// A query is about to read these tables and views: what [`World::load_table`] then gives of them is of one
    /// moment, whose time is the answer, if it has one (milliseconds since the epoch).
    ///
    /// # Errors
    /// If they are out of reach.
    fn prepare(&mut self, names: &[String]) -> Result<Option<i64>, BoxError> {
        let _ = names;
        Ok(None)
    }

    /// The rows of `CREATE TABLE … WITH (connector = …)`; only their columns count without a `prepare` before.
    ///
    /// # Errors
    /// If there is no such connector, or it cannot read.
    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError>;

    /// The connector that reads a file named in `FROM '…'`; none if the name is no file's.
    fn connector_of(&self, path: &str) -> Option<&'static str>;
}

/// The world of a session, if it has one.
#[derive(Default)]
pub(super) struct Outside(Option<RefCell<Box<dyn World>>>);

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outside").field(&self.0.is_some()).finish()
    }
}

impl Outside {
    fn world(&self) -> Option<RefMut<'_, Box<dyn World>>> {
        self.0.as_ref().map(RefCell::borrow_mut)
    }

    pub(super) fn prepare(&self, names: &[String]) -> Result<Option<i64>, SessionError> {
        match self.world() {
            Some(mut world) => world.prepare(names).map_err(SessionError::World),
            None => Ok(None),
        }
    }
}

impl Session {
    /// A session that sees this world.
    pub fn over(world: Box<dyn World>) -> Session {
        Session { outside: Outside(Some(RefCell::new(world))), ..Session::default() }
    }

    /// What the planner asks.
    pub(super) fn catalog(&self) -> Tables<'_> {
        Tables { outside: &self.outside }
    }

    /// Makes tables of the files that a statement names.
    pub(super) fn adopt_files(&mut self, statement: &SessionStatement) {
        self.adopt(reads_of(statement));
    }

    pub(super) fn adopt(&mut self, names: Vec<String>) {
        for name in names {
            if self.definitions.iter().any(|definition| definition.name == name) {
                continue;
            }
            let connector = self.outside.world().and_then(|world| world.connector_of(&name));
            let Some(connector) = connector else { continue };
            let (quoted, path) = (name.replace('"', "\"\""), name.replace('\'', "''"));
            let text = format!("CREATE TABLE \"{quoted}\" WITH (connector = '{connector}', path = '{path}')");
            self.definitions.push(Definition { name, text, reads: Vec::new(), implied: true, view: false });
        }
    }

    /// Forgets the tables of files that no view reads.
    pub(super) fn release_files(&mut self) {
        let read: Vec<String> = self.definitions.iter().flat_map(|definition| definition.reads.clone()).collect();
        self.definitions.retain(|definition| !definition.implied || read.contains(&definition.name));
    }
}

/// The plain names that a statement reads.
fn reads_of(statement: &SessionStatement) -> Vec<String> {
    match statement {
        SessionStatement::Query(query, _) => relations_read(query),
        SessionStatement::Insert { rows, .. } => relations_read(rows),
        SessionStatement::Subscribe(subscribe) => reads_of_target(&subscribe.target),
        SessionStatement::Job(Statement::View(view)) => relations_read(&view.query),
        SessionStatement::Job(Statement::Explain(explain)) => match &explain.target {
            ExplainTarget::Query(query, _) => relations_read(query),
            ExplainTarget::View(name) => vec![name.text.clone()],
        },
        _ => Vec::new(),
    }
}

pub(super) fn reads_of_target(target: &SinkFrom) -> Vec<String> {
    match target {
        SinkFrom::View(name) => vec![name.text.clone()],
        SinkFrom::Query(query, _) => relations_read(query),
    }
}

/// What the planner may open for a session: tables of its world, and nothing else.
pub(super) struct Tables<'s> {
    outside: &'s Outside,
}

impl Catalog for Tables<'_> {
    fn setting(&mut self, _: &PlannedSetting) -> Result<(), LoadError> {
        Ok(())
    }

    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError> {
        Err(refused("secret", request))
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        Err(refused("source", request))
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        match self.outside.world() {
            Some(mut world) => world.load_table(request),
            None => Err(refused("table", request)),
        }
    }

    /// A table from outside is one whose rows come as changes, as those of the session's own tables do.
    fn overridden(&mut self, _: &str, option: &str) -> Option<String> {
        (option == "reload").then(|| "0 ms".to_owned())
    }

    fn check_sink(&mut self, _: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        Ok(())
    }
}

fn refused(kind: &'static str, request: &LoadRequest) -> LoadError {
    LoadError::UnknownConnector { kind, name: request.connector.clone(), known: Vec::new() }
}
