//! What is believed: the rules every block must pass before its rows are used.
//!
//! Providers answer with receipts of another fork, without logs, or with half a block. Each rule here
//! has caught such an answer; its name is stable and appears in the error. Whether a block links to
//! its parent is not judged here but by the engine, which knows the chain.

use alloy_primitives::keccak256;

use super::field::{Fault, Field};
use super::json::{Block, Log, Receipt, TraceItem, Transaction};

/// A value that every block needs is not there.
pub const MISSING_FIELD: &str = "missing-field";
/// A transaction names another block as its own.
pub const HASH_MISMATCH: &str = "hash-mismatch";
/// Two transactions have one index.
pub const DUPLICATE_TRANSACTION_INDEX: &str = "duplicate-transaction-index";
/// The block's bloom filter says that there are logs and there are none.
pub const EMPTY_LOGS_NONZERO_BLOOM: &str = "empty-logs-nonzero-bloom";
/// The address or a topic of a log is not in the block's bloom filter.
pub const LOG_NOT_IN_BLOOM: &str = "log-not-in-bloom";
/// The block's bloom filter has bits that no log sets.
pub const MISSING_LOG: &str = "missing-log";
/// A log names another block as its own.
pub const LOG_BLOCK_MISMATCH: &str = "log-block-mismatch";
/// A log names another transaction than the receipt it is in.
pub const LOG_TRANSACTION_MISMATCH: &str = "log-transaction-mismatch";
/// Two logs have one index.
pub const DUPLICATE_LOG_INDEX: &str = "duplicate-log-index";
/// There are more or fewer receipts than transactions.
pub const RECEIPT_COUNT: &str = "receipt-count";
/// A receipt belongs to no transaction of the block, or two to one.
pub const RECEIPT_TRANSACTION_MISMATCH: &str = "receipt-transaction-mismatch";
/// A receipt names another block as its own.
pub const RECEIPT_BLOCK_MISMATCH: &str = "receipt-block-mismatch";
/// A trace belongs to no transaction of the block.
pub const TRACE_TRANSACTION_UNKNOWN: &str = "trace-transaction-unknown";
/// The block has transactions and no traces.
pub const MISSING_TRACES: &str = "missing-traces";
/// A number is larger than its column holds.
pub const NUMBER_RANGE: &str = "number-range";
/// A value is not hexadecimal text of the right length.
pub const BAD_HEX: &str = "bad-hex";

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its stable name.
    pub rule: &'static str,
    /// What differs, with values.
    pub detail: String,
}

impl Violation {
    /// A violation of `rule`.
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Violation {
        Violation { rule, detail: detail.into() }
    }

    /// A value called `name` that cannot be used.
    pub fn of(fault: Fault, name: &str) -> Violation {
        let rule = match fault {
            Fault::Missing => MISSING_FIELD,
            Fault::TooLarge => NUMBER_RANGE,
            Fault::NotHex | Fault::Length { .. } => BAD_HEX,
        };
        Violation::new(rule, format!("{name} {fault}"))
    }
}

