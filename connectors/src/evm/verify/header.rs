//! The hash of a block is that of its header, and the header names everything else by its root.

use std::borrow::Cow;

use super::rlp::{Result, Rlp, Unwritten};
use super::seal::Seal;
use crate::evm::field::{Fault, Field};
use crate::evm::json::Block;
use crate::evm::json::reader::Reader;

/// Keys of a block that are in its header, or are known not to be.
const KNOWN: [&str; 33] = [
    "author",
    "baseFeePerGas",
    "blobGasUsed",
    "difficulty",
    "excessBlobGas",
    "extraData",
    "gasLimit",
    "gasUsed",
    "hash",
    "l1BlockNumber",
    "logsBloom",
    "miner",
    "mixHash",
    "nonce",
    "number",
    "parentBeaconBlockRoot",
    "parentHash",
    "receiptsRoot",
    "requestsHash",
    "sealFields",
    "sendCount",
    "sendRoot",
    "sha3Uncles",
    "size",
    "stateRoot",
    "timestamp",
    "totalDifficulty",
    "transactions",
    "transactionsRoot",
    "uncles",
    "withdrawals",
    "withdrawalsRoot",
    "milliTimestamp",
];

/// Appends the header. Fields of later forks come at its end, and every fork has those of all before it.
pub(super) fn encode(rlp: &mut Rlp, block: &Block<'_>, seal: &Seal<'_>) -> Result<()> {
    rlp.list(|rlp| {
        rlp.fixed::<32>("parentHash", block.parent_hash)?;
        rlp.fixed::<32>("sha3Uncles", seal.sha3_uncles)?;
        rlp.fixed::<20>("miner", block.miner.or(block.author))?;
        rlp.fixed::<32>("stateRoot", block.state_root)?;
        rlp.fixed::<32>("transactionsRoot", block.transactions_root)?;
        rlp.fixed::<32>("receiptsRoot", block.receipts_root)?;
        rlp.fixed::<256>("logsBloom", block.logs_bloom)?;
        rlp.number("difficulty", block.difficulty)?;
        rlp.number("number", block.number)?;
        rlp.number("gasLimit", block.gas_limit)?;
        rlp.number("gasUsed", block.gas_used)?;
        rlp.number("timestamp", block.timestamp)?;
        rlp.bytes("extraData", block.extra_data)?;
        rlp.fixed::<32>("mixHash", seal.mix_hash)?;
        rlp.fixed::<8>("nonce", seal.nonce)?;
        encode_later(rlp, block, seal)
    })
}

fn encode_later(rlp: &mut Rlp, block: &Block<'_>, seal: &Seal<'_>) -> Result<()> {
    let later: [(&'static str, Field<'_>, bool); 6] = [
        ("baseFeePerGas", block.base_fee_per_gas, false),
        ("withdrawalsRoot", block.withdrawals_root, true),
        ("blobGasUsed", block.blob_gas_used, false),
        ("excessBlobGas", block.excess_blob_gas, false),
        ("parentBeaconBlockRoot", block.parent_beacon_block_root, true),
        ("requestsHash", seal.requests_hash, true),
    ];
    let mut ended = None;
    for (name, field, is_hash) in later {
        match (field.is_absent(), ended) {
            (true, None) => ended = Some(name),
            (true, Some(_)) => {}
            (false, Some(name)) => return Err(Unwritten { name, fault: Fault::Missing }),
            (false, None) if is_hash => rlp.fixed::<32>(name, field)?,
            (false, None) => rlp.number(name, field)?,
        }
    }
    Ok(())
}

/// The first key of a block that may be of a fork unknown here.
pub(super) fn unknown_key(block: &Block<'_>) -> Option<String> {
    let keys = Reader::new(block.text).keys().ok()?;
    keys.into_iter().find(|key| !KNOWN.contains(&key.as_ref())).map(Cow::into_owned)
}
