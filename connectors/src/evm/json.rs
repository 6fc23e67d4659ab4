//! The JSON-RPC shapes of blocks, receipts and traces, borrowed from the text they are read from.
//!
//! Only fields that feed a column or a rule are named; the reader passes over the rest, so new fields of
//! new forks and unknown transaction types do no harm. Hex stays text until a column wants it.

pub mod reader;
#[cfg(test)]
mod reference;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;

use super::field::Field;
use shape::object;

/// A block with its transactions, as `eth_getBlockByNumber(n, true)` gives it.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Block<'a> {
    #[cfg_attr(test, serde(borrow))]
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
    /// All of its text, in which [`super::verify`] finds what no column wants; empty if it came otherwise.
    #[cfg_attr(test, serde(skip))]
    pub text: &'a str,
}

/// A transaction inside a block.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Transaction<'a> {
    #[cfg_attr(test, serde(borrow))]
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
    #[cfg_attr(test, serde(rename = "type"))]
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
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Receipt<'a> {
    #[cfg_attr(test, serde(borrow))]
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
    /// The state afterwards, before Byzantium.
    pub root: Field<'a>,
    /// Data fee of a rollup.
    pub l1_fee: Field<'a>,
    /// Nonce of a deposit of the OP stack.
    pub deposit_nonce: Field<'a>,
    /// Whether the nonce is hashed.
    pub deposit_receipt_version: Field<'a>,
    pub logs: Vec<Log<'a>>,
}

/// A log inside a receipt.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification")]
pub struct Log<'a> {
    #[cfg_attr(test, serde(borrow))]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// The length of a list whose items nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

/// One item of `trace_block` (Parity) or of `debug_traceBlockByNumber` with `callTracer` (geth).
///
/// Parity's has an `action`; geth's has only a `result`, which is a tree of calls.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the two trace APIs")]
pub struct TraceItem<'a> {
    #[cfg_attr(test, serde(borrow))]
    pub action: Option<Action<'a>>,
    pub result: Option<Call<'a>>,
    #[cfg_attr(test, serde(rename = "type"))]
    pub kind: Option<Cow<'a, str>>,
    #[cfg_attr(test, serde(alias = "trace_address"))]
    pub trace_address: Vec<u32>,
    pub subtraces: u32,
    pub error: Option<Cow<'a, str>>,
    #[cfg_attr(test, serde(alias = "block_hash"))]
    pub block_hash: Field<'a>,
    #[cfg_attr(test, serde(alias = "transaction_hash", alias = "txHash"))]
    pub transaction_hash: Field<'a>,
    #[cfg_attr(test, serde(alias = "transaction_position"))]
    pub transaction_position: Field<'a>,
}

/// What a Parity trace did.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the trace API")]
pub struct Action<'a> {
    #[cfg_attr(test, serde(borrow))]
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
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, serde::Deserialize), serde(default, rename_all = "camelCase"))]
#[expect(missing_docs, reason = "the fields are those of the two trace APIs")]
pub struct Call<'a> {
    #[cfg_attr(test, serde(borrow))]
    pub gas_used: Field<'a>,
    pub output: Field<'a>,
    pub address: Field<'a>,
    pub code: Field<'a>,
    pub from: Field<'a>,
    pub to: Field<'a>,
    pub value: Field<'a>,
    pub gas: Field<'a>,
    pub input: Field<'a>,
    #[cfg_attr(test, serde(rename = "type"))]
    pub kind: Option<Cow<'a, str>>,
    pub error: Option<Cow<'a, str>>,
    pub calls: Vec<Call<'a>>,
}

/// What a node answered about a pool, as recordings keep it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolAnswer<'a> {
    /// The contract that told the swap.
    pub(crate) venue: Field<'a>,
    /// Its address, or its id there.
    pub(crate) pool: Field<'a>,
    pub(crate) index0: Field<'a>,
    pub(crate) index1: Field<'a>,
    pub(crate) token0: Field<'a>,
    pub(crate) token1: Field<'a>,
    pub(crate) factory: Field<'a>,
    pub(crate) fee_pips: Field<'a>,
    pub(crate) tick_spacing: Field<'a>,
    pub(crate) hooks: Field<'a>,
    /// Whether the factory was asked and names the same pool.
    pub(crate) confirmed: bool,
}

