//! What all sinks share: where relative paths start, and how failures are named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use highwater_engine::error::BoxError;
use highwater_engine::model::format::grouped;
use highwater_engine::options::Options;
use highwater_engine::sink::{SinkError, SinkRequest};

/// A path of a job: relative to `--out` if given, else to the job's folder.
pub(crate) fn resolve(request: &SinkRequest, options: &Options, path: &str) -> PathBuf {
    match &request.out {
        Some(out) => out.join(path),
        None => options.base().join(path),
    }
}

/// A failed action on a file or folder.
pub(crate) fn write_error(action: &'static str, path: &Path, source: impl Into<BoxError>) -> SinkError {
    SinkError::Write { action, place: path.display().to_string(), source: source.into() }
}

/// Rows that could not be brought into the form of the sink.
pub(crate) fn encode_error(view: &str, source: ArrowError) -> SinkError {
    SinkError::Write { action: "encoding rows of", place: format!("view \"{view}\""), source: source.into() }
}

/// A view this sink cannot show.
pub(crate) fn unsupported(request: &SinkRequest, detail: impl Into<String>) -> SinkError {
    SinkError::Unsupported { sink: request.name.clone(), view: request.view.clone(), detail: detail.into() }
}

/// Makes a rename or a new file in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    let synced = fs::File::open(folder).and_then(|file| file.sync_all());
    match synced {
        Ok(()) => Ok(()),
        // Some file systems have no fsync for folders; the rename itself is still atomic.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(error) => Err(write_error("syncing", folder, error)),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_for_people() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "file"), "0 files");
    }
}
