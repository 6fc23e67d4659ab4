//! The options the planner reads itself.

use super::ir::PlannedOption;
use super::job::Planner;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::sql::{Name, ViewStatement};

/// The options a view may have.
pub(super) struct ViewOptions {
    pub(super) unbounded: bool,
    pub(super) on_error_stop: bool,
    pub(super) rest: Vec<PlannedOption>,
}

impl ViewOptions {
    pub(super) fn read(view: &ViewStatement, planner: &Planner<'_>) -> Result<ViewOptions, Diagnostic> {
        let (request, _) = planner.request(&view.name, &view.options, "")?;
        let mut options = request.options;
        let unbounded = take_flag(&mut options, "unbounded")?;
        let stop = take(&mut options, "on_error");
        let on_error_stop = match stop.as_ref().map(|option| (option, option.value.to_lowercase())) {
            None => view.on_error_stop,
            Some((_, word)) if word == "stop" => true,
            Some((_, word)) if word == "skip" => false,
            Some((option, _)) => {
                return Err(Diagnostic::new(
                    Code::BadOption,
                    "option \"on_error\" is 'stop' or 'skip'",
                    option.value_span,
                ));
            }
        };
        const KNOWN: [&str; 3] = ["unbounded", "on_error", "retain"];
        if let Some(option) = options.iter().find(|option| !KNOWN.contains(&option.name.as_str())) {
            let message = format!("a view has no option \"{}\"", option.name);
            return Err(Diagnostic::new(Code::BadOption, message, option.name_span).with_hint(
                did_you_mean(&option.name, KNOWN).unwrap_or_else(|| format!("there are {}", KNOWN.join(", "))),
            ));
        }
        Ok(ViewOptions { unbounded, on_error_stop, rest: options })
    }
}

/// The options of a statement, taken one by one; what is not known is a mistake at once.
pub(super) struct Taken {
    options: Vec<PlannedOption>,
    known: Vec<&'static str>,
    what: &'static str,
}

impl Taken {
    /// All options of a statement that knows these.
    pub(super) fn of(
        what: &'static str,
        name: &Name,
        options: Vec<PlannedOption>,
        known: &[&'static str],
    ) -> Result<Taken, Diagnostic> {
        let taken = Taken { options, known: known.to_vec(), what };
        let twice = taken
            .options
            .iter()
            .enumerate()
            .find(|(index, option)| taken.options[..*index].iter().any(|before| before.name == option.name));
        if let Some((_, option)) = twice {
            let message = format!("option \"{}\" of {what} \"{}\" is given twice", option.name, name.text);
            return Err(Diagnostic::new(Code::BadOption, message, option.name_span));
        }
        Ok(taken)
    }

    /// An option's text and place.
    pub(super) fn text(&mut self, name: &str) -> Option<(String, Span)> {
        take(&mut self.options, name).map(|option| (option.value, option.value_span))
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), Diagnostic> {
        let Some(option) = self.options.first() else { return Ok(()) };
        let message = format!("an {} has no option \"{}\"", self.what, option.name);
        let list = format!("there are {}", self.known.join(", "));
        let hint = did_you_mean(&option.name, self.known.iter().copied()).unwrap_or(list);
        Err(Diagnostic::new(Code::BadOption, message, option.name_span).with_hint(hint))
    }

    /// What nobody took, for whoever comes next.
    pub(super) fn rest(self) -> Vec<PlannedOption> {
        self.options
    }
}

/// An option, which is then no longer there.
pub(super) fn take(options: &mut Vec<PlannedOption>, name: &str) -> Option<PlannedOption> {
    let at = options.iter().position(|option| option.name == name)?;
    Some(options.remove(at))
}

pub(super) fn take_flag(options: &mut Vec<PlannedOption>, name: &str) -> Result<bool, Diagnostic> {
    let Some(option) = take(options, name) else { return Ok(false) };
    match option.value.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(Diagnostic::new(Code::BadOption, format!("option \"{name}\" is 'yes' or 'no'"), option.value_span)),
    }
}
