//! Recomputing hashes, so that no provider can slip in, drop or alter a transaction or a log unnoticed.
//!
//! The header's hash vouches for the header, the header's roots for the transactions and receipts. All
//! are made anew from the very fields that fill the tables. What follows from the hash of a block whose
//! hash is believed is then believed too: every column of `blocks` but `size`, `total_difficulty` and
//! `transaction_count` by the hash, and of the other tables all but these, which are in no hash: `from`
//! of a transaction (it follows from the signature, and recovering it costs more than everything here
//! together), the created contract's address, the effective gas price, the data fee of a rollup and
//! traces. That the gas of each transaction is the step of the cumulative gas is checked.
//!
//! Cost: one more pass over the block's text, and Keccak over headers, transactions and receipts.

mod header;
mod receipt;
mod rlp;
mod seal;
mod transaction;

#[cfg(test)]
mod deposits;
#[cfg(test)]
mod tests;

use alloy_primitives::{B256, keccak256};
use alloy_trie::root::ordered_trie_root_encoded;

use super::field::{Fault, Field};
use super::json::{Block, Receipt, Transaction};
use super::validate::{self, BloomBits, Violation};
use rlp::{Rlp, Unwritten};
use seal::Seal;
use transaction::Kind;

/// The hash of the header is not the hash of the block.
pub const HEADER_HASH: &str = "header-hash";
/// The hash of a transaction is not its hash.
pub const TRANSACTION_HASH: &str = "transaction-hash";
/// The transactions are not those the header names.
pub const TRANSACTIONS_ROOT: &str = "transactions-root";
/// The receipts, their logs among them, are not those the header names.
pub const RECEIPTS_ROOT: &str = "receipts-root";
/// The withdrawals are not those the header names.
pub const WITHDRAWALS_ROOT: &str = "withdrawals-root";
/// The gas used by a transaction is not the step of the cumulative gas.
pub const GAS_USED: &str = "gas-used";
/// The index of a transaction or log is not its place in the block.
pub const INDEX: &str = "index";

/// How much of a block is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// Logs against the block's bloom filter: finds logs that were made up, and all but every one that is
    /// missing (its bits may be set by others).
    #[default]
    Bloom,
    /// Hash of the header and of each transaction, roots of transactions, receipts and withdrawals.
    Roots,
}

/// What a block without violation turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// All that the level asks for was checked.
    Wholly,
    /// Some of it could not be checked, and the rest holds.
    Partly(Vec<Unchecked>),
}

/// Something that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The rule that was not applied.
    pub rule: &'static str,
    /// Why.
    pub reason: String,
}

/// Why a hash was not recomputed: the answer is bad, or it lacks what is needed.
enum Stop {
    Violated(Violation),
    Unchecked(String),
}

impl From<Unwritten> for Stop {
    fn from(Unwritten { name, fault }: Unwritten) -> Stop {
        match fault {
            Fault::Missing => Stop::Unchecked(format!("{name} is not given")),
            fault => Stop::Violated(Violation::of(fault, name)),
        }
    }
}

type Checked = Result<(), Stop>;

fn violated(rule: &'static str, detail: String) -> Stop {
    Stop::Violated(Violation::new(rule, detail))
}

/// Verifies blocks, with what it remembers between them for speed.
#[derive(Debug, Default)]
pub struct Verifier {
    bloom: BloomBits,
    rlp: Rlp,
    encoded: Vec<Vec<u8>>,
}

impl Verifier {
    /// Verifies one block with its receipts, which must be those of its transactions; without any, what
    /// the block itself says.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(
        &mut self,
        block: &Block<'_>,
        receipts: Option<&[Receipt<'_>]>,
        level: Level,
    ) -> Result<Verified, Violation> {
        match level {
            Level::Off => Ok(Verified::Wholly),
            Level::Bloom => {
                receipts.map_or(Ok(()), |receipts| validate::check_bloom(&mut self.bloom, block, receipts))?;
                Ok(Verified::Wholly)
            }
            Level::Roots => self.check_roots(block, receipts),
        }
    }

