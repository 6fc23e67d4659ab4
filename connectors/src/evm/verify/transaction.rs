//! Transactions as they are hashed: RLP of old ones, EIP-2718 envelopes of new ones.

use super::rlp::{Result, Rlp, Unwritten};
use super::seal::{Access, Authorization, Signed};
use crate::evm::field::{Fault, Field};
use crate::evm::json::Transaction;

/// The types that can be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Before EIP-2718.
    Legacy,
    /// With an access list (EIP-2930).
    AccessList,
    /// With a base fee and a tip (EIP-1559).
    DynamicFee,
    /// With blobs (EIP-4844).
    Blob,
    /// With authorizations (EIP-7702).
    SetCode,
    /// A deposit of the OP stack.
    Deposit,
}

impl Kind {
    /// The type of a transaction; the number of an unknown one.
    pub(super) fn of(tx: &Transaction<'_>) -> std::result::Result<Kind, u64> {
        match tx.transaction_type.or(Field::Number(0)).u64().unwrap_or(u64::MAX) {
            0 => Ok(Kind::Legacy),
            1 => Ok(Kind::AccessList),
            2 => Ok(Kind::DynamicFee),
            3 => Ok(Kind::Blob),
            4 => Ok(Kind::SetCode),
            0x7e => Ok(Kind::Deposit),
            other => Err(other),
        }
    }

    /// The byte before an envelope.
    pub(super) fn prefix(self) -> Option<u8> {
        match self {
            Kind::Legacy => None,
            Kind::AccessList => Some(1),
            Kind::DynamicFee => Some(2),
            Kind::Blob => Some(3),
            Kind::SetCode => Some(4),
            Kind::Deposit => Some(0x7e),
        }
    }
}

/// Appends a transaction.
pub(super) fn encode(rlp: &mut Rlp, kind: Kind, tx: &Transaction<'_>, signed: &Signed<'_>) -> Result<()> {
    rlp.out.extend(kind.prefix());
    rlp.list(|rlp| match kind {
        Kind::Legacy => {
            rlp.number("nonce", tx.nonce)?;
            rlp.number("gasPrice", tx.gas_price)?;
            call(rlp, tx)?;
            signature(rlp, signed.v, signed.r, signed.s)
        }
        Kind::Deposit => deposit(rlp, tx, signed),
        _ => envelope(rlp, kind, tx, signed),
    })
}

fn envelope(rlp: &mut Rlp, kind: Kind, tx: &Transaction<'_>, signed: &Signed<'_>) -> Result<()> {
    rlp.number("chainId", tx.chain_id)?;
    rlp.number("nonce", tx.nonce)?;
    if kind == Kind::AccessList {
        rlp.number("gasPrice", tx.gas_price)?;
    } else {
        rlp.number("maxPriorityFeePerGas", tx.max_priority_fee_per_gas)?;
        rlp.number("maxFeePerGas", tx.max_fee_per_gas)?;
    }
    call(rlp, tx)?;
    access_list(rlp, signed.access_list.as_deref().unwrap_or_default())?;
    if kind == Kind::Blob {
        rlp.number("maxFeePerBlobGas", tx.max_fee_per_blob_gas)?;
        let hashes = needed("blobVersionedHashes", signed.blob_versioned_hashes.as_deref())?;
        rlp.list(|rlp| hashes.iter().try_for_each(|hash| rlp.fixed::<32>("blobVersionedHashes", *hash)))?;
    }
    if kind == Kind::SetCode {
        let list = needed("authorizationList", signed.authorization_list.as_deref())?;
        rlp.list(|rlp| list.iter().try_for_each(|item| authorization(rlp, item)))?;
    }
    signature(rlp, signed.y_parity.or(signed.v), signed.r, signed.s)
}

fn needed<'b, T>(name: &'static str, list: Option<&'b [T]>) -> Result<&'b [T]> {
    list.ok_or(Unwritten { name, fault: Fault::Missing })
}

/// What all but deposits have in this order.
fn call(rlp: &mut Rlp, tx: &Transaction<'_>) -> Result<()> {
    rlp.number("gas", tx.gas)?;
    rlp.optional::<20>("to", tx.to)?;
    rlp.number("value", tx.value)?;
    rlp.bytes("input", tx.input())
}

fn signature(rlp: &mut Rlp, parity: Field<'_>, r: Field<'_>, s: Field<'_>) -> Result<()> {
    rlp.number("v", parity)?;
    rlp.number("r", r)?;
    rlp.number("s", s)
}

fn access_list(rlp: &mut Rlp, list: &[Access<'_>]) -> Result<()> {
    rlp.list(|rlp| {
        list.iter().try_for_each(|access| {
            rlp.list(|rlp| {
                rlp.fixed::<20>("accessList address", access.address)?;
                let keys = &access.storage_keys;
                rlp.list(|rlp| keys.iter().try_for_each(|key| rlp.fixed::<32>("accessList storageKeys", *key)))
            })
        })
    })
}

fn authorization(rlp: &mut Rlp, item: &Authorization<'_>) -> Result<()> {
    rlp.list(|rlp| {
        rlp.number("authorizationList chainId", item.chain_id)?;
        rlp.fixed::<20>("authorizationList address", item.address)?;
        rlp.number("authorizationList nonce", item.nonce)?;
        signature(rlp, item.y_parity.or(item.v), item.r, item.s)
    })
}

/// A deposit has a source instead of a signature (OP stack specification, "Deposits").
fn deposit(rlp: &mut Rlp, tx: &Transaction<'_>, signed: &Signed<'_>) -> Result<()> {
    rlp.fixed::<32>("sourceHash", signed.source_hash)?;
    rlp.fixed::<20>("from", tx.from)?;
    rlp.optional::<20>("to", tx.to)?;
    rlp.number("mint", signed.mint.or(Field::Number(0)))?;
    rlp.number("value", tx.value)?;
    rlp.number("gas", tx.gas)?;
    rlp.number("isSystemTx", Field::Number(u64::from(signed.is_system_tx.unwrap_or(false))))?;
    rlp.bytes("input", tx.input())
}
