//! `WITH (…)` options, taken one by one with their type; what nobody took is an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Class, Classified};

/// The documentation of one option; reference pages and `--help` are made of these.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// Name as written in `WITH (…)`.
    pub name: &'static str,
    /// Type and unit, such as `path`, `integer (blocks)`, `duration`.
    pub kind: &'static str,
    /// Default in words, or `required`.
    pub default: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A value.
    pub example: &'static str,
}

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A required option is absent.
    #[error("{owner} needs the option \"{name}\"")]
    Missing {
        /// The source or sink, such as `source "eth"`.
        owner: String,
        /// The option.
        name: String,
    },
    /// A value has the wrong form.
    #[error("option \"{name}\" of {owner}: {value:?} is not {expected}")]
    Invalid {
        /// The source or sink.
        owner: String,
        /// The option.
        name: String,
        /// What was given.
        value: String,
        /// What is expected, such as `a whole number of blocks`.
        expected: String,
    },
    /// Nobody knows the option.
    #[error("{owner} has no option \"{name}\"")]
    Unknown {
        /// The source or sink.
        owner: String,
        /// The option.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
}

impl OptionError {
    /// The name of the option at fault.
    pub fn name(&self) -> &str {
        match self {
            OptionError::Missing { name, .. }
            | OptionError::Invalid { name, .. }
            | OptionError::Unknown { name, .. } => name,
        }
    }

    /// One sentence of advice.
    pub fn hint(&self) -> Option<String> {
        match self {
            OptionError::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean \"{nearest}\"?")),
            _ => None,
        }
    }
}

impl Classified for OptionError {
    fn class(&self) -> Class {
        Class::USER
    }
}

/// The options of one source or sink.
///
/// Every `take_*` removes the option and notes its name as known; [`Options::finish`] refuses what is left.
#[derive(Clone)]
pub struct Options {
    owner: String,
    base: PathBuf,
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl std::fmt::Debug for Options {
    /// Names only: a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.given.iter().map(|(name, _)| name).collect();
        f.debug_struct("Options").field("owner", &self.owner).field("names", &names).finish_non_exhaustive()
    }
}

impl Options {
    /// Options of `owner` (such as `source "eth"`), with relative paths meant relative to `base`.
    pub fn new(owner: impl Into<String>, base: impl Into<PathBuf>, given: Vec<(String, String)>) -> Options {
        Options { owner: owner.into(), base: base.into(), given, known: Vec::new() }
    }

    /// Who the options belong to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The folder that relative paths start from.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// A text option.
    pub fn take_str(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let index = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.remove(index).1)
    }

    /// A text option that must be there.
    pub fn require_str(&mut self, name: &'static str) -> Result<String, OptionError> {
        self.take_str(name).ok_or_else(|| OptionError::Missing { owner: self.owner.clone(), name: name.to_owned() })
    }

    /// A path, made absolute from the job's folder.
    pub fn require_path(&mut self, name: &'static str) -> Result<PathBuf, OptionError> {
        let text = self.require_str(name)?;
        Ok(self.base.join(text))
    }

    /// A path, made absolute from the job's folder.
    pub fn take_path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.take_str(name).map(|text| self.base.join(text))
    }

    /// A whole number, `_` allowed between digits.
    pub fn take_u64(&mut self, name: &'static str) -> Result<Option<u64>, OptionError> {
        self.take_with(name, "a whole number", |text| text.replace('_', "").parse().ok())
    }

    /// A number.
    pub fn take_f64(&mut self, name: &'static str) -> Result<Option<f64>, OptionError> {
        self.take_with(name, "a number", |text| text.parse().ok())
    }

    /// `true`/`false`, `yes`/`no`, `on`/`off`.
    pub fn take_bool(&mut self, name: &'static str) -> Result<Option<bool>, OptionError> {
        self.take_with(name, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A duration such as `250 ms`, `15 minutes`, `2h`.
    pub fn take_duration(&mut self, name: &'static str) -> Result<Option<Duration>, OptionError> {
        self.take_with(name, "a duration such as '15 minutes'", parse_duration)
    }

    /// One of a few words.
    pub fn take_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, OptionError> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        let expected = format!("one of {}", words.join(", "));
        self.take_with(name, &expected, |text| {
            choices.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
        })
    }

    /// An option with its own reading; `expected` completes "… is not …".
    pub fn take_with<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some(text) = self.take_str(name) else { return Ok(None) };
        match read(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(name, text, expected)),
        }
    }

    /// The error for a value that was taken but turns out to be wrong.
    pub fn invalid(&self, name: &str, value: impl Into<String>, expected: &str) -> OptionError {
        OptionError::Invalid {
            owner: self.owner.clone(),
            name: name.to_owned(),
            value: value.into(),
            expected: expected.to_owned(),
        }
    }

    /// Refuses options that nobody took.
    pub fn finish(self) -> Result<(), OptionError> {
        let Some((name, _)) = self.given.into_iter().next() else { return Ok(()) };
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, &name), *known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
            .min()
            .map(|(_, known)| known.to_owned());
        Err(OptionError::Unknown { owner: self.owner, name, nearest })
    }
}

/// Reads `250 ms`, `15 minutes`, `2h`, `1 day`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let count: u64 = text[..digits].replace('_', "").parse().ok()?;
    let unit_ms = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(given: &[(&str, &str)]) -> Options {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options::new("source \"eth\"", "/jobs", given)
    }

    #[test]
    fn unknown_option_names_the_nearest() {
        let mut options = options(&[("pth", "x")]);
        assert_eq!(options.take_str("path"), None);
        let error = options.finish().unwrap_err();
        assert_eq!(error.to_string(), "source \"eth\" has no option \"pth\"");
        assert_eq!(error.hint().as_deref(), Some("did you mean \"path\"?"));
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("15 minutes"), Some(Duration::from_secs(900)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration("minutes"), None);
    }

    #[test]
    fn debug_hides_values() {
        assert!(!format!("{:?}", options(&[("url", "hidden")])).contains("hidden"));
    }
}
