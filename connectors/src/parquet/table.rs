//! A table made of files: its columns, and which files to read for a range of blocks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use highwater_engine::error::BoxError;
use highwater_engine::model::evm;
use highwater_engine::source::SourceError;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Encoding;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;

use super::layout::{self, TableFiles};
use super::mapping::{Mapped, is_text, map_columns};
use super::options::Settings;

/// The columns that every chain table begins with.
const COMMON: [&str; 5] = ["chain", "chain_id", "block_number", "block_hash", "block_timestamp"];

/// Text comes again and again where a row takes fewer bytes of a file than this, its part of the dictionary included.
const REPEATED_BYTES: i64 = 8;

/// Where the values of an offered column come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// From the files.
    File,
    /// The option `chain`.
    Chain,
    /// The option `chain_id`.
    ChainId,
    /// The hash of the row's block, from the table of blocks.
    BlockHash,
    /// The time of the row's block, from the table of blocks.
    BlockTime,
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// What it offers.
    pub(super) schema: SchemaRef,
    /// One a column of the schema.
    pub(super) origins: Vec<Origin>,
    /// In order of their blocks.
    pub(super) files: Vec<PathBuf>,
    is_evm: bool,
    settings: Settings,
}

/// An opened file of a table.
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) columns: Vec<Mapped>,
}

fn read_error(action: &'static str, path: &Path, source: impl Into<BoxError>) -> SourceError {
    SourceError::Read { action, place: path.display().to_string(), source: source.into() }
}

/// The same file with other types for text that is better read as it is stored: as a dictionary, where values come
/// again and again, or else as views into its pages, where it becomes bytes and is not kept.
fn with_text_as_stored(
    metadata: ArrowReaderMetadata,
    columns: &[Mapped],
) -> parquet::errors::Result<ArrowReaderMetadata> {
    let read_as = |index: usize, field: &FieldRef| {
        let column = columns.iter().find(|column| column.source == index && is_text(field.data_type()));
        let Some(column) = column else { return field.clone() };
        let read_as = if is_repeated(metadata.metadata(), field.name()) {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        } else if column.convert.is_to_bytes() {
            DataType::Utf8View
        } else {
            return field.clone();
        };
        Arc::new(field.as_ref().clone().with_data_type(read_as))
    };
    let schema = metadata.schema();
    let fields: Fields = schema.fields().iter().enumerate().map(|(index, field)| read_as(index, field)).collect();
    if fields == *schema.fields() {
        return Ok(metadata);
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
}

/// Whether a column has few values, each of them often, in dictionaries. All its pages must say that they are of one:
/// for others it would have to be made.
fn is_repeated(metadata: &ParquetMetaData, name: &str) -> bool {
    let Some(leaf) = leaf_of(metadata.file_metadata().schema_descr(), name) else { return false };
    metadata.row_groups().iter().all(|group| {
        let column = group.column(leaf);
        let is_dictionary = column.page_encoding_stats_mask().is_some_and(|encodings| {
            encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY)
        });
        is_dictionary && column.uncompressed_size() < REPEATED_BYTES * column.num_values()
    })
}

/// The leaf of the Parquet schema that is a column at the top.
fn leaf_of(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema.columns().iter().position(|leaf| matches!(leaf.path().parts(), [only] if only == name))
}

/// Opens every table of a folder.
pub(super) fn open_all(settings: &Settings) -> Result<Vec<Arc<Table>>, SourceError> {
    let found = layout::find(&settings.path, &settings.alias)?;
    if found.is_empty() {
        let place = settings.path.display().to_string();
        return Err(SourceError::Malformed { place, detail: "there is no Parquet file".to_owned() });
    }
    let mut tables = Vec::with_capacity(found.len());
    for files in found {
        tables.push(Table::open(files, settings)?);
    }
    let has = |name: &String| tables.iter().any(|table| table.schema.column_with_name(name).is_some());
    if let Some(name) = settings.types.keys().find(|name| !has(name)) {
        let place = settings.path.display().to_string();
        let detail = format!("option types names a column {name}, which no table has");
        return Err(SourceError::Malformed { place, detail });
    }
    let blocks = tables.iter().find(|table| table.name == "blocks");
    let knows = |name| blocks.is_some_and(|blocks: &Table| blocks.schema.column_with_name(name).is_some());
    let (hashes, times) = (knows("block_hash"), knows("block_timestamp"));
    for table in &mut tables {
        table.complete(hashes, times);
    }
    Ok(tables.into_iter().map(Arc::new).collect())
}

