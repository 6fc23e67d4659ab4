//! One Parquet file: properties, key-value metadata, and the way it comes to its name.

use std::fs;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use highwater_engine::sink::SinkError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::Mapping;
use crate::common::{encode_error, sync_folder, write_error};

/// Version of the file layout, as `highwater.schema_version`.
const SCHEMA_VERSION: &str = "1";

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
            Compress::Zstd => Compression::ZSTD(ZstdLevel::try_new(3)?),
            Compress::Snappy => Compression::SNAPPY,
            Compress::None => Compression::UNCOMPRESSED,
        };
        let mut builder = WriterProperties::builder()
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(row_group_rows));
        for column in mapping.no_statistics() {
            let path = ColumnPath::from(column.as_str());
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        Ok(PartWriter { view, mapping, properties: builder.build() })
    }

    /// Writes rows of the view to `path`, which appears whole or not at all; its size in bytes.
    pub(super) fn write(
        &self,
        path: &Path,
        batches: &[RecordBatch],
        facts: &[(&str, String)],
    ) -> Result<u64, SinkError> {
        let folder = path.parent().expect("a file of a sink is in its folder");
        fs::create_dir_all(folder).map_err(|error| write_error("creating", folder, error))?;
        let temporary = temporary(path);
        let written = self.write_to(&temporary, batches, facts);
        let bytes = written.inspect_err(|_| {
            // What is left of a failed write only takes space that may be short.
            let _ = fs::remove_file(&temporary);
        })?;
        fs::rename(&temporary, path).map_err(|error| write_error("renaming", &temporary, error))?;
        sync_folder(folder)?;
        Ok(bytes)
    }

    fn write_to(&self, path: &Path, batches: &[RecordBatch], facts: &[(&str, String)]) -> Result<u64, SinkError> {
        let failed = |error: ParquetError| write_error("writing", path, error);
        let file = fs::File::create(path).map_err(|error| write_error("creating", path, error))?;
        let schema = self.mapping.schema().clone();
        let mut writer = ArrowWriter::try_new(file, schema, Some(self.properties.clone())).map_err(failed)?;
        let mut rows = 0;
        for batch in batches {
            rows += batch.num_rows();
            let batch = self.mapping.apply(batch).map_err(|error| encode_error(&self.view, error))?;
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
        Ok(file.metadata().map_err(|error| write_error("reading", path, error))?.len())
    }
}

/// The name of a file that is not whole yet.
pub(super) fn temporary(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
