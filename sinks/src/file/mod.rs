//! `file`: JSON lines on disk, one a changed row, durable up to each checkpoint.
//!
//! Format: that of `stdout` in a pipe. A tick is written in one piece; a checkpoint syncs the file and
//! remembers its length, and going back to it cuts the file there, so that a restart repeats nothing.
//! State: none but the length.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{
    Notifications, Sink, SinkConnector, SinkError, SinkReport, SinkRequest, SinkState, SinkTick,
};

use crate::common::{counted, encode_error, resolve, write_error};
use crate::lines::{LineFormat, count};

/// The `file` connector.
#[derive(Clone, Copy, Debug)]
pub struct File;

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        kind: "path",
        default: "required",
        doc: "The file; relative paths start from the job's folder, or from --out.",
        example: "out/failing.jsonl",
    },
    OptionDoc {
        name: "append",
        kind: "boolean",
        default: "false",
        doc: "Whether a new run writes behind what the file holds instead of replacing it.",
        example: "true",
    },
];

struct Settings {
    path: PathBuf,
    append: bool,
}

fn settings(request: &SinkRequest, mut options: Options) -> Result<Settings, SinkError> {
    let path = options.require_str("path")?;
    let path = resolve(request, &options, &path);
    let append = options.take_bool("append")?.unwrap_or(false);
    options.finish()?;
    Ok(Settings { path, append })
}

impl SinkConnector for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn about(&self) -> &'static str {
        "Changes as JSON lines in a file."
    }

    fn options(&self) -> &'static [OptionDoc] {
        OPTIONS
    }

    fn notifications(&self) -> Notifications {
        Notifications::OfAlerts
    }

    fn check(&self, request: &SinkRequest, options: Options) -> Result<(), SinkError> {
        settings(request, options).map(|_| ())
    }

    fn open(&self, request: SinkRequest, options: Options) -> Result<Box<dyn Sink>, SinkError> {
        let Settings { path, append } = settings(&request, options)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| write_error("creating", folder, error))?;
        }
        let file = fs::File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| write_error("opening", &path, error))?;
        let format = LineFormat::new(&request).map_err(|error| encode_error(&request.view, error))?;
        let view = request.view;
        Ok(Box::new(FileSink { file, path, append, view, format, bytes: None, text: String::new(), counts: (0, 0) }))
    }
}

struct FileSink {
    file: fs::File,
    path: PathBuf,
    append: bool,
    view: String,
    format: LineFormat,
    /// Length of the file after the last committed tick; unknown before the first.
    bytes: Option<u64>,
    text: String,
    counts: (u64, u64),
}

impl FileSink {
    /// The length to write at. A new run decides only now what becomes of an old file: `restore` may
    /// come after `open` and needs it whole.
    fn start(&mut self) -> Result<u64, SinkError> {
        if let Some(bytes) = self.bytes {
            return Ok(bytes);
        }
        let bytes = if self.append {
            self.file.metadata().map_err(|error| write_error("reading", &self.path, error))?.len()
        } else {
            0
        };
        cut(&self.file, &self.path, bytes)?;
        self.bytes = Some(bytes);
        Ok(bytes)
    }
}

/// Cuts the file and writes on from there. What has no length (a device, a pipe) is left as it is.
fn cut(mut file: &fs::File, path: &Path, bytes: u64) -> Result<(), SinkError> {
    use std::io::Seek as _;
    let metadata = file.metadata().map_err(|error| write_error("reading", path, error))?;
    if !metadata.is_file() {
        return Ok(());
    }
    if metadata.len() < bytes {
        let detail = format!("it has {} bytes, the checkpoint was taken at {bytes}", metadata.len());
        return Err(write_error("going back in", path, detail));
    }
    file.set_len(bytes).map_err(|error| write_error("truncating", path, error))?;
    file.seek(std::io::SeekFrom::Start(bytes)).map_err(|error| write_error("truncating", path, error))?;
    Ok(())
}

impl Sink for FileSink {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        let start = self.start()?;
        self.text.clear();
        self.format.write(&mut self.text, &tick).map_err(|error| encode_error(&self.view, error))?;
        if self.text.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(self.text.as_bytes()) {
            // Half a tick must not stay behind the whole ones; if even this fails, the next start cuts it off.
            let _ = cut(&self.file, &self.path, start);
            return Err(write_error("writing", &self.path, error));
        }
        self.bytes = Some(start + u64::try_from(self.text.len()).expect("a tick has less than 2^64 bytes"));
        for delta in tick.changes {
            let (inserted, retracted) = count(delta);
            self.counts.0 += inserted;
            self.counts.1 += retracted;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let bytes = self.start()?;
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            self.file.sync_all().map_err(|error| write_error("syncing", &self.path, error))?;
        }
        let facts = serde_json::json!({ "bytes": bytes, "inserted": self.counts.0, "retracted": self.counts.1 });
        Ok(SinkState { facts, rows: Vec::new() })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let fact = |name: &str| state.facts.get(name).and_then(serde_json::Value::as_u64);
        let Some(bytes) = fact("bytes") else {
            return Err(write_error("going back in", &self.path, "the saved state has no length"));
        };
        cut(&self.file, &self.path, bytes)?;
        self.bytes = Some(bytes);
        self.counts = (fact("inserted").unwrap_or(0), fact("retracted").unwrap_or(0));
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        self.checkpoint()?;
        let (inserted, retracted) = self.counts;
        let place = format!("{} in {}", counted(inserted + retracted, "line"), self.path.display());
        Ok(SinkReport { inserted, retracted, place })
    }
}
