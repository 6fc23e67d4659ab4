//! The few fields of a block that following the chain needs.

use highwater_engine::model::BlockHash;
use serde::Deserialize;

use crate::evm::field::Field;

/// A block's place in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) hash: BlockHash,
    pub(super) parent: BlockHash,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    number: Field<'a>,
    hash: Field<'a>,
    parent_hash: Field<'a>,
}

impl Header {
    /// Reads the JSON of a block or a header; an error says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Header, String> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| format!("no block: {error}"))?;
        let hash = |field: Field<'_>, name| field.fixed().map(BlockHash).map_err(|fault| format!("{name} {fault}"));
        Ok(Header {
            number: fields.number.u64().map_err(|fault| format!("block number {fault}"))?,
            hash: hash(fields.hash, "block hash")?,
            parent: hash(fields.parent_hash, "block parentHash")?,
        })
    }
}

/// A JSON quantity such as `"0x1"`.
pub(super) fn quantity(text: &str) -> Option<u64> {
    let field: Field<'_> = serde_json::from_str(text).ok()?;
    field.u64().ok()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TransactionHash<'a> {
    #[serde(borrow)]
    hash: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transactions<'a> {
    #[serde(borrow)]
    transactions: Vec<TransactionHash<'a>>,
}

/// The hashes of a block's transactions, in order of the block's text.
pub(super) fn transaction_hashes(block: &str) -> Result<Vec<[u8; 32]>, String> {
    let block: Transactions<'_> = serde_json::from_str(block).map_err(|error| format!("no block: {error}"))?;
    let hashes = block.transactions.iter().map(|tx| tx.hash.fixed());
    hashes.collect::<Result<_, _>>().map_err(|fault| format!("transaction hash {fault}"))
}
