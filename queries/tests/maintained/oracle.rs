//! The independent evaluation: DataFusion's own engine over the rows of the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use highwater_engine::consolidate::{Consolidator, diff_column};
use highwater_engine::model::Delta;
use highwater_engine::model::format::write_json_row;
use tokio::runtime::Runtime;

/// One query over tables whose rows change.
pub(crate) struct Oracle {
    runtime: Runtime,
    tables: BTreeMap<String, Arc<MemTable>>,
    query: DataFrame,
}

impl Oracle {
    /// `text` is in the oracle's dialect.
    pub(crate) fn new(tables: &[(&str, SchemaRef)], text: &str) -> Oracle {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(1))
            .with_default_features()
            .with_expr_planners(vec![
                Arc::new(CoreFunctionPlanner::default()),
                Arc::new(DatetimeFunctionPlanner),
                Arc::new(UnicodeFunctionPlanner),
                Arc::new(NestedFunctionPlanner),
                Arc::new(FieldAccessPlanner),
                Arc::new(AggregateFunctionPlanner),
            ])
            .build();
        for function in datafusion_functions_nested::all_default_nested_functions() {
            datafusion::execution::FunctionRegistry::register_udf(&mut state, function).unwrap();
        }
        let context = SessionContext::new_with_state(state);
        let mut known = BTreeMap::new();
        for (name, schema) in tables {
            let table = Arc::new(MemTable::try_new(schema.clone(), vec![Vec::new()]).unwrap());
            context.register_table(*name, table.clone()).unwrap();
            known.insert((*name).to_owned(), table);
        }
        let query = runtime.block_on(context.sql(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        Oracle { runtime, tables: known, query }
    }

    /// The rows of the query, in its order, after these changes of its tables.
    pub(crate) fn rows(&self, changes: &BTreeMap<String, Vec<Delta>>) -> Vec<String> {
        for (name, table) in &self.tables {
            let rows = changes.get(name).and_then(|deltas| rows_of(deltas));
            let rows = rows.map(|rows| RecordBatch::try_new(table_schema(table), rows.columns().to_vec()).unwrap());
            *table.batches[0].blocking_write() = rows.into_iter().collect();
        }
        let batches = self.runtime.block_on(self.query.clone().collect());
        batches.unwrap_or_else(|error| panic!("{error}")).iter().flat_map(texts).collect()
    }
}

fn table_schema(table: &MemTable) -> SchemaRef {
    datafusion::catalog::TableProvider::schema(table)
}

/// What is there after changes.
fn rows_of(deltas: &[Delta]) -> Option<RecordBatch> {
    let schema = deltas.first()?.batch.schema();
    let whole = Consolidator::new(schema, None).unwrap().consolidate(deltas).unwrap()?;
    let counts = diff_column(&whole);
    let repeated = (0_u32..).zip(counts.values()).flat_map(|(row, count)| {
        std::iter::repeat_n(row, usize::try_from(*count).expect("a row goes only after it came"))
    });
    Some(take_record_batch(&whole.batch, &UInt32Array::from_iter_values(repeated)).unwrap())
}

/// Each row as text that is the same for both engines.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let text = |row| {
        let mut text = String::new();
        write_json_row(&mut text, batch, row);
        normal(&text)
    };
    (0..batch.num_rows()).map(text).collect()
}

/// Numbers in one form: our sums are exact decimals (JSON text), DataFusion's of integers are integers; floats have
/// twelve digits, because DataFusion adds them up in the order of the rows.
fn normal(row: &str) -> String {
    let serde_json::Value::Object(fields) = serde_json::from_str(row).unwrap() else { panic!("a row is an object") };
    let values = fields.into_iter().map(|(name, value)| format!("{name}={}", value_text(&value)));
    values.collect::<Vec<_>>().join(" ")
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
