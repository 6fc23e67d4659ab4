//! Runs the binary and looks at what it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::rows::Row;

/// What one run left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Panics unless the run succeeded.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Panics unless the run ended with this code and said all of this.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, said: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in said {
            assert!(self.stderr.contains(text), "{text:?} is not in\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The summary, the last line of standard error.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no summary in\n{}", self.stderr));
        value["summary"].clone()
    }

    /// The lines of standard output that belong to one sink.
    pub(crate) fn lines_of(&self, sink: &str) -> Vec<Value> {
        parse_lines(&self.stdout).into_iter().filter(|line| line["sink"] == sink).collect()
    }

    /// What the changes of one sink add up to.
    pub(crate) fn contents(&self, sink: &str) -> BTreeMap<Row, i64> {
        accumulate(&self.lines_of(sink))
    }
}

/// JSON lines as values.
pub(crate) fn parse_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

/// The sum of changes; rows that cancel are gone.
pub(crate) fn accumulate(lines: &[Value]) -> BTreeMap<Row, i64> {
    let mut contents = BTreeMap::new();
    for line in lines.iter().filter(|line| line.get("row").is_some()) {
        *contents.entry(Row::of_json(&line["row"])).or_insert(0) += line["diff"].as_i64().unwrap();
    }
    contents.retain(|_, diff| *diff != 0);
    contents
}

/// The binary with arguments, its streams in pipes.
pub(crate) fn highwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(arguments).env_remove("HIGHWATER_LOG").env_remove("NO_COLOR").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    Ran::of(highwater(arguments).output().unwrap())
}

/// A folder for one test, with a job in it.
pub(crate) struct Desk {
    folder: TempDir,
    pub(crate) job: String,
}

impl Desk {
    /// A desk with this job.
    pub(crate) fn new(job: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.sql");
        std::fs::write(&path, job).unwrap();
        Desk { folder, job: text(&path) }
    }

    /// A path on the desk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path on the desk, as an argument.
    pub(crate) fn at(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// Puts a file on the desk.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        text(&path)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs the job with further arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&[&["run", &self.job][..], arguments].concat())
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A path of the source tree.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Data that is shared beside the workspace. Tests skip quietly without it, but not in continuous integration.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = here("../../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is not there", path.display());
    None
}