impl Table {
    fn open(found: TableFiles, settings: &Settings) -> Result<Table, SourceError> {
        let mut table = Table {
            name: found.name,
            schema: Arc::new(Schema::empty()),
            origins: Vec::new(),
            files: found.files,
            is_evm: found.is_evm,
            settings: settings.clone(),
        };
        let first = table.files.first().map(|path| table.open_file(path)).transpose()?;
        let fields: Vec<_> = first.into_iter().flat_map(|file| file.columns).map(|column| column.field).collect();
        table.origins = vec![Origin::File; fields.len()];
        table.schema = Arc::new(Schema::new(fields));
        table.sort_files()?;
        Ok(table)
    }

    /// Opens one of its files.
    pub(super) fn open_file(&self, path: &Path) -> Result<TableFile, SourceError> {
        let file = File::open(path).map_err(|error| read_error("opening", path, error))?;
        let malformed = |detail: String| SourceError::Malformed { place: path.display().to_string(), detail };
        let unreadable = |error| malformed(format!("this is not a readable Parquet file: {error}"));
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(unreadable)?;
        let evm_table = self.is_evm.then_some(self.name.as_str());
        let columns = map_columns(metadata.schema(), evm_table, &self.settings).map_err(malformed)?;
        let metadata = with_text_as_stored(metadata, &columns).map_err(unreadable)?;
        Ok(TableFile { path: path.to_owned(), file, metadata, columns })
    }

    /// Puts the files into the order of their blocks, by name or by what their statistics say.
    fn sort_files(&mut self) -> Result<(), SourceError> {
        if self.files.len() < 2 {
            return Ok(());
        }
        let mut keyed = Vec::with_capacity(self.files.len());
        for path in &self.files {
            let first = match layout::range_of_file(path) {
                Some((first, _)) => Some(first),
                None => self.open_file(path)?.block_range().map(|(first, _)| first),
            };
            keyed.push((first, path.clone()));
        }
        keyed.sort();
        self.files = keyed.into_iter().map(|(_, path)| path).collect();
        Ok(())
    }

    /// Adds the common columns that the files lack, as far as they are known from elsewhere.
    fn complete(&mut self, knows_hashes: bool, knows_times: bool) {
        let Some(ours) = evm::schema(&self.name).filter(|_| self.is_evm) else { return };
        let mut columns: Vec<(Field, Origin)> = Vec::new();
        for name in COMMON {
            let origin = match name {
                _ if self.schema.column_with_name(name).is_some() => Origin::File,
                "chain" => Origin::Chain,
                "chain_id" => Origin::ChainId,
                "block_hash" if knows_hashes => Origin::BlockHash,
                "block_timestamp" if knows_times => Origin::BlockTime,
                _ => continue,
            };
            let schema = if origin == Origin::File { &self.schema } else { &ours };
            if let Ok(field) = schema.field_with_name(name) {
                columns.push((field.clone(), origin));
            }
        }
        let others = self.schema.fields().iter().filter(|field| !COMMON.contains(&field.name().as_str()));
        columns.extend(others.map(|field| (field.as_ref().clone(), Origin::File)));
        let (fields, origins): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        self.schema = Arc::new(Schema::new(fields));
        self.origins = origins;
    }

    /// How many rows it has, if that is quickly known.
    pub(super) fn row_count(&self) -> Option<u64> {
        let mut rows = 0;
        for path in &self.files {
            let file = self.open_file(path).ok()?;
            rows += u64::try_from(file.metadata.metadata().file_metadata().num_rows()).ok()?;
        }
        Some(rows)
    }
}

impl TableFile {
    /// The column offered under a name.
    pub(super) fn column(&self, name: &str) -> Option<&Mapped> {
        self.columns.iter().find(|column| column.field.name() == name)
    }

    /// The leaf of the Parquet schema that holds the block number.
    fn number_leaf(&self) -> Option<usize> {
        let name = self.metadata.schema().field(self.column("block_number")?.source).name().clone();
        leaf_of(self.metadata.parquet_schema(), &name)
    }

    /// The first and last height that a row group says it has.
    pub(super) fn group_range(&self, group: &RowGroupMetaData) -> Option<(u64, u64)> {
        let (min, max) = match group.column(self.number_leaf()?).statistics()? {
            Statistics::Int32(stats) => (i64::from(*stats.min_opt()?), i64::from(*stats.max_opt()?)),
            Statistics::Int64(stats) => (*stats.min_opt()?, *stats.max_opt()?),
            _ => return None,
        };
        Some((u64::try_from(min).ok()?, u64::try_from(max).ok()?))
    }

    /// The first and last height of the file, if its statistics say.
    fn block_range(&self) -> Option<(u64, u64)> {
        let groups = self.metadata.metadata().row_groups();
        let ranges: Option<Vec<_>> = groups.iter().map(|group| self.group_range(group)).collect();
        let ranges = ranges?;
        Some((ranges.iter().map(|range| range.0).min()?, ranges.iter().map(|range| range.1).max()?))
    }
}
