//! Tables in files: CSV and Parquet, single files, patterns, and the folders that sinks write.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::model::wide::wide_kind;
use highwater_engine::options::Options;

use super::super::tables::{TableError, read_csv, read_parquet};
use super::glob;
use crate::plan::{LoadError, LoadRequest};
use crate::session::World;

/// The manifest of a folder that our Parquet sink writes.
const MANIFEST: &str = "_manifest.json";

/// How often a folder is read that a running job changes meanwhile.
const TRIES: usize = 5;

/// Reads files, each once.
pub(super) struct Files {
    base: PathBuf,
    /// By connector, path and declared columns.
    known: BTreeMap<(String, PathBuf, String), RecordBatch>,
}

/// What reads one file.
type Read = fn(&Path, Option<&SchemaRef>) -> Result<RecordBatch, TableError>;

/// The connectors with the ending of their files.
const READERS: [(&str, &str, Read); 2] = [("csv", ".csv", read_csv), ("parquet", ".parquet", read_parquet)];

impl Files {
    /// Files whose relative paths start from here.
    pub(super) fn new(base: PathBuf) -> Files {
        Files { base, known: BTreeMap::new() }
    }
}

impl World for Files {
    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        let Some((connector, ending, read)) = READERS.iter().find(|(name, ..)| *name == request.connector) else {
            let known = READERS.iter().map(|(name, ..)| (*name).to_owned()).collect();
            return Err(LoadError::UnknownConnector { kind: "table", name: request.connector.clone(), known });
        };
        let given = request.given().into_iter().filter(|(name, _)| name != "reload").collect();
        let mut options = Options::new(format!("table \"{}\"", request.name), &self.base, given);
        let path = options.require_path("path")?;
        options.finish()?;
        let declared = request.schema.as_ref();
        let key = ((*connector).to_owned(), path.clone(), format!("{declared:?}"));
        if let Some(rows) = self.known.get(&key) {
            return Ok(rows.clone());
        }
        let rows = read_all(&path, ending, *read, declared).map_err(LoadError::Failed)?;
        self.known.insert(key, rows.clone());
        Ok(rows)
    }

    fn connector_of(&self, path: &str) -> Option<&'static str> {
        let by_ending = READERS.iter().find(|(_, ending, _)| path.ends_with(ending));
        match by_ending {
            Some((connector, ..)) => Some(connector),
            // A folder that a sink writes.
            None if path.contains('/') && self.base.join(path).is_dir() => Some("parquet"),
            None => None,
        }
    }
}

/// All rows of a file, of the files of a pattern, or of a folder.
fn read_all(path: &Path, ending: &str, read: Read, declared: Option<&SchemaRef>) -> Result<RecordBatch, BoxError> {
    if path.join(MANIFEST).is_file() {
        return read_view(path, read, declared);
    }
    let files = if glob::is_pattern(&path.to_string_lossy()) {
        glob::files(path)?
    } else if path.is_dir() {
        glob::files_below(path, ending)?
    } else {
        return Ok(read(path, declared)?);
    };
    if files.is_empty() {
        return Err(format!("there is no file {}", path.display()).into());
    }
    concat(&files, read, declared)
}

fn concat(files: &[PathBuf], read: Read, declared: Option<&SchemaRef>) -> Result<RecordBatch, BoxError> {
    let batches = files.iter().map(|file| read(file, declared)).collect::<Result<Vec<_>, _>>()?;
    let schema = batches.first().map(RecordBatch::schema).ok_or("there is no file")?;
    if let Some(at) = batches.iter().position(|batch| !same_columns(&batch.schema(), &schema)) {
        let (first, other) = (files[0].display(), files[at].display());
        return Err(format!("{other} has other columns than {first}; read them as two tables").into());
    }
    Ok(concat_batches(&schema, &batches)?)
}

fn same_columns(one: &SchemaRef, other: &SchemaRef) -> bool {
    let column = |schema: &SchemaRef| -> Vec<_> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    column(one) == column(other)
}

/// What our Parquet sink wrote: the files that its manifest lists, with the columns of the view. A job that runs
/// replaces files; then the next manifest is looked at.
fn read_view(folder: &Path, read: Read, declared: Option<&SchemaRef>) -> Result<RecordBatch, BoxError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let files = listed(folder)?;
        match concat(&files, read, declared) {
            Ok(rows) if declared.is_none() => return Ok(without_copies(&rows)?),
            Ok(rows) => return Ok(rows),
            Err(_) if tries < TRIES && files.iter().any(|file| !file.exists()) => {}
            Err(error) => return Err(error),
        }
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, BoxError> {
    let path = folder.join(MANIFEST);
    let broken = |why: String| format!("{} cannot be understood: {why}", path.display());
    let text = std::fs::read(&path).map_err(|error: io::Error| broken(error.to_string()))?;
    let manifest: serde_json::Value = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    let files = manifest["files"].as_array().ok_or_else(|| broken("it lists no files".to_owned()))?;
    let files = files.iter().map(|part| part["file"].as_str().map(|file| folder.join(file)));
    let files = files.collect::<Option<Vec<_>>>().ok_or_else(|| broken("a file has no name".to_owned()))?;
    if files.is_empty() {
        return Err(format!("{} lists no files yet: the job has not written any", path.display()).into());
    }
    Ok(files)
}

/// Without the columns that repeat a 256-bit column for readers that know no such numbers.
fn without_copies(rows: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = rows.schema();
    let is_copy = |name: &str| {
        let original = ["_d128", "_f64", "_string"].iter().find_map(|ending| name.strip_suffix(ending));
        original
            .and_then(|original| schema.field_with_name(original).ok())
            .is_some_and(|field| wide_kind(field).is_some())
    };
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|column| !is_copy(schema.field(*column).name())).collect();
    rows.project(&kept)
}
