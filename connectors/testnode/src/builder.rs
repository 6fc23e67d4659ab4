//! Chains built in code: small blocks that every rule accepts, hash and roots included, on as many branches as wanted.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, U256, hex as hexadecimal, keccak256};
use serde_json::{Value, json};

use crate::chain::{Block, Chain, hex, quantity};
use crate::rlp;
use crate::trie::root;

const GAS_PRICE_WEI: u64 = 1_000_000_007;
const BASE_FEE_WEI: u64 = 7;
const BLOCK_TIME_SECONDS: u64 = 12;
const GENESIS_TIME: u64 = 1_700_000_000;
/// Hash of the empty list of uncles.
const NO_UNCLES: &str = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

/// A log to be emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// At most four.
    pub topics: Vec<B256>,
    /// The rest.
    pub data: Vec<u8>,
}

impl Log {
    /// An ERC-20 `Transfer`.
    pub fn transfer(token: Address, from: Address, to: Address, amount: U256) -> Log {
        let topics = vec![keccak256("Transfer(address,address,uint256)"), from.into_word(), to.into_word()];
        Log { address: token, topics, data: amount.to_be_bytes::<32>().to_vec() }
    }
}

/// A transaction to be put in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Sender.
    pub from: Address,
    /// Receiver; `None` creates a contract.
    pub to: Option<Address>,
    /// Amount in wei.
    pub value: U256,
    /// Call data.
    pub input: Vec<u8>,
    /// Gas used; also the limit.
    pub gas_used: u64,
    /// Whether it failed. A failed transaction has no logs.
    pub failed: bool,
    /// What it emits.
    pub logs: Vec<Log>,
}

impl Transaction {
    /// A transfer of ether.
    pub fn payment(from: Address, to: Address, value: U256) -> Transaction {
        Transaction { from, to: Some(to), value, input: Vec::new(), gas_used: 21_000, failed: false, logs: Vec::new() }
    }

    /// A call of `transfer` of an ERC-20 token that emits its log.
    pub fn token_transfer(token: Address, from: Address, to: Address, amount: U256) -> Transaction {
        let mut input = hexadecimal!("a9059cbb").to_vec();
        input.extend(to.into_word().0);
        input.extend(amount.to_be_bytes::<32>());
        let logs = vec![Log::transfer(token, from, to, amount)];
        Transaction { input, gas_used: 51_000, logs, ..Transaction::payment(from, token, U256::ZERO) }
    }

    /// The same transaction, failed.
    #[must_use]
    pub fn fails(mut self) -> Transaction {
        self.failed = true;
        self.logs.clear();
        self
    }
}

/// An address that belongs to `number` and to no other.
pub fn address_of(number: u64) -> Address {
    Address::from_word(keccak256(number.to_be_bytes()))
}

/// Makes blocks. No two have one hash, even with the same parent and the same transactions.
pub struct Builder {
    chain_id: u64,
    blocks: HashMap<B256, Arc<Block>>,
    order: Vec<B256>,
    genesis: B256,
    /// Tells apart blocks that would be the same.
    made: u64,
}

impl Builder {
    /// A builder with an empty block 0.
    pub fn new(chain_id: u64) -> Builder {
        let mut builder = Builder { chain_id, blocks: HashMap::new(), order: Vec::new(), genesis: B256::ZERO, made: 0 };
        builder.genesis = builder.make(B256::ZERO, 0, GENESIS_TIME, &[]);
        builder
    }

    /// A builder of branches on a block that is there already. `salt` must differ between builders over one chain.
    pub fn over(chain_id: u64, fork: Arc<Block>, salt: usize) -> Builder {
        let made = u64::try_from(salt).expect("a count fits") << 20;
        let genesis = fork.hash;
        Builder { chain_id, blocks: HashMap::from([(genesis, fork)]), order: Vec::new(), genesis, made }
    }

    /// Block 0, or the block this builder builds on.
    pub fn genesis(&self) -> B256 {
        self.genesis
    }

    /// A block made here.
    ///
    /// # Panics
    /// If it was not made here.
    pub fn block(&self, hash: B256) -> Arc<Block> {
        self.blocks.get(&hash).unwrap_or_else(|| panic!("block {hash} was not built here")).clone()
    }

    /// Puts a block on `parent`.
    ///
    /// # Panics
    /// If the parent was not made here.
    pub fn push(&mut self, parent: B256, transactions: &[Transaction]) -> B256 {
        let below = self.block(parent);
        let time = quantity(&below.body()["timestamp"]).expect("a block has a time") + BLOCK_TIME_SECONDS;
        self.make(parent, below.number + 1, time, transactions)
    }

    /// Puts `count` blocks with some traffic on `parent`: token transfers, payments, a failed call now and then.
    pub fn extend(&mut self, parent: B256, count: usize) -> Vec<B256> {
        let mut hashes: Vec<B256> = Vec::with_capacity(count);
        for _ in 0..count {
            let traffic = self.traffic();
            let parent = hashes.last().copied().unwrap_or(parent);
            hashes.push(self.push(parent, &traffic));
        }
        hashes
    }

    fn traffic(&self) -> Vec<Transaction> {
        let of = |index: u64| {
            let seed = self.made.wrapping_mul(31).wrapping_add(index);
            let (from, to) = (address_of(seed % 7), address_of(seed % 11 + 7));
            let amount = U256::from(seed.wrapping_mul(1_000_003) % 1_000_000_007);
            match seed % 4 {
                0 => Transaction::payment(from, to, amount),
                1 => Transaction::token_transfer(address_of(100), from, to, amount).fails(),
                _ => Transaction::token_transfer(address_of(100 + seed % 3), from, to, amount),
            }
        };
        (0..self.made % 4).map(of).collect()
    }

