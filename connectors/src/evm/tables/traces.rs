//! `traces`: one row a call, creation, self-destruction or reward.

use crate::columns::Column;
use crate::evm::field::{Fault, Field};
use crate::evm::traces::TraceRow;

pub(crate) fn fill(column: &mut Column, rows: &[TraceRow<'_>]) -> Result<(), Fault> {
    match column.name() {
        "transaction_index" => column.fields(rows.iter().map(|row| row.transaction_index)),
        "transaction_hash" => column.fields(rows.iter().map(|row| row.transaction_hash)),
        "trace_address" => column.texts(rows.iter().map(|row| Some(row.trace_address.as_str()))),
        "trace_type" => column.texts(rows.iter().map(|row| Some(row.trace_type.as_ref()))),
        "call_type" => column.texts(rows.iter().map(|row| row.call_type.as_deref())),
        "from_address" => column.fields(rows.iter().map(|row| row.from)),
        "to_address" => column.fields(rows.iter().map(|row| row.to)),
        "value" => column.fields(rows.iter().map(|row| row.value.or(Field::Number(0)))),
        "gas" => column.fields(rows.iter().map(|row| row.gas)),
        "gas_used" => column.fields(rows.iter().map(|row| row.gas_used)),
        "input" => column.fields(rows.iter().map(|row| row.input)),
        "output" => column.fields(rows.iter().map(|row| row.output)),
        "subtraces" => column.fields(rows.iter().map(|row| Field::Number(u64::from(row.subtraces)))),
        "error" => column.texts(rows.iter().map(|row| row.error.as_deref())),
        "success" => column.bools(rows.iter().map(|row| Ok(Some(row.success)))),
        "reward_type" => column.texts(rows.iter().map(|row| row.reward_type.as_deref())),
        _ => super::no_rule("traces", column),
    }
}