    fn check_roots(&mut self, block: &Block<'_>, receipts: Option<&[Receipt<'_>]>) -> Result<Verified, Violation> {
        let mut unchecked = Vec::new();
        let mut note = |rule, checked| match checked {
            Ok(()) => Ok(()),
            Err(Stop::Violated(violation)) => Err(violation),
            Err(Stop::Unchecked(reason)) => {
                unchecked.push(Unchecked { rule, reason });
                Ok(())
            }
        };
        match seal::read(block.text) {
            Ok(seal) => {
                note(HEADER_HASH, self.check_header(block, &seal))?;
                note(TRANSACTIONS_ROOT, self.check_transactions(block, &seal))?;
                note(WITHDRAWALS_ROOT, self.check_withdrawals(block, &seal))?;
            }
            Err(error) => {
                let reason = format!("fields that only hashes need cannot be read: {error}");
                note(HEADER_HASH, Err(Stop::Unchecked(reason)))?;
            }
        }
        if let Some(receipts) = receipts {
            note(RECEIPTS_ROOT, self.check_receipts(block, receipts))?;
        }
        Ok(if unchecked.is_empty() { Verified::Wholly } else { Verified::Partly(unchecked) })
    }

    fn check_header(&mut self, block: &Block<'_>, seal: &Seal<'_>) -> Checked {
        self.rlp.out.clear();
        header::encode(&mut self.rlp, block, seal)?;
        let hash = keccak256(&self.rlp.out);
        if block.hash.fixed() == Ok(hash.0) {
            return Ok(());
        }
        if let Some(key) = header::unknown_key(block) {
            return Err(Stop::Unchecked(format!("the block has the unknown field {key}")));
        }
        Err(violated(
            HEADER_HASH,
            format!("the header hashes to {hash}, the block says {}", validate::show(block.hash)),
        ))
    }

    /// The place for the encoding of item `index` of a list.
    fn take_slot(&mut self, index: usize) -> Vec<u8> {
        if self.encoded.len() <= index {
            self.encoded.resize_with(index + 1, Vec::new);
        }
        let mut slot = std::mem::take(&mut self.encoded[index]);
        slot.clear();
        slot
    }

    /// Encodes item `index` of a list with `encode` and keeps it for the root.
    fn encode(
        &mut self,
        index: usize,
        encode: impl FnOnce(&mut Rlp, &mut BloomBits) -> rlp::Result<()>,
    ) -> Result<&[u8], Stop> {
        self.rlp.out = self.take_slot(index);
        encode(&mut self.rlp, &mut self.bloom)?;
        self.encoded[index] = std::mem::take(&mut self.rlp.out);
        Ok(&self.encoded[index])
    }

    /// Compares the root of the first `count` encoded items with the header's.
    fn check_root(&self, rule: &'static str, count: usize, named: Field<'_>) -> Checked {
        let root = ordered_trie_root_encoded(&self.encoded[..count]);
        if named.is_absent() {
            return Err(Stop::Unchecked("the block names no root".to_owned()));
        }
        if named.fixed() == Ok(root.0) {
            return Ok(());
        }
        Err(violated(rule, format!("the root of {count} items is {root}, the block says {}", validate::show(named))))
    }

    fn check_transactions(&mut self, block: &Block<'_>, seal: &Seal<'_>) -> Checked {
        let order = in_order(&block.transactions, |tx| tx.transaction_index, "transaction")?;
        if seal.transactions.len() != order.len() {
            return Err(Stop::Unchecked("the text has other transactions than were read from it".to_owned()));
        }
        for (index, from) in order.iter().enumerate() {
            let tx = &block.transactions[*from];
            let kind = kind(tx)?;
            let encoded = self.encode(index, |rlp, _| transaction::encode(rlp, kind, tx, &seal.transactions[*from]))?;
            check_hash(tx, keccak256(encoded))?;
        }
        self.check_root(TRANSACTIONS_ROOT, order.len(), block.transactions_root)
    }

    fn check_withdrawals(&mut self, block: &Block<'_>, seal: &Seal<'_>) -> Checked {
        // Withdrawals fill no table; a node that leaves them out withholds nothing.
        let Some(withdrawals) = &seal.withdrawals else { return Ok(()) };
        for (index, withdrawal) in withdrawals.iter().enumerate() {
            self.encode(index, |rlp, _| seal::encode_withdrawal(rlp, withdrawal))?;
        }
        self.check_root(WITHDRAWALS_ROOT, withdrawals.len(), block.withdrawals_root)
    }

    fn check_receipts(&mut self, block: &Block<'_>, receipts: &[Receipt<'_>]) -> Checked {
        let order = in_order(&block.transactions, |tx| tx.transaction_index, "transaction")?;
        let receipts_in_order = in_order(receipts, |receipt| receipt.transaction_index, "receipt")?;
        let (mut gas, mut log_index) = (0, 0);
        for (index, from) in receipts_in_order.iter().enumerate() {
            let receipt = &receipts[*from];
            let tx = order.get(index).map(|index| &block.transactions[*index]);
            let tx = tx.ok_or_else(|| violated(RECEIPTS_ROOT, format!("no transaction {index} for its receipt")))?;
            let kind = kind(tx)?;
            self.encode(index, |rlp, bits| receipt::encode(rlp, bits, kind, receipt))?;
            check_log_indices(receipt, &mut log_index)?;
            check_gas(receipt, &mut gas)?;
        }
        self.check_root(RECEIPTS_ROOT, receipts.len(), block.receipts_root)
    }
}