/// Checks one block with whatever of receipts and traces was read with it, all but hashes and the bloom
/// filter: those are for [`super::verify`].
///
/// # Errors
/// The first rule that is broken.
pub fn check(
    block: &Block<'_>,
    receipts: Option<&[Receipt<'_>]>,
    traces: Option<&[TraceItem<'_>]>,
) -> Result<(), Violation> {
    let number = block.number.u64().map_err(|fault| Violation::of(fault, "block number"))?;
    if block.logs_bloom.is_absent() {
        return Err(Violation::of(Fault::Missing, "block logsBloom"));
    }
    check_transactions(block, number)?;
    if let Some(receipts) = receipts {
        check_receipts(block, number, receipts)?;
        check_logs(block, number, receipts)?;
    }
    traces.map_or(Ok(()), |traces| check_traces(block, traces))
}

/// Checks that the block's bloom filter is just the one that its logs make: a log that was made up sets other
/// bits, and one that is missing leaves bits unset unless others set them too.
pub(crate) fn check_bloom(bits: &mut BloomBits, block: &Block<'_>, receipts: &[Receipt<'_>]) -> Result<(), Violation> {
    let filter: [u8; 256] = block.logs_bloom.fixed().map_err(|fault| Violation::of(fault, "block logsBloom"))?;
    if receipts.iter().all(|receipt| receipt.logs.is_empty()) {
        return match filter.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Violation::new(EMPTY_LOGS_NONZERO_BLOOM, "no receipt has a log but logsBloom is not zero")),
        };
    }
    let mut made = [0; 256];
    for log in receipts.iter().flat_map(|receipt| &receipt.logs) {
        check_log_in_bloom(bits, &filter, &mut made, log)?;
    }
    match made == filter {
        true => Ok(()),
        false => Err(Violation::new(MISSING_LOG, "logsBloom has bits that no log of the receipts sets")),
    }
}

/// Adds a log to the filter `made`, if it is in `filter`.
fn check_log_in_bloom(
    bits: &mut BloomBits,
    filter: &[u8; 256],
    made: &mut [u8; 256],
    log: &Log<'_>,
) -> Result<(), Violation> {
    let address: [u8; 20] = log.address.fixed().map_err(|fault| Violation::of(fault, "log address"))?;
    let mut held = bits.take_over(filter, made, &address);
    for topic in log.topics.as_slice() {
        let topic: [u8; 32] = topic.fixed().map_err(|fault| Violation::of(fault, "log topic"))?;
        held &= bits.take_over(filter, made, &topic);
    }
    match held {
        true => Ok(()),
        false => Err(Violation::new(
            LOG_NOT_IN_BLOOM,
            format!("the address or a topic of log {} is not in logsBloom", show(log.log_index)),
        )),
    }
}

pub(crate) fn show(field: Field<'_>) -> String {
    match field {
        Field::Absent => "(none)".to_owned(),
        Field::Hex(text) => text.to_owned(),
        Field::Number(number) => number.to_string(),
        Field::Bytes(bytes) => format!("0x{}", alloy_primitives::hex::encode(bytes)),
    }
}

/// Tells whether a member of the block says that it is in another block.
fn in_other_block(block: &Block<'_>, number: u64, named_hash: Field<'_>, named_number: Field<'_>) -> bool {
    // Nodes write one number in one way, so that comparing the text nearly always answers.
    !named_hash.same_bytes::<32>(block.hash) || named_number != block.number && named_number.u64() != Ok(number)
}

/// Reads the index of every item and reports the first that two items share.
fn indices<T>(items: &[T], index: impl Fn(&T) -> Field<'_>, name: &str) -> Result<Result<Vec<u64>, u64>, Violation> {
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        found.push(index(item).u64().map_err(|fault| Violation::of(fault, name))?);
    }
    if !found.is_sorted_by(|one, two| one < two) {
        let mut sorted = found.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Ok(Err(pair[0]));
        }
    }
    Ok(Ok(found))
}

fn check_transactions(block: &Block<'_>, number: u64) -> Result<(), Violation> {
    for tx in &block.transactions {
        if tx.hash.is_absent() {
            return Err(Violation::of(Fault::Missing, "transaction hash"));
        }
        if in_other_block(block, number, tx.block_hash, tx.block_number) {
            let detail = format!(
                "transaction {} says it is in block {} ({})",
                show(tx.hash),
                show(tx.block_number),
                show(tx.block_hash)
            );
            return Err(Violation::new(HASH_MISMATCH, detail));
        }
    }
    match indices(&block.transactions, |tx: &Transaction<'_>| tx.transaction_index, "transaction transactionIndex")? {
        Ok(_) => Ok(()),
        Err(index) => {
            Err(Violation::new(DUPLICATE_TRANSACTION_INDEX, format!("two transactions have the index {index}")))
        }
    }
}

