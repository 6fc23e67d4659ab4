//! Reads a job file: text, statements, plan.

use std::fs;
use std::path::{Path, PathBuf};

use super::CliError;
use super::args::JobArgs;
use super::loader::Loader;
use super::outputs::Destination;
use crate::diagnostic::Diagnostic;
use crate::plan::{JobPlan, plan};
use crate::sql::{Statement, parse};

/// A job file with its plan and everything opened that the plan names.
pub(super) struct LoadedJob {
    /// The path as given, for diagnostics.
    pub(super) path: String,
    /// The text.
    pub(super) text: String,
    /// What was opened.
    pub(super) loader: Loader,
    plan: Result<JobPlan, Vec<Diagnostic>>,
}

impl LoadedJob {
    /// The plan, or the mistakes of the job.
    pub(super) fn take_plan(&mut self) -> Result<JobPlan, CliError> {
        let plan = std::mem::replace(&mut self.plan, Err(Vec::new()));
        plan.map_err(|diagnostics| CliError::Job { path: self.path.clone(), text: self.text.clone(), diagnostics })
    }
}

/// Reads and plans a job.
pub(super) fn load(args: &JobArgs, destination: Destination) -> Result<LoadedJob, CliError> {
    let text = fs::read_to_string(&args.job).map_err(|source| CliError::Read { path: args.job.clone(), source })?;
    load_text(args, destination, text, |_| true)
}

/// Plans the statements of a job's text that are wanted.
pub(super) fn load_text(
    args: &JobArgs,
    destination: Destination,
    text: String,
    wanted: impl Fn(&Statement) -> bool,
) -> Result<LoadedJob, CliError> {
    let mut loader = Loader::new(parent(&args.job), args.set.clone(), destination);
    let plan = match parse(&text) {
        Ok(mut job) => {
            job.statements.retain(wanted);
            plan(&job, &mut loader)
        }
        Err(diagnostics) => Err(diagnostics),
    };
    if plan.is_ok()
        && let Some(unused) = loader.unused_set()
    {
        return Err(CliError::UnusedSet(unused.owner.clone()));
    }
    Ok(LoadedJob { path: args.job.display().to_string(), text, loader, plan })
}

/// A folder as given or the current one.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
