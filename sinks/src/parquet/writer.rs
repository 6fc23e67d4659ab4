//! One Parquet file: properties, key-value metadata, and the way it comes to its name.

use std::fs;
use std::path::Path;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::sink::SinkError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::Mapping;
use crate::common::{encode_error, sync_folder, write_error};

/// Version of the file layout, as `highwater.schema_version`.
const SCHEMA_VERSION: &str = "1";

/// The largest dictionary of a column: room for the text of a hundred thousand addresses, which makes
/// files a third smaller than giving up at the usual megabyte.
const DICTIONARY_BYTES: usize = 8 << 20;

/// Rows encoded at once: fewer cost a tenth more CPU, more would let pages of long values grow too far.
const WRITE_ROWS: usize = 4_096;

/// The `compression` option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compress {
    Zstd,
    Snappy,
    None,
}

/// Writes the files of one sink.
pub(super) struct PartWriter {
    view: String,
    mapping: Mapping,
    properties: WriterProperties,
}

impl PartWriter {
    pub(super) fn new(
        view: String,
        mapping: Mapping,
        compress: Compress,
        row_group_rows: usize,
    ) -> Result<PartWriter, ParquetError> {
        let compression = match compress {
            // Level 3 takes twice the CPU for files a twentieth smaller.
            Compress::Zstd => Compression::ZSTD(ZstdLevel::try_new(1)?),
            Compress::Snappy => Compression::SNAPPY,
            Compress::None => Compression::UNCOMPRESSED,
        };
        let mut builder = WriterProperties::builder()
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_write_batch_size(WRITE_ROWS)
            .set_max_row_group_row_count(Some(row_group_rows));
        for column in mapping.amounts() {
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(column), false);
        }
        for column in mapping.integers() {
            // Smaller than a dictionary and without its hashing.
            builder = builder
                .set_column_dictionary_enabled(ColumnPath::from(column), false)
                .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
        }
        for column in mapping.no_statistics() {
            let path = ColumnPath::from(column.as_str());
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        Ok(PartWriter { view, mapping, properties: builder.build() })
    }

    /// Writes rows of the view to `path`, which appears whole or not at all; its size in bytes, and the rows.
    pub(super) fn write(
        &self,
        path: &Path,
        batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
        facts: &[(&str, String)],
    ) -> Result<(u64, usize), SinkError> {
        let folder = path.parent().expect("a file of a sink is in its folder");
        fs::create_dir_all(folder).map_err(|error| write_error("creating", folder, error))?;
        let temporary = temporary(path);
        let written = self.write_to(&temporary, batches, facts);
        let written = written.inspect_err(|_| {
            // What is left of a failed write only takes space that may be short.
            let _ = fs::remove_file(&temporary);
        })?;
        fs::rename(&temporary, path).map_err(|error| write_error("renaming", &temporary, error))?;
        sync_folder(folder)?;
        Ok(written)
    }

    fn write_to(
        &self,
        path: &Path,
        batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
        facts: &[(&str, String)],
    ) -> Result<(u64, usize), SinkError> {
        let failed = |error: ParquetError| write_error("writing", path, error);
        let file = fs::File::create(path).map_err(|error| write_error("creating", path, error))?;
        let schema = self.mapping.schema().clone();
        let mut writer = ArrowWriter::try_new(file, schema, Some(self.properties.clone())).map_err(failed)?;
        let mut rows = 0;
        for batch in batches {
            let batch = batch.and_then(|batch| self.mapping.apply(&batch));
            let batch = batch.map_err(|error| encode_error(&self.view, error))?;
            rows += batch.num_rows();
            writer.write(&batch).map_err(failed)?;
        }
        let common = [
            ("highwater.view", self.view.clone()),
            ("highwater.schema_version", SCHEMA_VERSION.to_owned()),
            ("highwater.rows", rows.to_string()),
        ];
        for (key, value) in common.into_iter().chain(facts.iter().cloned()) {
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        writer.finish().map_err(failed)?;
        let file = writer.inner();
        file.sync_all().map_err(|error| write_error("syncing", path, error))?;
        Ok((file.metadata().map_err(|error| write_error("reading", path, error))?.len(), rows))
    }
}

/// The name of a file that is not whole yet.
pub(super) fn temporary(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
