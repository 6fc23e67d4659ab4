//! Traces of both APIs as flat rows in call order.

use std::borrow::Cow;

use super::field::Field;
use super::json::{Call, TraceItem};

/// One row of the table `traces`.
#[derive(Clone, Debug)]
pub struct TraceRow<'a> {
    /// Position of the transaction; absent for rewards.
    pub transaction_index: Field<'a>,
    /// Hash of the transaction; absent for rewards.
    pub transaction_hash: Field<'a>,
    /// Path from the root call, such as `0_2_1`; empty for the root.
    pub trace_address: String,
    /// `call`, `create`, `suicide` or `reward`.
    pub trace_type: Cow<'a, str>,
    /// `call`, `staticcall`, `delegatecall`, `callcode`.
    pub call_type: Option<Cow<'a, str>>,
    /// Caller, creator or what destroyed itself.
    pub from: Field<'a>,
    /// Called or created contract, heir or rewarded author.
    pub to: Field<'a>,
    /// Wei moved.
    pub value: Field<'a>,
    /// Gas given.
    pub gas: Field<'a>,
    /// Gas used; absent in Parity's failed traces.
    pub gas_used: Field<'a>,
    /// Call data or creation code.
    pub input: Field<'a>,
    /// Returned data or created code.
    pub output: Field<'a>,
    /// Number of direct sub-calls.
    pub subtraces: u32,
    /// Why this call itself failed.
    pub error: Option<Cow<'a, str>>,
    /// False if this call or any call above it failed: its effects were undone.
    pub success: bool,
    /// `block` or `uncle`.
    pub reward_type: Option<Cow<'a, str>>,
}

/// Turns what a node said into rows, in the order of execution.
pub fn flatten<'a>(items: Vec<TraceItem<'a>>) -> Vec<TraceRow<'a>> {
    let mut rows = Vec::with_capacity(items.len());
    // The failed call that later items may be inside of: its transaction and its path.
    let mut failed: Option<(Field<'a>, Vec<u32>)> = None;
    for (position, item) in (0u64..).zip(items) {
        if item.action.is_some() {
            let inside = failed
                .as_ref()
                .is_some_and(|(tx, path)| *tx == item.transaction_hash && item.trace_address.starts_with(path));
            if !inside {
                failed = item.error.is_some().then(|| (item.transaction_hash, item.trace_address.clone()));
            }
            rows.push(parity_row(item, failed.is_none()));
        } else if let Some(call) = item.result {
            let root =
                Root { index: item.transaction_position.or(Field::Number(position)), hash: item.transaction_hash };
            push_calls(&mut rows, root, call, &mut Vec::new(), true);
        }
    }
    rows
}

fn path_text(path: &[u32]) -> String {
    let mut text = String::with_capacity(2 * path.len());
    for (depth, step) in path.iter().enumerate() {
        if depth > 0 {
            text.push('_');
        }
        text.push_str(&step.to_string());
    }
    text
}

fn parity_row(item: TraceItem<'_>, success: bool) -> TraceRow<'_> {
    let action = item.action.unwrap_or_default();
    let result = item.result.unwrap_or_default();
    TraceRow {
        transaction_index: item.transaction_position,
        transaction_hash: item.transaction_hash,
        trace_address: path_text(&item.trace_address),
        trace_type: item.kind.unwrap_or(Cow::Borrowed("call")),
        call_type: action.call_type,
        from: action.from.or(action.address),
        to: action.to.or(result.address).or(action.refund_address).or(action.author),
        value: action.value.or(action.balance),
        gas: action.gas,
        gas_used: result.gas_used,
        input: action.input.or(action.init),
        output: result.output.or(result.code),
        subtraces: item.subtraces,
        error: item.error,
        success,
        reward_type: action.reward_type,
    }
}

#[derive(Clone, Copy)]
struct Root<'a> {
    index: Field<'a>,
    hash: Field<'a>,
}

/// Appends a call and what is below it. The depth is bounded by the JSON reader's limit of nesting.
fn push_calls<'a>(
    rows: &mut Vec<TraceRow<'a>>,
    root: Root<'a>,
    mut call: Call<'a>,
    path: &mut Vec<u32>,
    parent_succeeded: bool,
) {
    let calls = std::mem::take(&mut call.calls);
    let success = parent_succeeded && call.error.is_none();
    rows.push(geth_row(root, call, path, calls.len(), success));
    for (step, inner) in (0u32..).zip(calls) {
        path.push(step);
        push_calls(rows, root, inner, path, success);
        path.pop();
    }
}

fn geth_row<'a>(root: Root<'a>, call: Call<'a>, path: &[u32], subtraces: usize, success: bool) -> TraceRow<'a> {
    let kind = call.kind.unwrap_or(Cow::Borrowed("CALL"));
    let (trace_type, call_type) = match kind.as_ref() {
        "CREATE" | "CREATE2" => ("create", None),
        "SELFDESTRUCT" => ("suicide", None),
        "CALL" => ("call", Some(Cow::Borrowed("call"))),
        "STATICCALL" => ("call", Some(Cow::Borrowed("staticcall"))),
        "DELEGATECALL" => ("call", Some(Cow::Borrowed("delegatecall"))),
        other => ("call", Some(Cow::Owned(other.to_ascii_lowercase()))),
    };
    TraceRow {
        transaction_index: root.index,
        transaction_hash: root.hash,
        trace_address: path_text(path),
        trace_type: Cow::Borrowed(trace_type),
        call_type,
        from: call.from,
        to: call.to,
        value: call.value,
        gas: call.gas,
        gas_used: call.gas_used,
        input: call.input,
        output: call.output,
        subtraces: u32::try_from(subtraces).unwrap_or(u32::MAX),
        error: call.error,
        success,
        reward_type: None,
    }
}
