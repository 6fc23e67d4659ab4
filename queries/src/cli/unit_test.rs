//! `highwater test`: runs the unit tests of jobs.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::args::{JobArgs, SetOption, parse_set};
use super::loader::Loader;
use super::outputs::Destination;
use super::{CliError, job_file, print};
use crate::unit_test::{Report, UnitTestError, run, tests};

/// Which jobs.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestArgs {
    /// Jobs with EXECUTE UNIT TEST statements
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Set an option of a source, table or sink (may be repeated)
    #[arg(long, value_name = "NAME.OPTION=VALUE", value_parser = parse_set)]
    set: Vec<SetOption>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs the tests; an error if one fails.
pub(crate) fn execute(args: &TestArgs) -> Result<(), CliError> {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for file in &args.files {
        let text = std::fs::read_to_string(file).map_err(|source| CliError::Read { path: file.clone(), source })?;
        let path = file.display().to_string();
        let wrong = |diagnostics| CliError::Job { path: path.clone(), text: text.clone(), diagnostics };
        let job = crate::sql::parse(&text).map_err(wrong)?;
        let job_args = JobArgs { job: file.clone(), set: args.set.clone() };
        for test in tests(&job) {
            let name = &test.name.text;
            if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
                continue;
            }
            let base = job_file::parent(&job_args.job);
            let mut world = Loader::new(base, job_args.set.clone(), Destination::default());
            let report = run(&job, &test, &mut world).map_err(|error| match error {
                UnitTestError::Job(diagnostics) => wrong(diagnostics),
                other => CliError::Internal(Box::new(other)),
            })?;
            match report.failure.is_some() {
                true => failed += 1,
                false => passed += 1,
            }
            print(&shown(&path, &report))?;
        }
    }
    print(&format!("{passed} passed, {failed} failed\n"))?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::TestsFailed(failed)),
    }
}

fn shown(path: &str, report: &Report) -> String {
    let Some(failure) = &report.failure else { return format!("{path} {}: ok\n", report.name) };
    let mut text = format!("{path} {}: FAILED after step {}\n", report.name, failure.step);
    let lists = [
        ("expected and not there", &failure.missing),
        ("there and not expected", &failure.unexpected),
        ("could not be evaluated", &failure.errors),
    ];
    for (what, rows) in lists {
        for row in rows {
            let _ = writeln!(text, "  {what}: {row}");
        }
    }
    text
}