fn check_receipts(block: &Block<'_>, number: u64, receipts: &[Receipt<'_>]) -> Result<(), Violation> {
    if receipts.len() != block.transactions.len() {
        let detail = format!("{} receipts for {} transactions", receipts.len(), block.transactions.len());
        return Err(Violation::new(RECEIPT_COUNT, detail));
    }
    let by_index = super::ingest::receipts_by_transaction(&block.transactions, receipts);
    for (tx, receipt) in block.transactions.iter().zip(by_index) {
        let Some(receipt) = receipt else {
            let detail = format!("transaction {} has no receipt with its index", show(tx.transaction_index));
            return Err(Violation::new(RECEIPT_TRANSACTION_MISMATCH, detail));
        };
        if !receipt.transaction_hash.same_bytes::<32>(tx.hash) {
            let detail = format!(
                "the receipt of transaction {} is for {} instead of {}",
                show(tx.transaction_index),
                show(receipt.transaction_hash),
                show(tx.hash)
            );
            return Err(Violation::new(RECEIPT_TRANSACTION_MISMATCH, detail));
        }
        if in_other_block(block, number, receipt.block_hash, receipt.block_number) {
            let detail = format!(
                "the receipt of transaction {} says it is in block {} ({})",
                show(tx.transaction_index),
                show(receipt.block_number),
                show(receipt.block_hash)
            );
            return Err(Violation::new(RECEIPT_BLOCK_MISMATCH, detail));
        }
    }
    Ok(())
}

fn check_logs(block: &Block<'_>, number: u64, receipts: &[Receipt<'_>]) -> Result<(), Violation> {
    let mut found = Vec::new();
    for receipt in receipts {
        for log in &receipt.logs {
            if in_other_block(block, number, log.block_hash, log.block_number) {
                let detail = format!("log {} says it is in {}", show(log.log_index), show(log.block_hash));
                return Err(Violation::new(LOG_BLOCK_MISMATCH, detail));
            }
            if !belongs_to(log, receipt) {
                let detail = format!(
                    "log {} in the receipt of {} says it is of {}",
                    show(log.log_index),
                    show(receipt.transaction_hash),
                    show(log.transaction_hash)
                );
                return Err(Violation::new(LOG_TRANSACTION_MISMATCH, detail));
            }
            found.push(log.log_index);
        }
    }
    match indices(&found, |index| *index, "log logIndex")? {
        Ok(_) => Ok(()),
        Err(index) => Err(Violation::new(DUPLICATE_LOG_INDEX, format!("two logs have the index {index}"))),
    }
}

fn belongs_to(log: &Log<'_>, receipt: &Receipt<'_>) -> bool {
    // System logs of zkSync have the zero hash.
    (log.transaction_index == receipt.transaction_index
        || log.transaction_index.u64() == receipt.transaction_index.u64())
        && (log.transaction_hash.same_bytes::<32>(receipt.transaction_hash)
            || log.transaction_hash.same_bytes::<32>(Field::Bytes(&[0; 32])))
}

fn check_traces(block: &Block<'_>, traces: &[TraceItem<'_>]) -> Result<(), Violation> {
    if traces.is_empty() && !block.transactions.is_empty() {
        let detail = format!("no traces for {} transactions", block.transactions.len());
        return Err(Violation::new(MISSING_TRACES, detail));
    }
    for (position, trace) in (0u64..).zip(traces) {
        if trace.transaction_hash.is_absent() {
            continue;
        }
        let given = if trace.action.is_some() { trace.transaction_position } else { Field::Number(position) };
        let index = given.u64().map_err(|fault| Violation::of(fault, "trace transactionPosition"))?;
        // Transactions are in order of their index in all but broken blocks, where the mismatch shows.
        let tx = usize::try_from(index).ok().and_then(|index| block.transactions.get(index));
        if !tx.is_some_and(|tx| tx.hash.same_bytes::<32>(trace.transaction_hash)) {
            let detail = format!("a trace is of {}, which is not transaction {index}", show(trace.transaction_hash));
            return Err(Violation::new(TRACE_TRANSACTION_UNKNOWN, detail));
        }
    }
    Ok(())
}

