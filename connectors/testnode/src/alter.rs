//! Ready-made changes of a result, for [`crate::Effect::alter`]: what broken providers were seen to answer.

use serde_json::Value;

/// A block: the last digit of its hash is another. Its transactions keep the right one.
pub fn wrong_hash(result: &mut Value) {
    change_last_digit(&mut result["hash"]);
}

/// A block: the last digit of its parent hash is another.
pub fn wrong_parent(result: &mut Value) {
    change_last_digit(&mut result["parentHash"]);
}

/// A block: the last transaction is missing. Receipts: the last one is missing.
pub fn drop_transaction(result: &mut Value) {
    match result {
        Value::Array(receipts) => drop(receipts.pop()),
        block => {
            if let Some(transactions) = block["transactions"].as_array_mut() {
                transactions.pop();
            }
        }
    }
}

/// Receipts: the last log of the block is missing, the bloom filters stay. A list of logs: the last is missing.
pub fn drop_log(result: &mut Value) {
    let Some(items) = result.as_array_mut() else { return };
    if items.last().is_some_and(|item| item.get("topics").is_some()) {
        items.pop();
        return;
    }
    let mut lists = items.iter_mut().rev().filter_map(|receipt| receipt["logs"].as_array_mut());
    if let Some(logs) = lists.find(|logs| !logs.is_empty()) {
        logs.pop();
    }
}

/// Receipts: no receipt has a log, the bloom filters stay. A list of logs: it is empty.
pub fn drop_all_logs(result: &mut Value) {
    let Some(items) = result.as_array_mut() else { return };
    if items.last().is_some_and(|item| item.get("topics").is_some()) {
        items.clear();
    }
    for receipt in items {
        receipt["logs"] = Value::Array(Vec::new());
    }
}

/// A block: the value of the first transaction is another. Receipts: the last digit of the first log's data is.
///
/// No rule on a single answer can see this; only the roots of the header or a second provider can.
pub fn change_amount(result: &mut Value) {
    let Some(receipts) = result.as_array_mut() else {
        return change_last_digit(&mut result["transactions"][0]["value"]);
    };
    let mut logs = receipts.iter_mut().filter_map(|receipt| receipt["logs"].as_array_mut()).flatten();
    if let Some(log) = logs.find(|log| log["data"].as_str().is_some_and(|data| data.len() > 2)) {
        change_last_digit(&mut log["data"]);
    }
}

/// Receipts: the first and the last change their places in the list.
pub fn swap_receipts(result: &mut Value) {
    if let Some(receipts) = result.as_array_mut()
        && receipts.len() > 1
    {
        let last = receipts.len() - 1;
        receipts.swap(0, last);
    }
}

/// A block or receipts: every field called `name` is removed, at any depth.
pub fn without(name: &'static str) -> impl Fn(&mut Value) + Send + Sync {
    fn remove(value: &mut Value, name: &str) {
        match value {
            Value::Object(fields) => {
                fields.remove(name);
                fields.values_mut().for_each(|value| remove(value, name));
            }
            Value::Array(items) => items.iter_mut().for_each(|value| remove(value, name)),
            _ => {}
        }
    }
    move |result| remove(result, name)
}

fn change_last_digit(value: &mut Value) {
    if let Value::String(text) = value {
        let last = text.pop();
        text.push(if last == Some('0') { '1' } else { '0' });
    }
}
