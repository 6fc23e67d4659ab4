//! The options of `recording`, and which files they mean.

use std::path::{Path, PathBuf};

use highwater_engine::model::chain_profile::ChainProfile;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::source::SourceError;

use super::lines::Lines;
use crate::evm::field::Field;
use crate::evm::json::Block;
use crate::evm::json::reader;
use crate::evm::json::shape::object;
use crate::evm::options::{FACTORIES, take_factories, take_verify};
use crate::evm::verify::Level;

pub(super) const DOCS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        kind: "path",
        default: "required",
        doc: "A folder with blocks.jsonl[.gz] and receipts.jsonl[.gz] (and traces.jsonl[.gz]), or a file of block events *.ndjson[.gz].",
        example: "data/devnet/blocks.ndjson.gz",
    },
    OptionDoc {
        name: "chain",
        kind: "text",
        default: "the name of the chain id",
        doc: "What the column chain says.",
        example: "ethereum",
    },
    OptionDoc {
        name: "chain_id",
        kind: "integer",
        default: "from the first event or transaction that has one, else 1",
        doc: "What the column chain_id says.",
        example: "1",
    },
    OptionDoc {
        name: "confirmations",
        kind: "integer (blocks)",
        default: "what the events say, else 64; 0 for folders",
        doc: "How many blocks must follow a block before it is final.",
        example: "12",
    },
    OptionDoc {
        name: "gaps",
        kind: "'error' or 'allow'",
        default: "error",
        doc: "Whether a folder may lack blocks between its first and its last.",
        example: "allow",
    },
    OptionDoc {
        name: "validate",
        kind: "'strict' or 'off'",
        default: "strict",
        doc: "Whether every block must agree with its receipts, logs and bloom filter; off also makes unreadable values NULL.",
        example: "strict",
    },
    OptionDoc {
        name: "verify",
        kind: "'off', 'bloom' or 'roots'",
        default: "bloom",
        doc: "Which hashes are recomputed: none; the bloom filter, if blocks are validated; or also the hash of every header and transaction and the roots of transactions and receipts, so that nothing can be added, dropped or altered unnoticed.",
        example: "roots",
    },
    FACTORIES,
];

/// Blocks until final where a recording does not say: two epochs of Ethereum.
pub(super) const LIVE_CONFIRMATIONS: u64 = 64;

/// The files of a recording.
#[derive(Clone, Debug)]
pub(super) enum Files {
    /// One JSON-RPC result a line.
    Folder { blocks: PathBuf, receipts: PathBuf, traces: PathBuf },
    /// One event a line.
    Events { blocks: PathBuf, traces: PathBuf },
}

/// All options, read.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) files: Files,
    pub(super) chain: String,
    pub(super) chain_id: u64,
    /// As given.
    pub(super) confirmations: Option<u64>,
    pub(super) allow_gaps: bool,
    pub(super) validate: bool,
    pub(super) verify: Level,
    pub(super) factories: Vec<[u8; 20]>,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Settings, SourceError> {
        let path = options.require_path("path")?;
        let chain = options.take_str("chain");
        let chain_id = options.take_u64("chain_id")?;
        let confirmations = options.take_u64("confirmations")?;
        let allow_gaps = options.take_choice("gaps", &[("error", false), ("allow", true)])?;
        let verify = take_verify(&mut options)?;
        let validate = options.take_choice("validate", &[("strict", true), ("off", false)])?;
        let factories = take_factories(&mut options)?;
        let not_found = options.invalid(
            "path",
            path.display().to_string(),
            "a folder with blocks.jsonl[.gz] or a file of block events (*.ndjson[.gz])",
        );
        options.finish()?;
        let files = find_files(&path).ok_or(not_found)?;
        let chain_id = chain_id.or_else(|| first_chain_id(files.blocks())).unwrap_or(1);
        Ok(Settings {
            files,
            chain: chain.unwrap_or_else(|| ChainProfile::name_of(chain_id)),
            chain_id,
            confirmations,
            allow_gaps: allow_gaps.unwrap_or(false),
            validate: validate.unwrap_or(true),
            verify: verify.unwrap_or_default(),
            factories,
        })
    }
}

impl Files {
    fn blocks(&self) -> &Path {
        match self {
            Files::Folder { blocks, .. } | Files::Events { blocks, .. } => blocks,
        }
    }
}

fn find_files(path: &Path) -> Option<Files> {
    if path.is_file() {
        let name = path.file_name()?.to_str()?;
        let folder = path.parent()?;
        return match name.strip_suffix(".gz").unwrap_or(name).ends_with(".ndjson") {
            true => Some(Files::Events { blocks: path.to_owned(), traces: either(folder, "traces.ndjson") }),
            false => Some(folder_files(folder, path.to_owned())),
        };
    }
    let blocks = either(path, "blocks.jsonl");
    if blocks.is_file() {
        return Some(folder_files(path, blocks));
    }
    let blocks = either(path, "blocks.ndjson");
    blocks.is_file().then(|| Files::Events { blocks, traces: either(path, "traces.ndjson") })
}

fn folder_files(folder: &Path, blocks: PathBuf) -> Files {
    Files::Folder { blocks, receipts: either(folder, "receipts.jsonl"), traces: either(folder, "traces.jsonl") }
}

/// The plain file if it is there, else the compressed one, which may be missing too.
fn either(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    if plain.is_file() { plain } else { folder.join(format!("{name}.gz")) }
}

/// The error for a file that wanted columns need and that is not there.
pub(super) fn require(path: &Path, what: &str, wanted_by: &str) -> Result<(), SourceError> {
    if path.is_file() {
        return Ok(());
    }
    Err(SourceError::Malformed {
        place: path.display().to_string(),
        detail: format!("the recording has no {what}, and {wanted_by} cannot be read without"),
    })
}

#[derive(Default)]
struct PeekTransaction<'a> {
    chain_id: Field<'a>,
}

object!(PeekTransaction, Transaction, { "chainId" => chain_id, });

#[derive(Default)]
struct PeekBlock<'a> {
    /// As the event says.
    chain_id: Field<'a>,
    transactions: Vec<PeekTransaction<'a>>,
    /// The block inside an event.
    block: Option<Block<'a>>,
}

object!(PeekBlock, Other, { "chain_id" => chain_id, "transactions" => transactions, "block" => block, });

/// The chain id that an event or a transaction names first, looked for in the first lines.
///
/// Whatever cannot be read here will be named when the reader comes to it.
fn first_chain_id(blocks: &Path) -> Option<u64> {
    const LOOK_AT: usize = 16;
    let mut lines = Lines::open(blocks).ok()?;
    for _ in 0..LOOK_AT {
        if !lines.advance().ok()? {
            return None;
        }
        let peek: PeekBlock<'_> = reader::from_str(lines.text().ok()?).ok()?;
        let inner = peek.block.unwrap_or_default();
        let ids = peek.transactions.iter().map(|tx| tx.chain_id).chain(inner.transactions.iter().map(|tx| tx.chain_id));
        let ids = [peek.chain_id].into_iter().chain(ids).filter_map(|id| id.u64().ok()).next();
        if ids.is_some() {
            return ids;
        }
    }
    None
}
