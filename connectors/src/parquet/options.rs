//! The options of `parquet`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::datatypes::{DataType, Field};
use highwater_engine::model::wide::{Wide, named_type, wide_kind};
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
        name: "types",
        kind: "list of column=type",
        default: "those of the files",
        doc: "Other types of columns (by their names in the job), in every table: ADDRESS, HASH or BYTES for hex text or bytes, UINT256 for decimal or hex text, numbers or bytes. A value that does not fit is an error.",
        example: "pool=ADDRESS, amount_raw=UINT256",
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
    /// Fields without a name, by the name of the column.
    pub(super) types: BTreeMap<String, Field>,
    pub(super) chain: Option<String>,
    pub(super) chain_id: u64,
    pub(super) blocks_per_tick: usize,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Settings, SourceError> {
        let path = options.require_path("path")?;
        let alias = take_pairs(&mut options, "alias")?;
        let rename = take_pairs(&mut options, "rename")?;
        let types = take_types(&mut options)?;
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
            types,
            chain,
            chain_id,
            blocks_per_tick: blocks_per_tick.unwrap_or(BLOCKS_PER_TICK),
        })
    }
}

/// A column of a type that the option `types` knows. Numbers of files are not read as signed ones of 256 bits.
fn typed(name: &str) -> Option<Field> {
    if name.eq_ignore_ascii_case("BYTES") {
        return Some(Field::new("", DataType::Binary, true));
    }
    named_type(name).filter(|field| wide_kind(field) != Some(Wide::Signed))
}

fn take_types(options: &mut Options) -> Result<BTreeMap<String, Field>, OptionError> {
    let expected = "a list such as 'pool=ADDRESS, amount_raw=UINT256' of the types ADDRESS, HASH, BYTES and UINT256";
    let types = options.take_with("types", expected, |text| {
        pairs(text)?.into_iter().map(|(column, name)| Some((column, typed(&name)?))).collect()
    })?;
    Ok(types.unwrap_or_default())
}

fn take_pairs(options: &mut Options, name: &'static str) -> Result<BTreeMap<String, String>, OptionError> {
    Ok(options.take_with(name, "a list such as 'a=b, c=d'", pairs)?.unwrap_or_default())
}

/// What `a=b, c=d` lists; `None` if it is no such list.
fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let listed = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (from, to) = pair.split_once('=')?;
        let (from, to) = (from.trim(), to.trim());
        (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
    };
    listed.map(pair).collect()
}
