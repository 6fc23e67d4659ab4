//! A file of JSON lines that grows by whole runs, and goes on where the last writer stopped.
//!
//! Compressed, every run is a gzip member of its own, so that whoever reads sees whole runs only and a writer
//! that dies leaves at most one broken member, at the end. Opening the file cuts such an end off, or half a
//! line of a plain file; what is cut off is kept beside it under the name `<file>.torn`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use highwater_engine::error::BoxError;
use highwater_engine::source::SourceError;
use serde::de::IgnoredAny;

use super::lines::Lines;

/// Appends runs of lines to one file. Nobody else can do so meanwhile.
pub(crate) struct Appender {
    path: PathBuf,
    file: File,
    /// The file as it was found ends with a whole line that no line break ends.
    lacks_line_break: bool,
}

/// How much of a file is whole.
#[derive(Default)]
struct Whole {
    bytes: u64,
    lines: u64,
    lacks_line_break: bool,
}

impl Appender {
    /// Opens or makes a file, cuts off what is not whole, and all from line `most_lines` on.
    ///
    /// # Errors
    /// The file cannot be read or written, another process writes it, it is damaged before its end, or it cannot
    /// be cut at that line.
    pub(crate) fn open(path: &Path, most_lines: Option<u64>) -> Result<Appender, SourceError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed("making the folder of", path, error))?;
        }
        let options = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = options.map_err(|error| failed("opening", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed("opening", path, "another process is recording into this file"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("locking", path, error)),
        }
        let most_lines = most_lines.unwrap_or(u64::MAX);
        let whole = if is_compressed(path) { whole_members(path, most_lines) } else { whole_lines(path, most_lines) };
        let whole = whole.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData => SourceError::Malformed {
                place: path.display().to_string(),
                detail: format!("the gzip data is damaged: {error}"),
            },
            _ => failed("reading", path, error),
        })?;
        if most_lines != u64::MAX && whole.lines != most_lines {
            let detail = format!("the file can be cut after line {}, not after line {most_lines}", whole.lines);
            return Err(SourceError::Malformed { place: path.display().to_string(), detail });
        }
        cut(&mut file, path, whole.bytes).map_err(|error| failed("cutting the end off", path, error))?;
        Ok(Appender { path: path.to_owned(), file, lacks_line_break: whole.lacks_line_break })
    }

    /// The lines that are there.
    pub(crate) fn lines(&self) -> Result<Lines, SourceError> {
        Lines::open(&self.path)
    }

    /// Appends whole lines, and hands them to the operating system before it returns.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), SourceError> {
        let line_break: &[u8] = if std::mem::take(&mut self.lacks_line_break) { b"\n" } else { b"" };
        let written = if is_compressed(&self.path) {
            // One call writes the whole member, so that it is short work to be interrupted in.
            let mut packed = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
            packed.write_all(line_break).and_then(|()| packed.write_all(lines)).and_then(|()| packed.finish())
        } else {
            Ok([line_break, lines].concat())
        };
        let written = written.and_then(|bytes| self.file.write_all(&bytes));
        written.map_err(|error| failed("writing", &self.path, error))
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn failed(action: &'static str, path: &Path, source: impl Into<BoxError>) -> SourceError {
    SourceError::Read { action, place: path.display().to_string(), source: source.into() }
}

fn whole_lines(path: &Path, most_lines: u64) -> std::io::Result<Whole> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut whole = Whole::default();
    let mut line = Vec::new();
    while whole.lines < most_lines {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        let ends = line.last() == Some(&b'\n');
        if length == 0 || !(ends || is_json(&line)) {
            break;
        }
        whole.bytes += u64::try_from(length).expect("a length fits");
        whole.lines += 1;
        whole.lacks_line_break = !ends;
    }
    Ok(whole)
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

