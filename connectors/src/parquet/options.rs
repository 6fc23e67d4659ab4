//! The options of `parquet`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::source::SourceError;

pub(super) const DOCS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        kind: "path",
        default: "required",
        doc: "A folder with <table>.parquet, <table>/**/*.parquet or cryo's files, or a single file.",
        example: "data/ethereum",
    },
    OptionDoc {
        name: "alias",
        kind: "list of file=table",
        default: "none",
        doc: "Other names for tables. An aliased table keeps the types of its file.",
        example: "txs=transactions",
    },
    OptionDoc {
        name: "rename",
        kind: "list of column=name",
        default: "none",
        doc: "Other names for columns, in every table.",
        example: "to=to_address, block_time=block_timestamp",
    },
    OptionDoc {
        name: "chain",
        kind: "text",
        default: "the network in the names of cryo's files, else ethereum",
        doc: "What the column chain says where files have none.",
        example: "ethereum",
    },
    OptionDoc {
        name: "chain_id",
        kind: "integer",
        default: "1",
        doc: "What the column chain_id says where files have none.",
        example: "1",
    },
    OptionDoc {
        name: "blocks_per_tick",
        kind: "integer (blocks)",
        default: "1000",
        doc: "At most how many blocks are applied at once; fewer once they have 16,384 rows together.",
        example: "100",
    },
];

/// Few rows in each of many blocks are nothing to wait for.
const BLOCKS_PER_TICK: usize = 1_000;

/// All options, read.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) alias: BTreeMap<String, String>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) chain: Option<String>,
    pub(super) chain_id: u64,
    pub(super) blocks_per_tick: usize,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Settings, SourceError> {
        let path = options.require_path("path")?;
        let alias = take_pairs(&mut options, "alias")?;
        let rename = take_pairs(&mut options, "rename")?;
        let chain = options.take_str("chain");
        let chain_id = options.take_u64("chain_id")?.unwrap_or(1);
        let blocks_per_tick = options.take_with("blocks_per_tick", "a whole number above 0", |text| {
            text.replace('_', "").parse().ok().filter(|blocks| *blocks > 0)
        })?;
        let not_found = options.invalid("path", path.display().to_string(), "an existing folder or Parquet file");
        options.finish()?;
        if !path.exists() {
            return Err(not_found.into());
        }
        Ok(Settings {
            path,
            alias,
            rename,
            chain,
            chain_id,
            blocks_per_tick: blocks_per_tick.unwrap_or(BLOCKS_PER_TICK),
        })
    }
}

fn take_pairs(options: &mut Options, name: &'static str) -> Result<BTreeMap<String, String>, OptionError> {
    let pairs = options.take_with(name, "a list such as 'a=b, c=d'", |text| {
        text.split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (from, to) = pair.split_once('=')?;
                let (from, to) = (from.trim(), to.trim());
                (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
            })
            .collect()
    })?;
    Ok(pairs.unwrap_or_default())
}