object!(PoolAnswer, Other, {
    "venue" => venue,
    "pool" => pool,
    "index0" => index0,
    "index1" => index1,
    "token0" => token0,
    "token1" => token1,
    "factory" => factory,
    "fee_pips" => fee_pips,
    "tick_spacing" => tick_spacing,
    "hooks" => hooks,
    "confirmed" => confirmed,
});

object!(Block, Block, {
    "number" => number,
    "hash" => hash,
    "parentHash" => parent_hash,
    "timestamp" => timestamp,
    "miner" => miner,
    "author" => author,
    "gasLimit" => gas_limit,
    "gasUsed" => gas_used,
    "baseFeePerGas" => base_fee_per_gas,
    "size" => size,
    "difficulty" => difficulty,
    "totalDifficulty" => total_difficulty,
    "extraData" => extra_data,
    "logsBloom" => logs_bloom,
    "stateRoot" => state_root,
    "transactionsRoot" => transactions_root,
    "receiptsRoot" => receipts_root,
    "withdrawalsRoot" => withdrawals_root,
    "parentBeaconBlockRoot" => parent_beacon_block_root,
    "blobGasUsed" => blob_gas_used,
    "excessBlobGas" => excess_blob_gas,
    "transactions" => transactions,
}, passed_over: ["sha3Uncles", "mixHash", "nonce", "uncles", "withdrawals", "requestsHash"], text: text);

object!(Transaction, Transaction, {
    "hash" => hash,
    "blockHash" => block_hash,
    "blockNumber" => block_number,
    "transactionIndex" => transaction_index,
    "nonce" => nonce,
    "from" => from,
    "to" => to,
    "value" => value,
    "input" => input,
    "data" => data,
    "gas" => gas,
    "gasPrice" => gas_price,
    "maxFeePerGas" => max_fee_per_gas,
    "maxPriorityFeePerGas" => max_priority_fee_per_gas,
    "maxFeePerBlobGas" => max_fee_per_blob_gas,
    "type" => transaction_type,
    "chainId" => chain_id,
    "accessList" => access_list,
    "blobVersionedHashes" => blob_versioned_hashes,
}, passed_over: ["v", "r", "s", "yParity", "creates", "publicKey", "raw", "standardV"]);

object!(Receipt, Receipt, {
    "transactionHash" => transaction_hash,
    "transactionIndex" => transaction_index,
    "blockHash" => block_hash,
    "blockNumber" => block_number,
    "from" => from,
    "to" => to,
    "cumulativeGasUsed" => cumulative_gas_used,
    "gasUsed" => gas_used,
    "effectiveGasPrice" => effective_gas_price,
    "contractAddress" => contract_address,
    "status" => status,
    "root" => root,
    "l1Fee" => l1_fee,
    "depositNonce" => deposit_nonce,
    "depositReceiptVersion" => deposit_receipt_version,
    "logs" => logs,
}, passed_over: ["logsBloom", "type"]);

object!(Log, Log, {
    "address" => address,
    "topics" => topics,
    "data" => data,
    "blockHash" => block_hash,
    "blockNumber" => block_number,
    "transactionHash" => transaction_hash,
    "transactionIndex" => transaction_index,
    "logIndex" => log_index,
}, passed_over: ["removed", "blockTimestamp"]);

object!(TraceItem, Trace, {
    "action" => action,
    "result" => result,
    "type" => kind,
    "traceAddress" | "trace_address" => trace_address,
    "subtraces" => subtraces,
    "error" => error,
    "blockHash" | "block_hash" => block_hash,
    "transactionHash" | "transaction_hash" | "txHash" => transaction_hash,
    "transactionPosition" | "transaction_position" => transaction_position,
}, passed_over: ["blockNumber", "block_number"]);

object!(Action, Action, {
    "from" => from,
    "to" => to,
    "value" => value,
    "gas" => gas,
    "input" => input,
    "init" => init,
    "callType" => call_type,
    "address" => address,
    "refundAddress" => refund_address,
    "balance" => balance,
    "author" => author,
    "rewardType" => reward_type,
});

object!(Call, Call, {
    "gasUsed" => gas_used,
    "output" => output,
    "address" => address,
    "code" => code,
    "from" => from,
    "to" => to,
    "value" => value,
    "gas" => gas,
    "input" => input,
    "type" => kind,
    "error" => error,
    "calls" => calls,
});
