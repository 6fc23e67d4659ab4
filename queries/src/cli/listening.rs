//! The part of a run that lets others read its views.

use std::io::{IsTerminal as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use highwater_engine::job::JobOutput;
use highwater_engine::state::Checkpoint;

use super::CliError;
use super::args::RunArgs;
use super::job_file::LoadedJob;
use super::serve::{self, Hub, ViewSink};
use crate::plan::{Emit, JobPlan, SinkInput};
use crate::render::OutputPlan;

/// A job that listens, before it runs.
pub(super) struct Listening {
    listener: TcpListener,
    hub: Arc<Hub>,
    /// The materialised views: their indices in the plan, and their outputs.
    views: Vec<(usize, JobOutput)>,
}

impl Listening {
    /// Listens, if the job or the command line says so. The address of the job is that of the job at work: a
    /// replay beside it listens only where the command line says.
    pub(super) fn open(
        loaded: &LoadedJob,
        args: &RunArgs,
        plan: &JobPlan,
        replay: bool,
    ) -> Result<Option<Listening>, CliError> {
        let of_job = loaded.loader.settings.sql_listen.clone().filter(|_| !replay);
        let Some(address) = args.sql_listen.clone().or(of_job) else { return Ok(None) };
        let kept: Vec<usize> = (0..plan.views.len()).filter(|index| is_served(plan, *index)).collect();
        if kept.is_empty() {
            tracing::warn!("the job has no materialised view, so there is nothing to listen for");
            return Ok(None);
        }
        let views = kept.iter().map(|index| {
            let view = &plan.views[*index];
            (view.name.clone(), view.schema.clone())
        });
        let hub = Hub::new(views.collect()).map_err(|error| CliError::Internal(Box::new(error)))?;
        let views = kept.iter().enumerate().map(|(at, index)| {
            let view = &plan.views[*index];
            let sink = Box::new(ViewSink::new(hub.clone(), at));
            let name = serve::output_name(&view.name);
            (*index, JobOutput { name, schema: view.schema.clone(), key: None, sink })
        });
        let views = views.collect();
        let listener = serve::listen(&address).map_err(|source| CliError::Listen { address, source })?;
        Ok(Some(Listening { listener, hub, views }))
    }

    /// A job that goes on must know what its views held.
    pub(super) fn check(&self, checkpoint: &Checkpoint, path: &Path) -> Result<(), CliError> {
        let known = |name: &str| checkpoint.sinks.iter().any(|(sink, _)| sink == name);
        match self.views.iter().all(|(_, output)| known(&output.name)) {
            true => Ok(()),
            false => Err(CliError::StateWithoutContents { path: path.to_owned() }),
        }
    }

    /// Adds the outputs of the views, and answers whoever connects.
    pub(super) fn start(self, outputs: &mut Vec<JobOutput>, plans: &mut Vec<OutputPlan>, quiet: bool) {
        for (view, output) in self.views {
            outputs.push(output);
            plans.push(OutputPlan { input: SinkInput::View(view), emit: Emit::Changes });
        }
        let Ok(address) = self.listener.local_addr() else { return };
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "whoever reaches this address can read the views of the job: there is no password");
        }
        if !quiet {
            let line = if std::io::stderr().is_terminal() {
                format!("listening for `highwater sql --connect {address}`")
            } else {
                serde_json::json!({ "listening": address.to_string() }).to_string()
            };
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        serve::start(self.listener, self.hub);
    }
}

fn is_served(plan: &JobPlan, index: usize) -> bool {
    let view = &plan.views[index];
    view.materialized && !view.of_sink
}
