//! Reference tables that are read again when their file changes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::clock::Stopwatch;
use highwater_engine::error::BoxError;
use highwater_engine::feed::Feed;

use super::tables::{TableError, read_csv, read_parquet};
use crate::plan::ReloadedTable;

/// The file of a reference table.
#[derive(Clone, Debug)]
pub(super) struct TableFile {
    format: Format,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Csv,
    Parquet,
}

/// What tells that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl TableFile {
    /// The words of `connector`.
    pub(super) const CONNECTORS: [&str; 2] = ["csv", "parquet"];

    /// The file of a connector, if it is one.
    pub(super) fn new(connector: &str, path: PathBuf) -> Option<TableFile> {
        let format = match connector {
            "csv" => Format::Csv,
            "parquet" => Format::Parquet,
            _ => return None,
        };
        Some(TableFile { format, path })
    }

    /// All rows.
    pub(super) fn read(&self, declared: Option<&SchemaRef>) -> Result<RecordBatch, TableError> {
        match self.format {
            Format::Csv => read_csv(&self.path, declared),
            Format::Parquet => read_parquet(&self.path, declared),
        }
    }

    /// What its state is now, without reading it.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        let facts = std::fs::metadata(&self.path)?;
        Ok(Stamp { modified: facts.modified().ok(), bytes: facts.len() })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// A table that is read again when its file has changed: looked at after each `every`, read whole.
pub(super) struct FileFeed {
    name: String,
    file: TableFile,
    schema: SchemaRef,
    every: Duration,
    /// What the table had when the job was planned, until it is given.
    first: Option<RecordBatch>,
    looked: Stopwatch,
    /// What the last look saw: content that is known, or a failure that was told.
    seen: Result<Stamp, io::ErrorKind>,
}

impl FileFeed {
    /// The feed of a table that was read from a file in this state.
    pub(super) fn new(table: &ReloadedTable, file: TableFile, read_at: Stamp) -> FileFeed {
        FileFeed {
            name: table.name.clone(),
            file,
            schema: table.rows.schema(),
            every: table.every,
            first: Some(table.rows.clone()),
            looked: Stopwatch::start(),
            seen: Ok(read_at),
        }
    }

    /// Reads a file whose state is new. While somebody writes to it, its state differs before and after: then the
    /// next look decides.
    fn read(&mut self, stamp: Stamp) -> Result<Option<RecordBatch>, BoxError> {
        let rows = self.file.read(Some(&self.schema));
        if self.file.stamp().ok() != Some(stamp) {
            return Ok(None);
        }
        self.seen = Ok(stamp);
        Ok(Some(rows?))
    }
}

impl Feed for FileFeed {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn poll(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.looked.elapsed() < self.every {
            return Ok(None);
        }
        self.looked = Stopwatch::start();
        match self.file.stamp() {
            Ok(stamp) if self.seen == Ok(stamp) => Ok(None),
            Ok(stamp) => self.read(stamp),
            Err(error) if self.seen == Err(error.kind()) => Ok(None),
            Err(error) => {
                self.seen = Err(error.kind());
                Err(format!("reading {} failed: {error}", self.file.path().display()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn feed(path: &Path, every: Duration) -> FileFeed {
        let file = TableFile::new("csv", path.to_owned()).unwrap();
        let declared = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let stamp = file.stamp().unwrap();
        let rows = file.read(Some(&declared)).unwrap();
        FileFeed::new(&ReloadedTable { name: "t".to_owned(), rows, every }, file, stamp)
    }

    fn rows(feed: &mut FileFeed) -> Option<usize> {
        feed.poll().unwrap().map(|rows| rows.num_rows())
    }

    #[test]
    fn a_file_is_read_when_it_changes_and_a_failure_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "n\n1\n").unwrap();
        let mut feed = feed(&path, Duration::ZERO);
        assert_eq!([rows(&mut feed), rows(&mut feed)], [Some(1), None]);
        std::fs::write(&path, "n\n1\n22\n").unwrap();
        assert_eq!([rows(&mut feed), rows(&mut feed)], [Some(2), None]);
        std::fs::write(&path, "n\n1\n22\n3x").unwrap();
        let error = feed.poll().unwrap_err().to_string();
        assert!(error.ends_with("t.csv:4: \"3x\" is not a BIGINT (column \"n\")"), "{error}");
        assert_eq!(rows(&mut feed), None);
        std::fs::remove_file(&path).unwrap();
        let error = feed.poll().unwrap_err().to_string();
        assert!(error.contains("t.csv failed: "), "{error}");
        assert_eq!(rows(&mut feed), None);
        std::fs::write(&path, "n\n1\n22\n333\n").unwrap();
        assert_eq!([rows(&mut feed), rows(&mut feed)], [Some(3), None]);
    }

    #[test]
    fn a_file_is_not_looked_at_before_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "n\n1\n").unwrap();
        let mut feed = feed(&path, Duration::from_secs(3600));
        assert_eq!(rows(&mut feed), Some(1));
        std::fs::write(&path, "n\n1\n22\n").unwrap();
        assert_eq!(rows(&mut feed), None);
    }
}