fn kind(tx: &Transaction<'_>) -> Result<Kind, Stop> {
    Kind::of(tx).map_err(|kind| Stop::Unchecked(format!("a transaction is of the unknown type {kind:#x}")))
}

fn check_hash(tx: &Transaction<'_>, hash: B256) -> Checked {
    if tx.hash.fixed() == Ok(hash.0) {
        return Ok(());
    }
    let (index, named) = (validate::show(tx.transaction_index), validate::show(tx.hash));
    Err(violated(TRANSACTION_HASH, format!("transaction {index} hashes to {hash}, not {named}")))
}

/// Where in a list the items are by their index, which must count from nothing.
fn in_order<T>(items: &[T], index: impl Fn(&T) -> Field<'_>, what: &'static str) -> Result<Vec<usize>, Stop> {
    let mut order = vec![usize::MAX; items.len()];
    for (from, item) in items.iter().enumerate() {
        let index = index(item).u64().map_err(|fault| Stop::from(Unwritten { name: "transactionIndex", fault }))?;
        let slot = usize::try_from(index).ok().and_then(|index| order.get_mut(index));
        match slot {
            Some(slot) if *slot == usize::MAX => *slot = from,
            _ => return Err(violated(INDEX, format!("{what} {index} of {} is one too many", items.len()))),
        }
    }
    Ok(order)
}

fn check_log_indices(receipt: &Receipt<'_>, next: &mut u64) -> Checked {
    for log in &receipt.logs {
        if log.log_index.u64() != Ok(*next) {
            let detail = format!("log {next} of the block says it is log {}", validate::show(log.log_index));
            return Err(violated(INDEX, detail));
        }
        *next += 1;
    }
    Ok(())
}

fn check_gas(receipt: &Receipt<'_>, before: &mut u64) -> Checked {
    let of = |name| move |fault| Stop::from(Unwritten { name, fault });
    let cumulative = receipt.cumulative_gas_used.u64().map_err(of("receipt cumulativeGasUsed"))?;
    if receipt.gas_used.is_absent() {
        return Err(Stop::Unchecked("receipt gasUsed is not given".to_owned()));
    }
    let used = receipt.gas_used.u64().map_err(of("receipt gasUsed"))?;
    if before.checked_add(used) != Some(cumulative) {
        let index = validate::show(receipt.transaction_index);
        let detail = format!("transaction {index} used {used} gas, after which {before} became {cumulative}");
        return Err(violated(GAS_USED, detail));
    }
    *before = cumulative;
    Ok(())
}
