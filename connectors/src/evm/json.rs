//! The JSON-RPC shapes of blocks, receipts and traces, borrowed from the text they are read from.
//!
//! Only fields that feed a column or a rule are named; serde passes over the rest, so new fields of
//! new forks and unknown transaction types do no harm. Hex stays text until a column wants it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::field::Field;

/// A block with its transactions, as `eth_getBlockByNumber(n, true)` gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Block<'a> {
    #[serde(borrow)]
    pub number: Field<'a>,
    pub hash: Field<'a>,
    pub parent_hash: Field<'a>,
    pub timestamp: Field<'a>,
    pub miner: Field<'a>,
    pub author: Field<'a>,
    pub gas_limit: Field<'a>,
    pub gas_used: Field<'a>,
    pub base_fee_per_gas: Field<'a>,
    pub size: Field<'a>,
    pub difficulty: Field<'a>,
    pub total_difficulty: Field<'a>,
    pub extra_data: Field<'a>,
    pub logs_bloom: Field<'a>,
    pub state_root: Field<'a>,
    pub transactions_root: Field<'a>,
    pub receipts_root: Field<'a>,
    pub withdrawals_root: Field<'a>,
    pub parent_beacon_block_root: Field<'a>,
    pub blob_gas_used: Field<'a>,
    pub excess_blob_gas: Field<'a>,
    pub transactions: Vec<Transaction<'a>>,
}

/// A transaction inside a block.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Transaction<'a> {
    #[serde(borrow)]
    pub hash: Field<'a>,
    pub block_hash: Field<'a>,
    pub block_number: Field<'a>,
    pub transaction_index: Field<'a>,
    pub nonce: Field<'a>,
    pub from: Field<'a>,
    pub to: Field<'a>,
    pub value: Field<'a>,
    pub input: Field<'a>,
    /// What some nodes call the input.
    pub data: Field<'a>,
    pub gas: Field<'a>,
    pub gas_price: Field<'a>,
    pub max_fee_per_gas: Field<'a>,
    pub max_priority_fee_per_gas: Field<'a>,
    pub max_fee_per_blob_gas: Field<'a>,
    #[serde(rename = "type")]
    pub transaction_type: Field<'a>,
    pub chain_id: Field<'a>,
    pub access_list: Option<Count>,
    pub blob_versioned_hashes: Option<Count>,
}

impl<'a> Transaction<'a> {
    /// The call data, under either name.
    pub fn input(&self) -> Field<'a> {
        self.input.or(self.data)
    }
}

/// A receipt, as `eth_getBlockReceipts(n)` lists them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Receipt<'a> {
    #[serde(borrow)]
    pub transaction_hash: Field<'a>,
    pub transaction_index: Field<'a>,
    pub block_hash: Field<'a>,
    pub block_number: Field<'a>,
    pub from: Field<'a>,
    pub to: Field<'a>,
    pub cumulative_gas_used: Field<'a>,
    pub gas_used: Field<'a>,
    pub effective_gas_price: Field<'a>,
    pub contract_address: Field<'a>,
    /// Absent before Byzantium, which had a state root instead.
    pub status: Field<'a>,
    /// Data fee of a rollup.
    pub l1_fee: Field<'a>,
    pub logs: Vec<Log<'a>>,
}

/// A log inside a receipt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Log<'a> {
    #[serde(borrow)]
    pub address: Field<'a>,
    pub topics: Topics<'a>,
    pub data: Field<'a>,
    pub block_hash: Field<'a>,
    pub block_number: Field<'a>,
    pub transaction_hash: Field<'a>,
    pub transaction_index: Field<'a>,
    pub log_index: Field<'a>,
}

/// The topics of a log: at most four, kept without an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Topics<'a> {
    items: [Field<'a>; 4],
    len: usize,
}

impl<'a> Topics<'a> {
    /// The topics.
    ///
    /// # Panics
    /// If there are more than four, which no log can have.
    pub fn new(topics: &[Field<'a>]) -> Topics<'a> {
        let mut items = [Field::Absent; 4];
        items[..topics.len()].copy_from_slice(topics);
        Topics { items, len: topics.len() }
    }

    /// The topics in order.
    pub fn as_slice(&self) -> &[Field<'a>] {
        &self.items[..self.len]
    }

    /// The topic at `index`, [`Field::Absent`] if the log has fewer.
    pub fn get(&self, index: usize) -> Field<'a> {
        self.items[index]
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Topics<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TopicsVisitor)
    }
}

struct TopicsVisitor;

impl<'de> Visitor<'de> for TopicsVisitor {
    type Value = Topics<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of at most four topics")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Topics<'de>, A::Error> {
        let mut topics = Topics::default();
        while let Some(topic) = items.next_element()? {
            let slot = topics.items.get_mut(topics.len).ok_or_else(|| A::Error::invalid_length(5, &self))?;
            *slot = topic;
            topics.len += 1;
        }
        Ok(topics)
    }
}

/// The length of a list whose items nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Count(count))
    }
}

/// One item of `trace_block` (Parity) or of `debug_traceBlockByNumber` with `callTracer` (geth).
///
/// Parity's has an `action`; geth's has only a `result`, which is a tree of calls.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the two trace APIs")]
pub struct TraceItem<'a> {
    #[serde(borrow)]
    pub action: Option<Action<'a>>,
    pub result: Option<Call<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(alias = "trace_address")]
    pub trace_address: Vec<u32>,
    pub subtraces: u32,
    pub error: Option<Cow<'a, str>>,
    #[serde(alias = "block_hash")]
    pub block_hash: Field<'a>,
    #[serde(alias = "transaction_hash", alias = "txHash")]
    pub transaction_hash: Field<'a>,
    #[serde(alias = "transaction_position")]
    pub transaction_position: Field<'a>,
}

/// What a Parity trace did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the trace API")]
pub struct Action<'a> {
    #[serde(borrow)]
    pub from: Field<'a>,
    pub to: Field<'a>,
    pub value: Field<'a>,
    pub gas: Field<'a>,
    pub input: Field<'a>,
    pub init: Field<'a>,
    pub call_type: Option<Cow<'a, str>>,
    pub address: Field<'a>,
    pub refund_address: Field<'a>,
    pub balance: Field<'a>,
    pub author: Field<'a>,
    pub reward_type: Option<Cow<'a, str>>,
}

/// The result of a Parity trace, or one call of geth's tree.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the two trace APIs")]
pub struct Call<'a> {
    #[serde(borrow)]
    pub gas_used: Field<'a>,
    pub output: Field<'a>,
    pub address: Field<'a>,
    pub code: Field<'a>,
    pub from: Field<'a>,
    pub to: Field<'a>,
    pub value: Field<'a>,
    pub gas: Field<'a>,
    pub input: Field<'a>,
    #[serde(rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    pub error: Option<Cow<'a, str>>,
    pub calls: Vec<Call<'a>>,
}
