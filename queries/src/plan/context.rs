//! The relations and functions of a job, as DataFusion's SQL planner asks for them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};

use super::ir::Node;
use super::registry::{Registry, registry};
use super::window::WindowPlanner;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};

/// What a name in FROM stands for.
#[derive(Clone)]
pub(super) enum Relation {
    /// A table of a source: indices into the job's sources and the source's tables.
    Chain { source: usize, table: usize },
    /// A relation made of tables of the source of this index.
    Block {
        /// Index of the source.
        source: usize,
        /// All its columns.
        node: Arc<Node>,
    },
    /// A maintained view.
    View(usize),
    /// The errors of a maintained view.
    Errors(usize),
    /// A reference table.
    Reference(RecordBatch),
    /// A reference table that is read again: index into the job's reloaded tables.
    Reloaded(usize),
    /// A table of a session whose rows are final by a time column: index into the reloaded tables, the column.
    Watermarked(usize, usize),
    /// A relation that is being defined by itself.
    Work(String),
    /// A view that is put in the place of its name.
    Inlined(Arc<LogicalPlan>),
}

/// A relation with its columns: what a table scan of the plan points to.
pub(super) struct RelationSource {
    pub(super) relation: Relation,
    schema: SchemaRef,
}

impl RelationSource {
    pub(super) fn new(relation: Relation, schema: SchemaRef) -> RelationSource {
        RelationSource { relation, schema }
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        match &self.relation {
            Relation::Inlined(plan) => Some(Cow::Borrowed(plan)),
            _ => None,
        }
    }
}

/// Names in scope, and the functions.
pub(super) struct Context {
    options: ConfigOptions,
    registry: &'static Registry,
    planners: Vec<Arc<dyn RelationPlanner>>,
    /// `source.table`
    chain: BTreeMap<String, BTreeMap<String, Arc<dyn TableSource>>>,
    /// Views and reference tables.
    plain: BTreeMap<String, Arc<dyn TableSource>>,
    /// Views that have mistakes of their own: whoever reads them is not blamed.
    broken: Mutex<Vec<String>>,
}

impl Context {
    pub(super) fn new() -> Context {
        let mut options = ConfigOptions::default();
        options.sql_parser.collect_spans = true;
        Context {
            options,
            registry: registry(),
            planners: vec![Arc::new(WindowPlanner)],
            chain: BTreeMap::new(),
            plain: BTreeMap::new(),
            broken: Mutex::default(),
        }
    }

    pub(super) fn add_source(&mut self, name: &str) {
        self.chain.entry(name.to_owned()).or_default();
    }

    pub(super) fn add_chain_table(&mut self, source: &str, table: &str, relation: Relation, schema: SchemaRef) {
        let tables = self.chain.entry(source.to_owned()).or_default();
        tables.insert(table.to_owned(), Arc::new(RelationSource { relation, schema }));
    }

    pub(super) fn add_relation(&mut self, name: &str, relation: Relation, schema: SchemaRef) {
        self.plain.insert(name.to_owned(), Arc::new(RelationSource { relation, schema }));
    }

    pub(super) fn add_broken(&mut self, name: &str) {
        if let Ok(broken) = self.broken.get_mut() {
            broken.push(name.to_owned());
        }
    }

    pub(super) fn is_broken(&self, name: &str) -> bool {
        self.broken.lock().is_ok_and(|broken| broken.iter().any(|known| known == name))
    }

    /// The columns of a relation that is not a table of a source.
    pub(super) fn schema_of(&self, name: &str) -> Option<SchemaRef> {
        self.plain.get(name).map(|source| source.schema())
    }

    /// The rows of a reference table.
    pub(super) fn reference(&self, name: &str) -> Option<&RecordBatch> {
        match &self.plain.get(name)?.downcast_ref::<RelationSource>()?.relation {
            Relation::Reference(rows) => Some(rows),
            _ => None,
        }
    }

