//! What the planner asks of the world outside the job's text.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::options::OptionError;
use highwater_engine::sink::Notifications;
use highwater_engine::source::TableSchema;

use super::ir::{PlannedOption, PlannedSetting, PlannedSink, PlannedView};
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean, nearest};

/// Opens what a job names. The planner calls each method once for each statement, in the order of
/// the job: settings first, then secrets, sources and tables; sinks last.
pub trait Catalog {
    /// Takes a setting (`SET name = value`).
    fn setting(&mut self, setting: &PlannedSetting) -> Result<(), LoadError> {
        Err(LoadError::Option(OptionError::Unknown {
            owner: "a job".to_owned(),
            name: setting.name.clone(),
            nearest: None,
        }))
    }

    /// The value of a secret. Never printed by the planner.
    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError>;

    /// Opens a source and tells its tables.
    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError>;

    /// The id of the chain that an opened source reads, if it is known beforehand.
    fn chain_id(&self, source: &str) -> Option<u64> {
        let _ = source;
        None
    }

    /// Reads a reference table. With declared columns (`request.schema`) the rows must have just these.
    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError>;

    /// What a kind of sink does with an alert. `sink` is the sink's name: its connector may be set elsewhere.
    fn notifications(&self, sink: &str, connector: &str) -> Notifications {
        let _ = (sink, connector);
        Notifications::Never
    }

    /// What the command line sets an option to that the planner reads itself; an empty text takes it away.
    fn overridden(&mut self, owner: &str, option: &str) -> Option<String> {
        let _ = (owner, option);
        None
    }

    /// Checks a sink's connector and options without touching anything.
    fn check_sink(&mut self, sink: &PlannedSink, view: &PlannedView) -> Result<(), LoadError>;
}

/// A thing to be opened.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// Its name in the job.
    pub name: String,
    /// The word in `connector = '…'` (of a secret: `backend`).
    pub connector: String,
    /// The other options, secrets resolved.
    pub options: Vec<PlannedOption>,
    /// Declared columns of a table, if there are.
    pub schema: Option<SchemaRef>,
}

impl LoadRequest {
    /// Names and values, as `engine::options::Options` takes them.
    pub fn given(&self) -> Vec<(String, String)> {
        given(&self.options)
    }
}

/// Names and values of options, as `engine::options::Options` takes them.
pub fn given(options: &[PlannedOption]) -> Vec<(String, String)> {
    options.iter().map(|option| (option.name.clone(), option.value.clone())).collect()
}

/// Why something cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An option is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// There is no such connector.
    #[error("there is no {kind} connector \"{name}\"")]
    UnknownConnector {
        /// `source`, `table`, `sink` or `secret`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It cannot be opened.
    #[error("{0}")]
    Failed(BoxError),
}

impl LoadError {
    /// The diagnostic: at the option at fault if it is known, else at `name`.
    pub fn diagnostic(&self, what: &str, name: Span, connector: Option<Span>, options: &[PlannedOption]) -> Diagnostic {
        match self {
            LoadError::Option(error) => option_diagnostic(error, name, options),
            LoadError::UnknownConnector { name: word, known, .. } => {
                let list = format!("there are {}", known.join(", "));
                let hint = did_you_mean(word, known.iter().map(String::as_str)).unwrap_or(list);
                Diagnostic::new(Code::UnknownConnector, self.to_string(), connector.unwrap_or(name)).with_hint(hint)
            }
            LoadError::Failed(error) => {
                let message = format!("{what} cannot be opened");
                let cause: &(dyn std::error::Error + 'static) = error.as_ref();
                Diagnostic::new(Code::CannotOpen, message, name).with_note(highwater_engine::error::chain(cause))
            }
        }
    }
}

fn option_diagnostic(error: &OptionError, name: Span, options: &[PlannedOption]) -> Diagnostic {
    let given = options.iter().find(|option| option.name == error.name());
    match error {
        OptionError::Missing { name: option, .. } => {
            let near = nearest(option, options.iter().map(|given| given.name.as_str()));
            let given = options.iter().find(|given| Some(given.name.as_str()) == near);
            let place = given.map_or(name, |given| given.name_span);
            let hint = match given {
                Some(_) => format!("did you mean \"{option}\"?"),
                None => format!("add {option} = '…' to WITH (…)"),
            };
            Diagnostic::new(Code::MissingOption, error.to_string(), place).with_hint(hint)
        }
        OptionError::Invalid { owner, name: option, expected, .. } => {
            // The value may be a secret: it is shown only where the text of the job shows it.
            let message = format!("option \"{option}\" of {owner} is not {expected}");
            Diagnostic::new(Code::BadOption, message, given.map_or(name, |option| option.value_span))
        }
        _ => Diagnostic::new(Code::BadOption, error.to_string(), given.map_or(name, |option| option.name_span)),
    }
    .with_hint_opt(error.hint())
}
