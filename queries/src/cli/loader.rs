//! Opens what a job names: sources, reference tables, secrets, sinks. The only code that reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use highwater_connectors::SOURCES;
use highwater_engine::error::BoxError;
use highwater_engine::feed::Feed;
use highwater_engine::metrics::Registry;
use highwater_engine::options::Options;
use highwater_engine::sink::{Notifications, SinkConnector, SinkError, SinkRequest};
use highwater_engine::source::{Source, SourceError, TableSchema};
use highwater_sinks::SINKS;

use super::args::SetOption;
use super::outputs::{Destination, request};
use super::reload::{FileFeed, Stamp, TableFile};
use crate::plan::{Catalog, LoadError, LoadRequest, PlannedSetting, PlannedSink, PlannedView, ReloadedTable, given};

/// Settings of a job (`SET name = value`); the command line comes first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) workers: Option<u16>,
    pub(super) blocks_per_tick: Option<u32>,
    /// Where the job answers `highwater sql --connect`.
    pub(super) sql_listen: Option<String>,
}

/// Opens what one job names.
pub(super) struct Loader {
    base: PathBuf,
    set: Vec<SetOption>,
    used: BTreeSet<usize>,
    /// What of the command line the planner took: an option of a thing.
    planned: BTreeSet<(String, String)>,
    destination: Destination,
    pub(super) settings: Settings,
    /// Where sinks write, with the sink that does.
    places: BTreeMap<PathBuf, String>,
    /// The opened sources, by name.
    pub(super) sources: BTreeMap<String, Box<dyn Source>>,
    /// The files of the reference tables and what they were like when they were read, by name.
    tables: BTreeMap<String, (TableFile, Stamp)>,
}

