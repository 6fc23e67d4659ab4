//! The independent evaluation: DataFusion's own engine over the rows that are there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use highwater_engine::model::format::write_json_row;
use tokio::runtime::Runtime;

use crate::Contents;

/// The optimizer without what moves filters.
fn fewer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let moves_filters =
        ["push_down_filter", "filter_null_join_keys", "propagate_empty_relation", "eliminate_outer_join"];
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| !moves_filters.contains(&rule.name()));
    rules
}

/// Evaluates queries from scratch, in two ways.
///
/// DataFusion's optimizer is sometimes wrong: it filters one side of EXCEPT alone, and takes the row of a global
/// aggregate for a constant behind an outer join. Without the rules that move filters it plans other queries wrongly,
/// or not at all. An answer counts that either of the two gives.
pub(crate) struct Oracle {
    runtime: Runtime,
    planners: [Planner; 2],
    tables: BTreeMap<String, Arc<MemTable>>,
}

struct Planner {
    context: SessionContext,
    /// The last query: it is planned once and evaluated at every tick.
    planned: RefCell<Option<(String, LogicalPlan)>>,
}

impl Planner {
    fn new(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> Planner {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
            // It is mistaken about the NULLs of its own plans.
            .set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true);
        let state = SessionStateBuilder::new_with_default_features().with_config(config).with_optimizer_rules(rules);
        Planner { context: SessionContext::new_with_state(state.build()), planned: RefCell::new(None) }
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        let state = self.context.state();
        let known = self.planned.borrow().as_ref().filter(|(text, _)| text == sql).map(|(_, plan)| plan.clone());
        let plan = match known {
            Some(plan) => plan,
            None => state.optimize(&state.create_logical_plan(sql).await?)?,
        };
        *self.planned.borrow_mut() = Some((sql.to_owned(), plan.clone()));
        let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
        collect(plan, self.context.task_ctx()).await
    }
}

impl Oracle {
    /// Over tables of these columns, all of them empty.
    pub(crate) fn over(tables: &[(&str, SchemaRef)]) -> Oracle {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let planners = [Planner::new(Optimizer::new().rules), Planner::new(fewer_rules())];
        let mut known = BTreeMap::new();
        for (name, schema) in tables {
            let table = Arc::new(MemTable::try_new(schema.clone(), vec![vec![]]).unwrap());
            for planner in &planners {
                planner.context.register_table(*name, table.clone()).unwrap();
            }
            known.insert((*name).to_owned(), table);
        }
        Oracle { runtime, planners, tables: known }
    }

    /// What a table holds from now on.
    pub(crate) fn fill(&self, table: &str, rows: RecordBatch) {
        let batches = &self.tables[table].batches[0];
        *batches.try_write().unwrap() = vec![rows];
    }

    /// The rows of a query; none if DataFusion cannot plan it: an answer that is not there says nothing about ours.
    fn try_rows(&self, planner: &Planner, sql: &str) -> Option<Vec<RecordBatch>> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(planner.rows(sql))));
        match evaluated {
            Ok(Ok(rows)) => return Some(rows),
            Ok(Err(error)) => println!("no answer from the oracle to {sql}: {error}"),
            Err(_) => println!("no answer from the oracle to {sql}: it panicked"),
        }
        None
    }

    /// The rows of a query.
    pub(crate) fn rows(&self, sql: &str) -> Vec<RecordBatch> {
        self.try_rows(&self.planners[0], sql).unwrap_or_else(|| panic!("the oracle cannot do {sql}"))
    }

    /// The rows of a query as text, which are ours if either way gives ours; none if the oracle has no answer.
    pub(crate) fn judge(&self, sql: &str, ours: &Contents) -> Option<Contents> {
        let mut answer = None;
        for planner in &self.planners {
            let Some(rows) = self.try_rows(planner, sql) else { continue };
            let contents = contents(&rows);
            if contents == *ours {
                return Some(contents);
            }
            answer.get_or_insert(contents);
        }
        answer
    }
}

fn contents(rows: &[RecordBatch]) -> Contents {
    let mut contents = Contents::new();
    for batch in rows {
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            write_json_row(&mut text, batch, row);
            *contents.entry(normal(&text)).or_default() += 1;
        }
    }
    contents
}

/// Whether a refusal is one of those that are known: a LATERAL that DataFusion's front end cannot take apart, and a
/// recursion that it leaves with two columns of one name when some of its columns are not read.
pub(crate) fn known_refusal(message: &str) -> bool {
    ["a subquery here is not supported yet", "two columns are named", "field nullability differs"]
        .iter()
        .any(|known| message.contains(known))
}

/// A row as JSON with numbers in one form: our sums are exact decimals (JSON text), DataFusion's are
/// 64-bit integers, and a float is shown with twelve digits, because DataFusion adds floats up in
/// the order of the rows.
pub(crate) fn normal(row: &str) -> String {
    let serde_json::Value::Object(fields) = serde_json::from_str(row).unwrap() else { panic!("a row is an object") };
    let values: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{name}={}", value_text(&value))).collect();
    values.join(" ")
}

fn value_text(value: &serde_json::Value) -> String {
    let number = match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.parse::<f64>().ok(),
        _ => None,
    };
    match number {
        // -0.0 and 0.0 are one number.
        Some(number) => format!("{:.11e}", number + 0.0),
        None => value.to_string(),
    }
}
