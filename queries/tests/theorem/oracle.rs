//! The independent evaluation: DataFusion's own engine over the canonical rows.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use highwater_engine::model::format::write_json_row;
use tokio::runtime::Runtime;

use crate::Contents;
use crate::history::{Block, batch, schema};
use crate::names;

/// Evaluates queries from scratch.
pub(crate) struct Oracle {
    runtime: Runtime,
    context: SessionContext,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let table = names();
        let names = MemTable::try_new(table.schema(), vec![vec![table]]).unwrap();
        context.register_table("names", Arc::new(names)).unwrap();
        Oracle { runtime, context }
    }

    /// The rows of a query over these blocks.
    pub(crate) fn evaluate(&self, sql: &str, canonical: &[Block]) -> Contents {
        self.runtime.block_on(async {
            let context = &self.context;
            context.deregister_table("events").unwrap();
            let events = MemTable::try_new(schema(), vec![vec![batch(canonical)]]).unwrap();
            context.register_table("events", Arc::new(events)).unwrap();
            let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let mut contents = Contents::new();
            for batch in &batches {
                for row in 0..batch.num_rows() {
                    let mut text = String::new();
                    write_json_row(&mut text, batch, row);
                    *contents.entry(normal(&text)).or_default() += 1;
                }
            }
            contents
        })
    }
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