fn whole_members(path: &Path, most_lines: u64) -> std::io::Result<Whole> {
    let mut reader = BufReader::with_capacity(256 * 1024, Counted { file: File::open(path)?, bytes: 0 });
    let mut whole = Whole::default();
    let mut line = Vec::new();
    while whole.lines < most_lines && !reader.fill_buf()?.is_empty() {
        let mut lines = 0;
        let mut member = BufReader::new(GzDecoder::new(&mut reader));
        loop {
            let begun = line.len();
            match member.read_until(b'\n', &mut line) {
                Ok(0) if begun == line.len() => break,
                Ok(_) if line.last() == Some(&b'\n') => {
                    lines += 1;
                    line.clear();
                }
                Ok(_) => {}
                // The writer died here.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(whole),
                Err(error) => return Err(error),
            }
        }
        drop(member);
        let unread = u64::try_from(reader.buffer().len()).expect("a length fits");
        if whole.lines + lines > most_lines {
            break;
        }
        whole.lines += lines;
        whole.bytes = reader.get_ref().bytes - unread;
        whole.lacks_line_break = !line.is_empty();
    }
    if whole.lacks_line_break && !is_json(&line) {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "its last line is not whole"));
    }
    whole.lines += u64::from(whole.lacks_line_break);
    Ok(whole)
}

/// Counts what was read.
struct Counted {
    file: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.bytes += u64::try_from(length).expect("a length fits");
        Ok(length)
    }
}

/// Leaves the first `whole` bytes of a file and keeps the others beside it.
fn cut(file: &mut File, path: &Path, whole: u64) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    if length == whole {
        return Ok(());
    }
    file.seek(SeekFrom::Start(whole))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".torn");
    std::io::copy(file, &mut File::create(&beside)?)?;
    file.set_len(whole)?;
    tracing::warn!(
        path = %path.display(),
        bytes = length - whole,
        "the last run of the recording was not written to its end; it is cut off and will be recorded again"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        let mut lines = Lines::open(path).unwrap();
        let mut text = String::new();
        while lines.advance().unwrap() {
            text.push_str(lines.text().unwrap());
            text.push('\n');
        }
        text
    }

    /// Whatever the byte at which the writer dies, what came before its last run stays, and the file goes on.
    #[test]
    fn a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["blocks.ndjson", "blocks.ndjson.gz"] {
            let path = folder.path().join(name);
            let mut appender = Appender::open(&path, None).unwrap();
            appender.append(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
            let kept = fs::metadata(&path).unwrap().len();
            appender.append(b"{\"a\":3}\n").unwrap();
            drop(appender);
            let whole = fs::read(&path).unwrap();
            let length = u64::try_from(whole.len()).unwrap();
            for torn in kept..length {
                fs::write(&path, &whole[..usize::try_from(torn).unwrap()]).unwrap();
                let mut appender = Appender::open(&path, None).unwrap();
                let lacks = appender.lacks_line_break;
                appender.append(b"{\"a\":4}\n").unwrap();
                let expected = if lacks {
                    "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n"
                } else {
                    "{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n"
                };
                assert_eq!(text(&path), expected, "{name} torn at byte {torn}");
            }
        }
    }

    #[test]
    fn a_file_is_cut_between_two_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traces.ndjson.gz");
        let mut appender = Appender::open(&path, None).unwrap();
        for run in ["1\n2\n", "3\n", "4\n"] {
            appender.append(run.as_bytes()).unwrap();
        }
        assert!(Appender::open(&path, None).is_err(), "two writers");
        drop(appender);
        drop(Appender::open(&path, Some(3)).unwrap());
        assert_eq!(text(&path), "1\n2\n3\n");
        assert!(Appender::open(&path, Some(1)).is_err());
        assert!(Appender::open(&path, Some(5)).is_err());
        assert_eq!(text(&path), "1\n2\n3\n");
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks.ndjson.gz");
        fs::write(&path, "this is no gzip data at all").unwrap();
        assert!(matches!(Appender::open(&path, None), Err(SourceError::Malformed { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"this is no gzip data at all");
    }
}