impl Loader {
    /// A loader for a job in this folder, with options from the command line.
    pub(super) fn new(base: PathBuf, set: Vec<SetOption>, destination: Destination) -> Loader {
        Loader {
            base,
            set,
            used: BTreeSet::new(),
            planned: BTreeSet::new(),
            destination,
            settings: Settings::default(),
            places: BTreeMap::new(),
            sources: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    /// The first `--set` that named nothing in the job.
    pub(super) fn unused_set(&self) -> Option<&SetOption> {
        self.set.iter().enumerate().find(|(index, _)| !self.used.contains(index)).map(|(_, set)| set)
    }

    /// The connector and the options of a thing, with the command line's changes. An empty value takes
    /// an option away.
    pub(super) fn resolve(
        &mut self,
        kind: &str,
        name: &str,
        connector: &str,
        given: Vec<(String, String)>,
    ) -> (String, Options) {
        let mut connector = connector.to_owned();
        let mut given = given;
        for (index, set) in self.set.iter().enumerate().filter(|(_, set)| set.owner == name) {
            self.used.insert(index);
            if set.option == "connector" {
                connector.clone_from(&set.value);
                continue;
            }
            if self.planned.contains(&(name.to_owned(), set.option.clone())) {
                continue;
            }
            given.retain(|(option, _)| *option != set.option);
            if !set.value.is_empty() {
                given.push((set.option.clone(), from_command_line(&set.option, &set.value)));
            }
        }
        (connector, Options::new(format!("{kind} \"{name}\""), &self.base, given))
    }

    /// The connector of a sink and what it is opened with.
    pub(super) fn sink(
        &mut self,
        sink: &PlannedSink,
        view: &PlannedView,
        request: SinkRequest,
    ) -> Result<(&'static dyn SinkConnector, SinkRequest, Options), LoadError> {
        let (connector, options) = self.resolve("sink", &sink.name, &sink.connector, given(&sink.options));
        debug_assert!(request.view.starts_with(&view.name));
        let known = || SINKS.iter().map(|sink| sink.name().to_owned()).collect();
        let found = SINKS
            .iter()
            .find(|known| known.name() == connector)
            .ok_or_else(|| LoadError::UnknownConnector { kind: "sink", name: connector, known: known() })?;
        Ok((*found, request, options))
    }

    /// Two sinks in one place would overwrite each other. A device may be shared.
    fn claim(&mut self, sink: &str, path: Option<String>) -> Result<(), LoadError> {
        let Some(path) = path else { return Ok(()) };
        let base = self.destination.out.as_ref().unwrap_or(&self.base);
        let place = base.join(path);
        if place.starts_with("/dev") {
            return Ok(());
        }
        match self.places.insert(place.clone(), sink.to_owned()) {
            Some(other) if other != sink => Err(failed(format!(
                "sink \"{other}\" writes to {} already; give each sink its own path",
                place.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The feed of a table that is read again.
    pub(super) fn feed(&mut self, table: &ReloadedTable) -> Box<dyn Feed> {
        let (file, stamp) = self.tables.remove(&table.name).expect("the planner has read every table it names");
        Box::new(FileFeed::new(table, file, stamp))
    }

    /// Where counters go.
    pub(super) fn metrics(&self) -> Registry {
        self.destination.metrics.clone()
    }

    /// What a sink is told about its view.
    pub(super) fn request(&self, sink: &PlannedSink, view: &PlannedView) -> SinkRequest {
        request(sink, view, &self.destination)
    }
}

/// A relative path on the command line is meant from where the command runs, not from the job.
fn from_command_line(option: &str, value: &str) -> String {
    if !matches!(option, "path" | "record") || Path::new(value).is_absolute() {
        return value.to_owned();
    }
    match std::env::current_dir() {
        Ok(folder) => folder.join(value).display().to_string(),
        Err(_) => value.to_owned(),
    }
}

impl Catalog for Loader {
    fn setting(&mut self, setting: &PlannedSetting) -> Result<(), LoadError> {
        let mut options = Options::new("a job", &self.base, vec![(setting.name.clone(), setting.value.clone())]);
        let whole = "a whole number above 0";
        if let Some(workers) = options.take_with("workers", whole, |text| text.parse().ok().filter(|n| *n > 0))? {
            self.settings.workers = Some(workers);
        }
        let blocks = options.take_with("blocks_per_tick", whole, |text| text.parse().ok().filter(|n| *n > 0))?;
        self.settings.blocks_per_tick = blocks.or(self.settings.blocks_per_tick);
        self.settings.sql_listen = options.take_str("sql.listen").or(self.settings.sql_listen.take());
        Ok(options.finish()?)
    }

    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError> {
        let mut options = Options::new(format!("secret \"{}\"", request.name), &self.base, request.given());
        let key = options.require_str("key")?;
        let value = match request.connector.as_str() {
            "env" => read_environment(&key)?,
            "file" => {
                let path = self.base.join(&key);
                let text = fs::read_to_string(&path);
                let text = text.map_err(|source| failed(format!("reading {} failed: {source}", path.display())))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            other => {
                let known = vec!["env".to_owned(), "file".to_owned()];
                return Err(LoadError::UnknownConnector { kind: "secret", name: other.to_owned(), known });
            }
        };
        options.finish()?;
        Ok(value)
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        let (connector, options) = self.resolve("source", &request.name, &request.connector, request.given());
        let Some(found) = SOURCES.iter().find(|source| source.name() == connector) else {
            let known = SOURCES.iter().map(|source| source.name().to_owned()).collect();
            return Err(LoadError::UnknownConnector { kind: "source", name: connector, known });
        };
        let source = found.open(options).map_err(|error| match error {
            SourceError::Option(error) => LoadError::Option(error),
            error => LoadError::Failed(Box::new(error)),
        })?;
        let tables = source.tables();
        self.sources.insert(request.name.clone(), source);
        Ok(tables)
    }

    fn chain_id(&self, source: &str) -> Option<u64> {
        self.sources.get(source).and_then(|source| source.chain_id())
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        let (connector, mut options) = self.resolve("table", &request.name, &request.connector, request.given());
        let path = options.require_path("path")?;
        options.finish()?;
        let shown = path.display().to_string();
        let Some(file) = TableFile::new(&connector, path) else {
            let known = TableFile::CONNECTORS.map(str::to_owned).to_vec();
            return Err(LoadError::UnknownConnector { kind: "table", name: connector, known });
        };
        // Before it is read: what is written meanwhile is then seen as a change.
        let stamp = file.stamp().map_err(|source| failed(format!("reading {shown} failed: {source}")))?;
        let rows = file.read(request.schema.as_ref()).map_err(|error| LoadError::Failed(Box::new(error)))?;
        self.tables.insert(request.name.clone(), (file, stamp));
        Ok(rows)
    }

    fn notifications(&self, sink: &str, connector: &str) -> Notifications {
        let set = self.set.iter().rev().find(|set| set.owner == sink && set.option == "connector");
        let connector = set.map_or(connector, |set| set.value.as_str());
        let found = SINKS.iter().find(|known| known.name() == connector);
        found.map_or(Notifications::Never, |found| found.notifications())
    }

    fn overridden(&mut self, owner: &str, option: &str) -> Option<String> {
        let at = self.set.iter().rposition(|set| set.owner == owner && set.option == option)?;
        self.used.insert(at);
        self.planned.insert((owner.to_owned(), option.to_owned()));
        Some(self.set[at].value.clone())
    }

    fn check_sink(&mut self, sink: &PlannedSink, view: &PlannedView) -> Result<(), LoadError> {
        let request = self.request(sink, view);
        let (connector, request, options) = self.sink(sink, view, request)?;
        self.claim(&sink.name, options.clone().take_str("path"))?;
        connector.check(&request, options).map_err(|error| match error {
            SinkError::Option(error) => LoadError::Option(error),
            error => LoadError::Failed(Box::new(error)),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the job loader")]
fn read_environment(key: &str) -> Result<String, LoadError> {
    std::env::var(key).map_err(|_| failed(format!("the environment variable {key} is not set")))
}

fn failed(text: String) -> LoadError {
    LoadError::Failed(BoxError::from(text))
}
