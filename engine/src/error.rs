//! Whose fault an error is, whether to try again, and how to print a chain of causes.

use std::error::Error;
use std::time::Duration;

/// Who must act on an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The person who wrote the job or the command line.
    User,
    /// Something outside: a file, a disk, a node.
    External,
    /// A broken invariant of Highwater.
    Internal,
}

/// Whether the operation may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// With growing pauses.
    Backoff,
    /// Not before this pause.
    After(Duration),
}

/// The two questions every error answers as data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class {
    /// Whose fault.
    pub fault: Fault,
    /// Whether to try again.
    pub retry: Retry,
}

impl Class {
    /// The user must change something.
    pub const USER: Class = Class { fault: Fault::User, retry: Retry::Never };
    /// The outside is broken for good (a corrupt file).
    pub const EXTERNAL: Class = Class { fault: Fault::External, retry: Retry::Never };
    /// The outside failed for now (a full disk, a time-out).
    pub const TRANSIENT: Class = Class { fault: Fault::External, retry: Retry::Backoff };
    /// A bug.
    pub const INTERNAL: Class = Class { fault: Fault::Internal, retry: Retry::Never };
}

/// An error that says whose fault it is.
pub trait Classified: Error {
    /// The class of this error.
    fn class(&self) -> Class;
}

/// An error with all its causes on one line: `what failed: why: why that`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Any error as a cause.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Saving or loading state failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The saved state does not fit the operator (the job changed, or the file is damaged).
    #[error("the saved state of {operator} does not fit this job ({detail}); start again with --reset")]
    Mismatch {
        /// The operator.
        operator: String,
        /// What differs.
        detail: String,
    },
    /// An Arrow operation on the state failed.
    #[error("{action} the state failed")]
    Arrow {
        /// What was being done.
        action: &'static str,
        /// Why.
        source: arrow::error::ArrowError,
    },
    /// A state file could not be read or written.
    #[error("{action} {path} failed")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// Why.
        source: BoxError,
    },
    /// The checkpoint cannot be read back.
    #[error("the checkpoint in {path} cannot be read; if it is damaged, start again with --reset")]
    Damaged {
        /// The state directory.
        path: String,
        /// Why.
        source: Box<StateError>,
    },
    /// Another process uses the directory.
    #[error("{path} is in use by another run; give another --state, or stop that run")]
    InUse {
        /// The state directory.
        path: String,
    },
    /// State exists from another job.
    #[error("{path} holds the state of another job ({detail}); give another --state or start again with --reset")]
    OtherJob {
        /// The state directory.
        path: String,
        /// What differs.
        detail: String,
    },
}

impl Classified for StateError {
    fn class(&self) -> Class {
        match self {
            StateError::Mismatch { .. } | StateError::OtherJob { .. } | StateError::InUse { .. } => Class::USER,
            StateError::Damaged { .. } => Class::EXTERNAL,
            StateError::Arrow { .. } => Class::INTERNAL,
            StateError::Io { .. } => Class::TRANSIENT,
        }
    }
}
