//! `WITH RECURSIVE`, and `WITH MUTUALLY RECURSIVE name (column type, …) AS (query), … query`.
//!
//! sqlparser reads the second as WITH RECURSIVE whose columns have types, which SQL does not allow otherwise: that is how it
//! is known. DataFusion cannot plan it, so each binding is planned for itself, with the others in scope.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, Cast, Expr, Extension, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    UserDefinedLogicalNodeCore, WindowUDF,
};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{ColumnDef, Cte, Expr as SqlExpr, Query, Statement, Value};

use super::context::{Context, Relation, RelationSource};
use super::errors::Place;
use crate::diagnostic::{Code, Diagnostic};
use crate::sql::{RECURSION_LIMIT, normal};

/// Rounds that a recursion may take, if the query does not say.
const DEFAULT_LIMIT: u64 = 10_000;

/// Relations defined by each other, and which of them is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MutualNode {
    pub(super) names: Vec<String>,
    pub(super) bodies: Vec<LogicalPlan>,
    pub(super) result: usize,
    pub(super) limit: u64,
    /// Whether each row counts once (`WITH RECURSIVE … UNION …`).
    pub(super) distinct: bool,
    schema: DFSchemaRef,
}

impl PartialOrd for MutualNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for MutualNode {
    fn name(&self) -> &str {
        "MutualRecursion"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.bodies.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MutualRecursion: {} of {}", self.names[self.result], self.names.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, bodies: Vec<LogicalPlan>) -> Result<Self> {
        Ok(MutualNode { bodies, ..self.clone() })
    }
}

/// The rounds that a query allows its recursion.
pub(super) fn limit_of(query: &Query) -> u64 {
    let settings = query.settings.iter().flatten();
    let limit = settings.filter(|setting| setting.key.value == RECURSION_LIMIT).find_map(|setting| {
        let SqlExpr::Value(value) = &setting.value else { return None };
        match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        }
    });
    limit.unwrap_or(DEFAULT_LIMIT)
}

/// The bindings of a query that are defined by each other, if they are.
pub(super) fn bindings(query: &Query) -> Option<&[Cte]> {
    let with = query.with.as_ref().filter(|with| with.recursive)?;
    let typed =
        |cte: &Cte| !cte.alias.columns.is_empty() && cte.alias.columns.iter().all(|column| column.data_type.is_some());
    with.cte_tables.iter().all(typed).then_some(&with.cte_tables)
}

/// The plan of a query over relations that are defined by each other.
pub(super) fn plan(query: &Query, context: &Context, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    let Some(ctes) = bindings(query) else {
        return Err(Diagnostic::new(Code::Internal, "no recursion here", place.start()));
    };
    let diagnose = |error| place.diagnose(&error);
    let mut schemas = Vec::with_capacity(ctes.len());
    let mut overlay = Overlay { base: context, relations: BTreeMap::new() };
    for cte in ctes {
        let name = normal(&cte.alias.name);
        let schema = declared(cte, context).map_err(diagnose)?;
        let source = RelationSource::new(Relation::Work(name.clone()), schema.clone());
        if overlay.relations.insert(name.clone(), Arc::new(source)).is_some() {
            let message = format!("\"{name}\" is defined twice");
            return Err(Diagnostic::new(Code::DuplicateName, message, place.find(&name)));
        }
        schemas.push((name, schema));
    }
    let mut bodies = Vec::with_capacity(ctes.len());
    for (cte, (name, schema)) in ctes.iter().zip(&schemas) {
        let body = planned(&cte.query, &overlay).map_err(diagnose)?;
        bodies.push(typed(body, schema).map_err(|error| misfit(&error, name, place))?);
    }
    let names: Vec<String> = schemas.iter().map(|(name, _)| name.clone()).collect();
    let limit = limit_of(query);
    for (result, (name, schema)) in schemas.iter().enumerate() {
        let df_schema = Arc::new(DFSchema::try_from(schema.as_ref().clone()).map_err(diagnose)?);
        let node = MutualNode {
            names: names.clone(),
            bodies: bodies.clone(),
            result,
            limit,
            distinct: false,
            schema: df_schema,
        };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let source = RelationSource::new(Relation::Inlined(Arc::new(plan)), schema.clone());
        overlay.relations.insert(name.clone(), Arc::new(source));
    }
    planned(&Query { with: None, settings: None, ..query.clone() }, &overlay).map_err(diagnose)
}

