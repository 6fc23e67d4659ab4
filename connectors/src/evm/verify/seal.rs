//! What only hashes need: fields of blocks and transactions that feed no column, read when asked for.

use super::rlp::{Result, Rlp};
use crate::evm::field::Field;
use crate::evm::json::reader::{self, JsonError};
use crate::evm::json::shape::object;

/// The rest of a block.
#[derive(Debug, Default)]
pub(super) struct Seal<'a> {
    pub(super) sha3_uncles: Field<'a>,
    pub(super) mix_hash: Field<'a>,
    pub(super) nonce: Field<'a>,
    pub(super) requests_hash: Field<'a>,
    /// Beside each transaction of the block, in the order of the text.
    pub(super) transactions: Vec<Signed<'a>>,
    pub(super) withdrawals: Option<Vec<Withdrawal<'a>>>,
}

object!(Seal, Other, {
    "sha3Uncles" => sha3_uncles,
    "mixHash" => mix_hash,
    "nonce" => nonce,
    "requestsHash" => requests_hash,
    "transactions" => transactions,
    "withdrawals" => withdrawals,
});

/// The rest of a transaction.
#[derive(Debug, Default)]
pub(super) struct Signed<'a> {
    pub(super) v: Field<'a>,
    pub(super) r: Field<'a>,
    pub(super) s: Field<'a>,
    pub(super) y_parity: Field<'a>,
    pub(super) access_list: Option<Vec<Access<'a>>>,
    pub(super) blob_versioned_hashes: Option<Vec<Field<'a>>>,
    pub(super) authorization_list: Option<Vec<Authorization<'a>>>,
    /// Of a deposit of the OP stack, as are the next two.
    pub(super) source_hash: Field<'a>,
    pub(super) mint: Field<'a>,
    pub(super) is_system_tx: Option<bool>,
}

object!(Signed, Transaction, {
    "v" => v,
    "r" => r,
    "s" => s,
    "yParity" => y_parity,
    "accessList" => access_list,
    "blobVersionedHashes" => blob_versioned_hashes,
    "authorizationList" => authorization_list,
    "sourceHash" => source_hash,
    "mint" => mint,
    "isSystemTx" => is_system_tx,
}, passed_over: ["hash", "blockHash", "blockNumber", "transactionIndex", "nonce", "from", "to", "value", "input",
    "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "type", "chainId"]);

/// An entry of an access list (EIP-2930).
#[derive(Debug, Default)]
pub(super) struct Access<'a> {
    pub(super) address: Field<'a>,
    pub(super) storage_keys: Vec<Field<'a>>,
}

object!(Access, Action, { "address" => address, "storageKeys" => storage_keys, });

/// An authorization to run code of another account (EIP-7702).
#[derive(Debug, Default)]
pub(super) struct Authorization<'a> {
    pub(super) chain_id: Field<'a>,
    pub(super) address: Field<'a>,
    pub(super) nonce: Field<'a>,
    pub(super) y_parity: Field<'a>,
    pub(super) v: Field<'a>,
    pub(super) r: Field<'a>,
    pub(super) s: Field<'a>,
}

object!(Authorization, Call, {
    "chainId" => chain_id,
    "address" => address,
    "nonce" => nonce,
    "yParity" => y_parity,
    "v" => v,
    "r" => r,
    "s" => s,
});

/// A withdrawal of a validator (EIP-4895).
#[derive(Debug, Default)]
pub(super) struct Withdrawal<'a> {
    pub(super) index: Field<'a>,
    pub(super) validator_index: Field<'a>,
    pub(super) address: Field<'a>,
    pub(super) amount: Field<'a>,
}

object!(Withdrawal, Trace, {
    "index" => index,
    "validatorIndex" => validator_index,
    "address" => address,
    "amount" => amount,
});

/// Reads the rest of a block from its text, which was read before.
pub(super) fn read(text: &str) -> std::result::Result<Seal<'_>, JsonError> {
    reader::from_str(text)
}

/// Appends a withdrawal.
pub(super) fn encode_withdrawal(rlp: &mut Rlp, withdrawal: &Withdrawal<'_>) -> Result<()> {
    rlp.list(|rlp| {
        rlp.number("withdrawal index", withdrawal.index)?;
        rlp.number("withdrawal validatorIndex", withdrawal.validator_index)?;
        rlp.fixed::<20>("withdrawal address", withdrawal.address)?;
        rlp.number("withdrawal amount", withdrawal.amount)
    })
}
