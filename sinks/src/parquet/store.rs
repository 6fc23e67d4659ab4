//! The folder of a sink: writing parts, committing the manifest, clearing away what does not count.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::sink::{SinkError, SinkRequest};

use super::manifest::{MANIFEST, Manifest, Part};
use super::writer::{PartWriter, temporary};
use crate::common::{sync_folder, unsupported, write_error};

/// The folder of one sink.
pub(super) struct Store {
    root: PathBuf,
    view: String,
    /// Start of all file names.
    stem: String,
    writer: PartWriter,
    /// Whether it is decided what becomes of the files of a former run.
    settled: bool,
}

impl Store {
    /// Makes the folder, and checks that it does not belong to another view.
    pub(super) fn open(root: PathBuf, request: &SinkRequest, writer: PartWriter) -> Result<Store, SinkError> {
        fs::create_dir_all(&root).map_err(|error| write_error("creating", &root, error))?;
        let path = root.join(MANIFEST);
        if let Ok(text) = fs::read(&path)
            && let Ok(manifest) = serde_json::from_slice::<Manifest>(&text)
            && manifest.view != request.view
        {
            let detail = format!("{} holds view \"{}\"; give each sink its own path", root.display(), manifest.view);
            return Err(unsupported(request, detail));
        }
        let stem = request.view.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        Ok(Store { root, view: request.view.clone(), stem, writer, settled: false })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn view(&self) -> &str {
        &self.view
    }

    pub(super) fn stem(&self) -> &str {
        &self.stem
    }

    /// Before the first write of a run that continues nothing: what a former run left goes away.
    pub(super) fn settle(&mut self) -> Result<(), SinkError> {
        if self.settled {
            return Ok(());
        }
        let manifest = self.root.join(MANIFEST);
        match fs::remove_file(&manifest) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(write_error("removing", &manifest, error)),
        }
        self.keep_only(&[])?;
        self.settled = true;
        Ok(())
    }

    /// This run continues from a checkpoint with these files.
    pub(super) fn resume(&mut self, parts: &[Part]) -> Result<(), SinkError> {
        for part in parts {
            let path = self.root.join(&part.file);
            let length = fs::metadata(&path).map_err(|error| write_error("going back to", &path, error))?.len();
            if length != part.bytes {
                let detail = format!("it has {length} bytes, the checkpoint knows {}", part.bytes);
                return Err(write_error("going back to", &path, detail));
            }
        }
        self.settled = true;
        Ok(())
    }

    /// Writes one file into `folder` (empty for the root).
    pub(super) fn write(
        &mut self,
        folder: &str,
        name: &str,
        batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
        facts: &[(&str, String)],
    ) -> Result<Part, SinkError> {
        self.settle()?;
        let file = if folder.is_empty() { format!("{name}.parquet") } else { format!("{folder}/{name}.parquet") };
        let (bytes, rows) = self.writer.write(&self.root.join(&file), batches, facts)?;
        let rows = u64::try_from(rows).expect("a usize fits 64 bits");
        Ok(Part { file, rows, bytes, is_final: None, first_tick: None, last_tick: None })
    }

    /// From here on these files count.
    pub(super) fn commit(&mut self, manifest: &Manifest) -> Result<(), SinkError> {
        self.settle()?;
        let path = self.root.join(MANIFEST);
        let unfinished = temporary(&path);
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| write_error("writing", &path, error))?;
        text.push(b'\n');
        fs::File::create(&unfinished)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .map_err(|error| write_error("writing", &unfinished, error))?;
        fs::rename(&unfinished, &path).map_err(|error| write_error("renaming", &unfinished, error))?;
        sync_folder(&self.root)
    }

    /// Removes files that no longer count.
    pub(super) fn remove(&self, parts: &[Part]) -> Result<(), SinkError> {
        parts.iter().try_for_each(|part| remove(&self.root.join(&part.file)))
    }

    /// Removes all files of this sink but these. Files of others are left alone.
    pub(super) fn keep_only(&self, parts: &[Part]) -> Result<(), SinkError> {
        let keep: BTreeSet<PathBuf> = parts.iter().map(|part| self.root.join(&part.file)).collect();
        for path in entries(&self.root)? {
            if self.is_ours(&path) {
                remove_unless(&path, &keep)?;
            } else if is_partition(&path) {
                for inner in entries(&path)?.into_iter().filter(|inner| self.is_ours(inner)) {
                    remove_unless(&inner, &keep)?;
                }
                // Fails while others have files there, which is wanted.
                let _ = fs::remove_dir(&path);
            }
        }
        Ok(())
    }

    fn is_ours(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let ours = name.strip_prefix(&self.stem).is_some_and(|rest| rest.starts_with("__"));
        ours && (name.ends_with(".parquet") || name.ends_with(".parquet.tmp"))
    }
}

fn is_partition(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains('=')) && path.is_dir()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SinkError> {
    let failed = |error| write_error("reading", folder, error);
    let mut paths = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn remove_unless(path: &Path, keep: &BTreeSet<PathBuf>) -> Result<(), SinkError> {
    if keep.contains(path) { Ok(()) } else { remove(path) }
}

fn remove(path: &Path) -> Result<(), SinkError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(write_error("removing", path, error)),
    }
}