/// Puts our node in the place of DataFusion's: a relation that is defined by itself alone.
pub(super) fn own(plan: LogicalPlan, limit: u64) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::RecursiveQuery(query) = plan else { return Ok(Transformed::no(plan)) };
        let body = LogicalPlanBuilder::from(query.static_term.as_ref().clone());
        let body = body.union(query.recursive_term.as_ref().clone())?.build()?;
        let node = MutualNode {
            names: vec![query.name.clone()],
            bodies: vec![body],
            result: 0,
            limit,
            distinct: query.is_distinct,
            schema: query.schema.clone(),
        };
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    })?;
    Ok(plan.data)
}

fn misfit(error: &datafusion_common::DataFusionError, name: &str, place: &Place<'_>) -> Diagnostic {
    let found = place.diagnose(error);
    Diagnostic::new(Code::TypeMismatch, found.message, place.find(name))
        .with_hint(format!("the query of \"{name}\" must have the columns that are declared for it"))
}

fn planned(query: &Query, context: &Overlay<'_>) -> Result<LogicalPlan> {
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    SqlToRel::new_with_options(context, options)
        .sql_statement_to_plan(Statement::Query(Box::new(query.clone())))
        .and_then(super::asof::own)
}

/// The declared columns of a binding.
fn declared(cte: &Cte, context: &Context) -> Result<SchemaRef> {
    let columns = cte.alias.columns.iter().filter_map(|column| {
        Some(ColumnDef { name: column.name.clone(), data_type: column.data_type.clone()?, options: Vec::new() })
    });
    let options = ParserOptions::new().with_map_string_types_to_utf8view(false);
    let schema = SqlToRel::new_with_options(context, options).build_schema(columns.collect())?;
    Ok(Arc::new(schema))
}

/// A body with just the declared columns.
fn typed(body: LogicalPlan, schema: &SchemaRef) -> Result<LogicalPlan> {
    let found = body.schema().fields().len();
    if found != schema.fields().len() {
        return datafusion_common::plan_err!("the query has {found} columns, {} are declared", schema.fields().len());
    }
    let columns: Vec<Expr> = (0..found)
        .map(|index| {
            let column = Expr::Column(datafusion_common::Column::from(body.schema().qualified_field(index)));
            let field = schema.field(index);
            Expr::Cast(Cast::new(Box::new(column), field.data_type().clone())).alias(field.name())
        })
        .collect();
    LogicalPlanBuilder::from(body).project(columns)?.build()
}

/// A context with more relations in scope.
struct Overlay<'c> {
    base: &'c Context,
    relations: BTreeMap<String, Arc<dyn TableSource>>,
}

impl ContextProvider for Overlay<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if let TableReference::Bare { table } = &name
            && let Some(source) = self.relations.get(table.as_ref())
        {
            return Ok(source.clone());
        }
        self.base.get_table_source(name)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        self.base.create_cte_work_table(name, schema)
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.base.get_expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.base.get_relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        self.base.get_type_planner()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.base.get_function_meta(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.base.get_higher_order_meta(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.base.get_aggregate_meta(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.base.get_window_meta(name)
    }

    fn get_variable_type(&self, names: &[String]) -> Option<DataType> {
        self.base.get_variable_type(names)
    }

    fn options(&self) -> &ConfigOptions {
        self.base.options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.base.udf_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.base.higher_order_function_names()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.base.udaf_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.base.udwf_names()
    }
}