/// The three bits that a value sets in a bloom filter, remembered for the values seen lately.
///
/// Hashing is the dearest part of checking a log, and the same tokens and topics come again and again.
pub(crate) struct BloomBits {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The value, zero-padded.
    key: [u8; 32],
    /// Its length; 0 where nothing is remembered.
    len: usize,
    bits: [u16; 3],
}

const SLOT_BITS: u32 = 13;
const SLOTS: usize = 1 << SLOT_BITS;

impl Default for BloomBits {
    fn default() -> Self {
        BloomBits { slots: vec![Slot { key: [0; 32], len: 0, bits: [0; 3] }; SLOTS] }
    }
}

impl std::fmt::Debug for BloomBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BloomBits").finish_non_exhaustive()
    }
}

impl BloomBits {
    /// Sets the bits of a value in `made`; whether they are set in `filter`.
    #[inline]
    fn take_over<const N: usize>(&mut self, filter: &[u8; 256], made: &mut [u8; 256], value: &[u8; N]) -> bool {
        let mut held = true;
        for bit in self.bits(value) {
            let (byte, mask) = (255 - usize::from(bit / 8), 1 << (bit % 8));
            made[byte] |= mask;
            held &= filter[byte] & mask != 0;
        }
        held
    }

    /// Sets the bits of a value in a filter.
    pub(crate) fn add<const N: usize>(&mut self, filter: &mut [u8; 256], value: &[u8; N]) {
        for bit in self.bits(value) {
            filter[255 - usize::from(bit / 8)] |= 1 << (bit % 8);
        }
    }

    #[inline]
    fn bits<const N: usize>(&mut self, value: &[u8; N]) -> [u16; 3] {
        let mut key = [0; 32];
        key[..N].copy_from_slice(value);
        let slot = &mut self.slots[slot_of(value)];
        if slot.key != key || slot.len != N {
            *slot = Slot { key, len: N, bits: bloom_bits(value) };
        }
        slot.bits
    }
}

/// Spreads values over the slots by both their ends: an address and the topic made of it end alike, and
/// numbers and names are zero at one end.
fn slot_of(value: &[u8]) -> usize {
    let head = value.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
    let tail = value.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
    let mixed = (head.wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(32) ^ tail).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> (64 - SLOT_BITS)).expect("a few bits fit")
}

/// The bits of a value as the yellow paper defines them: three times eleven bits of its hash.
pub(crate) fn bloom_bits(value: &[u8]) -> [u16; 3] {
    let hash = keccak256(value);
    let pair = |at: usize| u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x07ff;
    [pair(0), pair(2), pair(4)]
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bloom, BloomInput};

    use super::*;

    fn agrees<const N: usize>(cache: &mut BloomBits, value: &[u8; N]) {
        let filter = Bloom::from(BloomInput::Raw(value));
        let mut made = [0; 256];
        assert!(cache.take_over(&filter.0, &mut made, value));
        assert_eq!(made, filter.0);
        assert!(!cache.take_over(&[0; 256], &mut made, value));
        let set: u32 = filter.0.iter().map(|byte| byte.count_ones()).sum();
        let mut bits = cache.bits(value).to_vec();
        bits.sort_unstable();
        bits.dedup();
        assert_eq!(usize::try_from(set).unwrap(), bits.len());
    }

    #[test]
    fn bits_agree_with_the_reference_filter() {
        let mut cache = BloomBits::default();
        for round in 0..2u8 {
            for value in [[2; 32], [round; 32], [0; 32]] {
                agrees(&mut cache, &value);
            }
            for value in [[1; 20], [round; 20], [0; 20]] {
                agrees(&mut cache, &value);
            }
        }
    }
}