    /// The chain of everything made here: `head` is where a node starts, `steps` are the heads that follow.
    pub fn into_chain(self, head: B256, steps: &[B256]) -> Chain {
        let blocks = self.order.iter().map(|hash| self.blocks[hash].clone()).collect();
        Chain::new(self.chain_id, blocks, head, steps)
    }

    fn make(&mut self, parent: B256, number: u64, time: u64, transactions: &[Transaction]) -> B256 {
        self.made += 1;
        let salt = self.made.to_be_bytes();
        let gas_used = transactions.iter().map(|transaction| transaction.gas_used).sum::<u64>();
        let place = Place { chain_id: self.chain_id, number, first_nonce: self.made << 16 };
        let mut listed: Vec<Value> =
            (0..).zip(transactions).map(|(index, transaction)| place.transaction(index, transaction)).collect();
        let mut receipts = place.receipts(transactions, &listed);
        let mut block = json!({
            "number": hex(number), "parentHash": parent, "timestamp": hex(time), "sha3Uncles": NO_UNCLES,
            "miner": address_of(1_000), "difficulty": "0x0", "gasLimit": hex(60_000_000), "gasUsed": hex(gas_used),
            "extraData": text(&salt), "mixHash": B256::ZERO, "nonce": "0x0000000000000000",
            "baseFeePerGas": hex(BASE_FEE_WEI), "stateRoot": keccak256(salt), "size": "0x400", "uncles": [],
            "logsBloom": bloom(transactions.iter().flat_map(|transaction| &transaction.logs)),
            "transactionsRoot": root(listed.iter().map(rlp::transaction)),
            "receiptsRoot": root(receipts.iter().map(rlp::receipt)),
        });
        let hash = rlp::header_hash(&block);
        block["hash"] = json!(hash);
        for member in listed.iter_mut().chain(&mut receipts) {
            member["blockHash"] = json!(hash);
            for log in member["logs"].as_array_mut().into_iter().flatten() {
                log["blockHash"] = json!(hash);
            }
        }
        block["transactions"] = Value::Array(listed);
        let block = Block::new(&block, &receipts);
        self.blocks.insert(hash, Arc::new(block));
        self.order.push(hash);
        hash
    }
}

/// Where transactions stand, but for the hash of the block, which depends on them.
struct Place {
    chain_id: u64,
    number: u64,
    /// Makes the hashes of transactions unique. Nonces of one sender have gaps, which no client minds.
    first_nonce: u64,
}

impl Place {
    /// Without a type and with a signature that nobody made; the hash is the right one for that.
    fn transaction(&self, index: u64, transaction: &Transaction) -> Value {
        let mut made = json!({
            "blockNumber": hex(self.number), "transactionIndex": hex(index),
            "from": transaction.from, "to": transaction.to, "nonce": hex(self.first_nonce + index),
            "value": format!("{:#x}", transaction.value), "input": text(&transaction.input),
            "gas": hex(transaction.gas_used), "gasPrice": hex(GAS_PRICE_WEI), "type": "0x0",
            "chainId": hex(self.chain_id), "v": hex(35 + 2 * self.chain_id), "r": "0x1", "s": "0x1",
        });
        made["hash"] = json!(keccak256(rlp::transaction(&made)));
        made
    }

    fn receipts(&self, transactions: &[Transaction], listed: &[Value]) -> Vec<Value> {
        let mut cumulative = 0;
        let mut log_index = 0;
        let mut receipts = Vec::with_capacity(transactions.len());
        for (transaction, listed) in transactions.iter().zip(listed) {
            cumulative += transaction.gas_used;
            let indices = log_index..;
            let logs: Vec<Value> =
                indices.zip(&transaction.logs).map(|(index, log)| self.log(listed, index, log)).collect();
            log_index += u64::try_from(logs.len()).expect("a length fits");
            receipts.push(json!({
                "transactionHash": listed["hash"], "transactionIndex": listed["transactionIndex"],
                "blockNumber": hex(self.number), "from": transaction.from, "to": transaction.to,
                "contractAddress": transaction.to.is_none().then(|| created(transaction.from, &listed["nonce"])),
                "cumulativeGasUsed": hex(cumulative), "gasUsed": hex(transaction.gas_used),
                "effectiveGasPrice": hex(GAS_PRICE_WEI), "status": hex(u64::from(!transaction.failed)),
                "type": "0x0", "logsBloom": bloom(&transaction.logs), "logs": logs,
            }));
        }
        receipts
    }

    fn log(&self, transaction: &Value, index: u64, log: &Log) -> Value {
        json!({
            "address": log.address, "topics": log.topics, "data": text(&log.data),
            "blockNumber": hex(self.number), "transactionHash": transaction["hash"],
            "transactionIndex": transaction["transactionIndex"], "logIndex": hex(index), "removed": false,
        })
    }
}

/// The address of the contract that a transaction creates.
fn created(from: Address, nonce: &Value) -> Address {
    let nonce = quantity(nonce).expect("the nonce was made here");
    Address::from_word(keccak256(rlp::list([rlp::string(&from[..]), rlp::number(nonce)])))
}

fn bloom<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Bloom {
    let mut bloom = Bloom::default();
    for log in logs {
        bloom.accrue_raw_log(log.address, &log.topics);
    }
    bloom
}

fn text(bytes: &[u8]) -> String {
    hexadecimal::encode_prefixed(bytes)
}
