//! A text file line by line, compressed or not, without ever holding more than one line.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use highwater_engine::source::SourceError;

const BUFFER_BYTES: usize = 256 * 1024;

/// A line of a file, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinePlace<'a> {
    path: &'a Path,
    line: u64,
}

impl fmt::Display for LinePlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.path.display(), self.line)
    }
}

/// Reads the lines of one file.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a file; one whose name ends in `.gz` is decompressed.
    pub(crate) fn open(path: &Path) -> Result<Lines, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Read {
            action: "opening",
            place: path.display().to_string(),
            source: source.into(),
        })?;
        let is_empty = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0);
        // A recording that was begun and has no run yet is no broken gzip data.
        let reader: Box<dyn Read + Send> = if !is_empty && path.extension().is_some_and(|extension| extension == "gz") {
            // Several gzip members in a row are one text: that is what appending to a .gz file makes.
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file)))
        } else {
            Box::new(file)
        };
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Ok(Lines { path: path.to_owned(), reader, line: 0, buffer: Vec::new() })
    }

    /// How many lines were read.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The line read last.
    pub(crate) fn place(&self) -> LinePlace<'_> {
        LinePlace { path: &self.path, line: self.line }
    }

    /// Reads one line; false at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<bool, SourceError> {
        self.buffer.clear();
        self.line += 1;
        match self.reader.read_until(b'\n', &mut self.buffer) {
            Ok(0) => {
                self.line -= 1;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) => Err(self.read_error(error)),
        }
    }

    /// The text of the line read last, without white space around it.
    pub(crate) fn text(&self) -> Result<&str, SourceError> {
        let text = std::str::from_utf8(&self.buffer).map_err(|error| SourceError::Malformed {
            place: self.place().to_string(),
            detail: format!("the text is not UTF-8 after byte {}", error.valid_up_to()),
        })?;
        Ok(text.trim())
    }

    /// Passes over `count` lines without looking at them; false if there are fewer.
    pub(crate) fn skip(&mut self, count: u64) -> Result<bool, SourceError> {
        for _ in 0..count {
            if !self.advance()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_error(&self, error: std::io::Error) -> SourceError {
        let place = self.place().to_string();
        match error.kind() {
            // The bytes are there and wrong: reading again would not help.
            ErrorKind::UnexpectedEof => SourceError::Malformed { place, detail: "the gzip data ends too early".into() },
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                SourceError::Malformed { place, detail: format!("the gzip data is damaged: {error}") }
            }
            _ => SourceError::Read { action: "reading", place, source: error.into() },
        }
    }
}

/// Counts the lines of a file that is small enough for that to take no time.
pub(crate) fn count_lines(path: &Path) -> Option<u64> {
    const SMALL: u64 = 4 << 20;
    if path.metadata().ok()?.len() > SMALL {
        return None;
    }
    let mut lines = Lines::open(path).ok()?;
    let mut count = 0;
    while lines.advance().ok()? {
        count += 1;
    }
    Some(count)
}
