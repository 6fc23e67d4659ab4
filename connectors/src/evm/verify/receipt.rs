//! Receipts as they are hashed: outcome, gas, bloom filter and logs.

use super::rlp::{Result, Rlp, Unwritten};
use super::transaction::Kind;
use crate::evm::json::{Log, Receipt};
use crate::evm::validate::BloomBits;

/// Appends the receipt of a transaction. Its bloom filter is made from its logs rather than believed.
pub(super) fn encode(rlp: &mut Rlp, bits: &mut BloomBits, kind: Kind, receipt: &Receipt<'_>) -> Result<()> {
    let mut bloom = [0; 256];
    for log in &receipt.logs {
        add_to_bloom(&mut bloom, bits, log)?;
    }
    rlp.out.extend(kind.prefix());
    rlp.list(|rlp| {
        if receipt.status.is_absent() {
            // Before Byzantium (EIP-658) the state after the transaction stood in the place of its status.
            rlp.fixed::<32>("receipt status", receipt.root)?;
        } else {
            rlp.number("receipt status", receipt.status)?;
        }
        rlp.number("receipt cumulativeGasUsed", receipt.cumulative_gas_used)?;
        rlp.raw(&bloom);
        rlp.list(|rlp| receipt.logs.iter().try_for_each(|log| encode_log(rlp, log)))?;
        // Since Canyon a deposit's receipt is hashed with its nonce; before, only stored with it.
        if kind == Kind::Deposit && !receipt.deposit_receipt_version.is_absent() {
            rlp.number("receipt depositNonce", receipt.deposit_nonce)?;
            rlp.number("receipt depositReceiptVersion", receipt.deposit_receipt_version)?;
        }
        Ok(())
    })
}

fn encode_log(rlp: &mut Rlp, log: &Log<'_>) -> Result<()> {
    rlp.list(|rlp| {
        rlp.fixed::<20>("log address", log.address)?;
        rlp.list(|rlp| log.topics.as_slice().iter().try_for_each(|topic| rlp.fixed::<32>("log topic", *topic)))?;
        rlp.bytes("log data", log.data)
    })
}

fn add_to_bloom(bloom: &mut [u8; 256], bits: &mut BloomBits, log: &Log<'_>) -> Result<()> {
    let of = |name| move |fault| Unwritten { name, fault };
    bits.add(bloom, &log.address.fixed::<20>().map_err(of("log address"))?);
    for topic in log.topics.as_slice() {
        bits.add(bloom, &topic.fixed::<32>().map_err(of("log topic"))?);
    }
    Ok(())
}
