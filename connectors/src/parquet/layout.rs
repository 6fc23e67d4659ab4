//! Which files hold which table.
//!
//! * `<table>.parquet` and `<table>/**/*.parquet`: our own files, and anything else.
//! * `{network}__{datatype}__{start}_to_{end}.parquet`: as cryo names its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use highwater_engine::model::evm;
use highwater_engine::source::SourceError;

/// The files of one table, in no particular order yet.
#[derive(Clone, Debug)]
pub(super) struct TableFiles {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
    /// Whether the columns mean what the EVM table of this name means, so that their types are brought
    /// to those of that table. A table that only became one by an alias keeps its own types.
    pub(super) is_evm: bool,
}

/// Finds every table below `path`, which may also be a single file.
pub(super) fn find(path: &Path, aliases: &BTreeMap<String, String>) -> Result<Vec<TableFiles>, SourceError> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    if path.is_file() {
        found.entry(table_of_file(path)).or_default().push(path.to_owned());
    } else {
        for entry in entries(path)? {
            if entry.is_dir() {
                let mut files = Vec::new();
                collect(&entry, &mut files)?;
                if !files.is_empty() {
                    found.entry(file_name(&entry)).or_default().extend(files);
                }
            } else if is_data_file(&entry) {
                found.entry(table_of_file(&entry)).or_default().push(entry);
            }
        }
    }
    let tables = found.into_iter().map(|(stem, files)| table(stem, files, aliases));
    Ok(tables.collect())
}

fn table(stem: String, files: Vec<PathBuf>, aliases: &BTreeMap<String, String>) -> TableFiles {
    if let Some(alias) = aliases.get(&stem) {
        return TableFiles { name: alias.clone(), files, is_evm: false };
    }
    let name = match stem.as_str() {
        "erc20_transfers" => "token_transfers".to_owned(),
        _ => stem,
    };
    TableFiles { is_evm: evm::schema(&name).is_some(), name, files }
}

/// Everything in a folder, sorted, hidden things and our own bookkeeping left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |source: std::io::Error| SourceError::Read {
        action: "listing",
        place: folder.display().to_string(),
        source: source.into(),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !file_name(&path).starts_with(['.', '_']) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    for entry in entries(folder)? {
        if entry.is_dir() {
            collect(&entry, files)?;
        } else if is_data_file(&entry) {
            files.push(entry);
        }
    }
    Ok(())
}

fn is_data_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn table_of_file(path: &Path) -> String {
    let name = file_name(path);
    let stem = name.strip_suffix(".parquet").unwrap_or(&name);
    let parts: Vec<_> = stem.split("__").collect();
    match parts.as_slice() {
        [_network, datatype, .., range] if block_range(range).is_some() => (*datatype).to_owned(),
        _ => stem.to_owned(),
    }
}

/// The heights in a name such as `17686110_to_17686121`.
fn block_range(text: &str) -> Option<(u64, u64)> {
    let (start, end) = text.split_once("_to_")?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

/// The heights that the name of a file promises.
pub(super) fn range_of_file(path: &Path) -> Option<(u64, u64)> {
    let name = file_name(path);
    block_range(name.strip_suffix(".parquet")?.rsplit("__").next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (file, table) in [
            ("txs.parquet", "txs"),
            ("ethereum__logs__17686110_to_17686121.parquet", "logs"),
            ("ethereum__logs__weth__00000001_to_00000002.parquet", "logs"),
            ("a__b.parquet", "a__b"),
        ] {
            assert_eq!(table_of_file(Path::new(file)), table);
        }
        assert_eq!(range_of_file(Path::new("ethereum__logs__017_to_018.parquet")), Some((17, 18)));
        assert_eq!(range_of_file(Path::new("logs.parquet")), None);
    }
}
