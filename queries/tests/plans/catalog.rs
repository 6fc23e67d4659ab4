//! A catalog that touches nothing: EVM tables under any source, a few connectors.

use std::path::Path;

use arrow::record_batch::RecordBatch;
use highwater::plan::{Catalog, LoadError, LoadRequest, PlannedSetting, PlannedSink, PlannedView};
use highwater_engine::model::evm;
use highwater_engine::options::{OptionError, Options};
use highwater_engine::sink::Notifications;
use highwater_engine::source::TableSchema;

/// What a secret resolves to: must never be seen in any output.
pub(crate) const SECRET_VALUE: &str = "hunter2";

pub(crate) struct StaticCatalog;

fn options(what: &str, name: &str, given: Vec<(String, String)>) -> Options {
    Options::new(format!("{what} \"{name}\""), "/jobs", given)
}

fn unknown(kind: &'static str, name: &str, known: &[&str]) -> LoadError {
    let known = known.iter().map(|word| (*word).to_owned()).collect();
    LoadError::UnknownConnector { kind, name: name.to_owned(), known }
}

impl Catalog for StaticCatalog {
    fn setting(&mut self, setting: &PlannedSetting) -> Result<(), LoadError> {
        if setting.name == "workers" {
            return Ok(());
        }
        let nearest = Some("workers".to_owned());
        Err(OptionError::Unknown { owner: "a job".to_owned(), name: setting.name.clone(), nearest }.into())
    }

    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError> {
        match request.connector.as_str() {
            "env" | "file" => Ok(SECRET_VALUE.to_owned()),
            other => Err(unknown("secret", other, &["env", "file"])),
        }
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        let mut options = options("source", &request.name, request.given());
        match request.connector.as_str() {
            "recording" => {
                options.require_path("path")?;
                options.take_u64("confirmations")?;
            }
            "simulator" => {
                options.take_u64("seed")?;
            }
            other => return Err(unknown("source", other, &["parquet", "recording", "simulator"])),
        }
        options.finish()?;
        let tables = evm::tables().iter();
        Ok(tables.map(|table| TableSchema { name: table.name.to_owned(), schema: table.schema.clone() }).collect())
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        let mut options = options("table", &request.name, request.given());
        let path = options.require_str("path")?;
        options.finish()?;
        match &request.schema {
            // The one file there is; it has no rows.
            Some(declared) if path == "watchlist.csv" => Ok(RecordBatch::new_empty(declared.clone())),
            _ => Err(LoadError::Failed(format!("reading {path}: no such file").into())),
        }
    }

    fn notifications(&self, _: &str, connector: &str) -> Notifications {
        if connector == "stdout" { Notifications::OfAlerts } else { Notifications::Never }
    }

    fn check_sink(&mut self, sink: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        let given = sink.options.iter().map(|option| (option.name.clone(), option.value.clone())).collect();
        let mut options = options("sink", &sink.name, given);
        match sink.connector.as_str() {
            "stdout" => {}
            "parquet" => {
                options.require_path("path")?;
                options.take_choice("mode", &[("changelog", 0), ("snapshot", 1)])?;
            }
            "" => {
                return Err(
                    OptionError::Missing { owner: options.owner().to_owned(), name: "connector".to_owned() }.into()
                );
            }
            other => return Err(unknown("sink", other, &["file", "parquet", "stdout"])),
        }
        options.finish()?;
        Ok(())
    }
}

/// Compares what each `*.sql` of a folder gives with the `*.txt` beside it; `UPDATE=1` rewrites those.
pub(crate) fn golden(folder: &str, produce: impl Fn(&str, &str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of cases exists")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        let text = std::fs::read_to_string(&case).expect("a case can be read");
        let name = case.file_name().and_then(|name| name.to_str()).expect("names of cases are text");
        let got = produce(name, &text);
        assert!(!got.contains(SECRET_VALUE), "{name} shows a secret");
        let golden = case.with_extension("txt");
        if update {
            std::fs::write(&golden, got).expect("a golden can be written");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("--- {name}\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "goldens differ; UPDATE=1 rewrites them\n{}", wrong.join("\n"));
}