    /// Why a setting cannot use a table, where the reason is that the table is read again.
    pub(super) fn refuse_reloaded(&self, name: &str, span: Span) -> Result<(), Diagnostic> {
        let source = self.plain.get(name).and_then(|source| source.downcast_ref::<RelationSource>());
        match source.map(|source| &source.relation) {
            Some(Relation::Reloaded(_)) => {
                let message = format!("table \"{name}\" is reloaded, and a setting reads its table once");
                let hint = "leave out \"reload\", or keep these rows in a table of their own";
                Err(Diagnostic::new(Code::BadOption, message, span).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn find(&self, name: &TableReference) -> Result<Arc<dyn TableSource>, Diagnostic> {
        match name {
            TableReference::Bare { table } => {
                self.plain.get(table.as_ref()).cloned().ok_or_else(|| self.unknown_bare(table))
            }
            TableReference::Partial { schema, .. } if self.is_broken(schema) => {
                Err(Diagnostic::new(Code::UnknownTable, BROKEN, None))
            }
            TableReference::Partial { schema, table } => {
                let tables = self.chain.get(schema.as_ref()).ok_or_else(|| self.unknown_source(schema))?;
                tables.get(table.as_ref()).cloned().ok_or_else(|| {
                    let names: Vec<&str> = tables.keys().map(String::as_str).collect();
                    let list = format!("its tables are {}", names.join(", "));
                    Diagnostic::new(Code::UnknownTable, format!("source \"{schema}\" has no table \"{table}\""), None)
                        .with_hint(did_you_mean(table, names.iter().copied()).unwrap_or(list))
                })
            }
            TableReference::Full { .. } => {
                Err(Diagnostic::new(Code::UnknownTable, format!("table \"{name}\" does not exist"), None)
                    .with_hint("write source.table or the name of a view"))
            }
        }
    }

    fn unknown_bare(&self, table: &str) -> Diagnostic {
        if self.is_broken(table) {
            return Diagnostic::new(Code::UnknownTable, BROKEN, None);
        }
        let mistake = Diagnostic::new(Code::UnknownTable, format!("table \"{table}\" does not exist"), None);
        let of_source = self.chain.iter().find(|(_, tables)| tables.contains_key(table));
        if let Some((source, _)) = of_source {
            return mistake.with_hint(format!("write {source}.{table}"));
        }
        if let Some(view) = table.strip_suffix("_errors").filter(|view| self.plain.contains_key(*view)) {
            return mistake.with_hint(format!("\"{view}\" must be a MATERIALIZED VIEW to have errors"));
        }
        mistake.with_hint_opt(did_you_mean(table, self.plain.keys().map(String::as_str)))
    }

    fn unknown_source(&self, source: &str) -> Diagnostic {
        let message = format!("source \"{source}\" does not exist");
        let hint = did_you_mean(source, self.chain.keys().map(String::as_str))
            .unwrap_or_else(|| format!("add CREATE SOURCE {source} WITH (connector = …)"));
        Diagnostic::new(Code::UnknownSource, message, None).with_hint(hint)
    }
}

/// The message of a diagnostic that must not be shown, because its cause was shown already.
pub(super) const BROKEN: &str = "the view has mistakes of its own";

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.find(&name).map_err(|mistake| DataFusionError::External(Box::new(mistake)))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(Arc::new(RelationSource { relation: Relation::Work(name.to_owned()), schema }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.registry.expressions
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.registry.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.registry.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.registry.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.registry.window.get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        sorted(&self.registry.scalar)
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        sorted(&self.registry.aggregate)
    }

    fn udwf_names(&self) -> Vec<String> {
        sorted(&self.registry.window)
    }
}

fn sorted<T>(functions: &HashMap<String, T>) -> Vec<String> {
    let mut names: Vec<String> = functions.keys().cloned().collect();
    names.sort_unstable();
    names
}
