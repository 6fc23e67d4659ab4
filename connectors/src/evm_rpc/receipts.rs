//! Receipts where a node does not give them all at once, and whether traces are of the right block.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::header::Header;
use crate::evm::field::Field;

/// Gives all receipts of a block.
pub(super) const METHOD: &str = "eth_getBlockReceipts";

/// A JSON array of the given texts.
pub(super) fn list(items: &[Box<RawValue>]) -> Box<RawValue> {
    let items: Vec<_> = items.iter().map(|item| item.get()).collect();
    raw(format!("[{}]", items.join(",")))
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("made of JSON texts and fixed punctuation")
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    hash: Option<&'a RawValue>,
    #[serde(borrow)]
    number: Option<&'a RawValue>,
    #[serde(borrow)]
    transactions: Vec<Transaction<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Transaction<'a> {
    #[serde(borrow)]
    hash: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction_index: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogPlace<'a> {
    #[serde(borrow)]
    transaction_index: Field<'a>,
}

/// Receipts that hold what `eth_getLogs` knows: the logs, and who called whom. One for each transaction.
pub(super) fn from_logs(block: &str, logs: &str) -> Result<Box<RawValue>, String> {
    let block: Block<'_> = serde_json::from_str(block).map_err(|error| format!("no block: {error}"))?;
    let logs: Vec<&RawValue> = serde_json::from_str(logs).map_err(|error| format!("no logs: {error}"))?;
    let mut by_index: Vec<Vec<&str>> = vec![Vec::new(); block.transactions.len()];
    for log in logs {
        let place: LogPlace<'_> = serde_json::from_str(log.get()).map_err(|error| format!("no log: {error}"))?;
        let index = place.transaction_index.u64().ok().and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| by_index.get_mut(index));
        slot.ok_or_else(|| "a log belongs to no transaction of its block".to_owned())?.push(log.get());
    }
    let receipts = block.transactions.iter().zip(by_index).map(|(tx, logs)| {
        let text = |value: Option<&RawValue>| value.map_or("null", |value| value.get()).to_owned();
        format!(
            r#"{{"transactionHash":{},"transactionIndex":{},"blockHash":{},"blockNumber":{},"from":{},"to":{},"logs":[{}]}}"#,
            text(tx.hash),
            text(tx.transaction_index),
            text(block.hash),
            text(block.number),
            text(tx.from),
            text(tx.to),
            logs.join(",")
        )
    });
    Ok(raw(format!("[{}]", receipts.collect::<Vec<_>>().join(","))))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TracePlace<'a> {
    #[serde(borrow)]
    block_hash: Field<'a>,
}

/// Whether the first trace that names its block names this one.
pub(super) fn are_traces_of(traces: &str, header: &Header) -> bool {
    let places: Result<Vec<TracePlace<'_>>, _> = serde_json::from_str(traces);
    let named = places.ok().and_then(|places| places.iter().find_map(|place| place.block_hash.fixed::<32>().ok()));
    named.is_none_or(|hash| hash == header.hash.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_become_receipts_of_their_transactions() {
        let block = r#"{"hash":"0xaa","number":"0x1","transactions":[
            {"hash":"0x01","transactionIndex":"0x0","from":"0xf0","to":null},
            {"hash":"0x02","transactionIndex":"0x1","from":"0xf1","to":"0xf2"}]}"#;
        let logs = r#"[{"transactionIndex":"0x1","logIndex":"0x0"},{"transactionIndex":"0x1","logIndex":"0x1"}]"#;
        let receipts = from_logs(block, logs).unwrap();
        let receipts: serde_json::Value = serde_json::from_str(receipts.get()).unwrap();
        assert_eq!(receipts[0]["logs"].as_array().unwrap().len(), 0);
        assert_eq!(receipts[1]["logs"][1]["logIndex"], "0x1");
        assert_eq!(receipts[1]["to"], "0xf2");
        assert!(from_logs(block, r#"[{"transactionIndex":"0x2"}]"#).is_err());
    }
}
