//! The texts of an alert: title, body, reason and why, as minijinja templates over a finding and its story.
//!
//! A text is plain: whatever a template puts in, also names that come from the chain, is text and nothing else,
//! and a channel escapes it whole. Names that are not known are a mistake when the alert is made, not when it fires.

use std::fmt::Write as _;

use highwater_engine::model::format::timestamp_text;
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};

/// The templates of an alert; none: the text that is made without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// One line. Without: the alert's name and the group.
    pub title: Option<String>,
    /// Details. Without: empty.
    pub body: Option<String>,
    /// What was found. Without: the view's columns, `name = value` each.
    pub reason: Option<String>,
    /// What made the severity. Without: empty.
    pub why: Option<String>,
}

impl Texts {
    fn each(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("title", self.title.as_ref()),
            ("body", self.body.as_ref()),
            ("reason", self.reason.as_ref()),
            ("why", self.why.as_ref()),
        ]
    }
}

/// What templates know beside the columns of the view.
pub const STORY_NAMES: &[&str] = &[
    "alert",
    "entity",
    "entity_count",
    "findings",
    "group",
    "last_seen_at",
    "occurrences",
    "opened_at",
    "score",
    "severity",
    "status",
];

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("template \"{template}\" cannot be read: {detail}")]
    Syntax {
        /// `title`, `body`, `reason` or `why`.
        template: &'static str,
        /// What and where.
        detail: String,
    },
    /// It uses a name that neither the view nor the story has.
    #[error("template \"{template}\" uses \"{name}\", which is no column of the view")]
    Unknown {
        /// `title`, `body`, `reason` or `why`.
        template: &'static str,
        /// The name.
        name: String,
    },
}

impl TemplateError {
    /// The option at fault.
    pub fn template(&self) -> &'static str {
        match self {
            TemplateError::Syntax { template, .. } | TemplateError::Unknown { template, .. } => template,
        }
    }
}

/// Compiled templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    texts: Texts,
}

/// What is known of the story when a text is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'k> {
    pub(super) alert: &'k str,
    pub(super) group: &'k str,
    pub(super) entity: &'k str,
    pub(super) severity: &'k str,
    pub(super) status: &'k str,
    pub(super) score: f64,
    pub(super) occurrences: i64,
    pub(super) findings: i64,
    pub(super) entity_count: i64,
    pub(super) opened_at_ms: i64,
    pub(super) last_seen_at_ms: i64,
}

impl Templates {
    /// Compiles templates over the columns of a view.
    ///
    /// # Errors
    /// If a template cannot be read or uses a name that is not there.
    pub fn new(texts: Texts, columns: &[&str]) -> Result<Templates, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("short", short);
        environment.add_filter("units", units);
        environment.add_filter("percent", percent);
        for (template, source) in texts.each() {
            let Some(source) = source else { continue };
            environment.add_template_owned(template, source.clone()).map_err(|error| TemplateError::Syntax {
                template,
                detail: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
            })?;
            let compiled = environment.get_template(template).expect("it was added above");
            let mut names: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
            names.sort_unstable();
            let functions = ["range", "dict", "namespace"];
            let known = |name: &String| {
                columns.contains(&name.as_str())
                    || STORY_NAMES.contains(&name.as_str())
                    || functions.contains(&name.as_str())
            };
            if let Some(name) = names.into_iter().find(|name| !known(name)) {
                return Err(TemplateError::Unknown { template, name });
            }
        }
        Ok(Templates { environment, texts })
    }

    /// The title.
    pub(super) fn title(&self, context: &Context) -> String {
        match &self.texts.title {
            Some(_) => one_line(&self.render("title", context)),
            None => format!("{}: {}", context.alert, context.group),
        }
    }

    /// The body.
    pub(super) fn body(&self, context: &Context) -> String {
        self.texts.body.as_ref().map_or_else(String::new, |_| self.render("body", context))
    }

    /// The reason.
    pub(super) fn reason(&self, context: &Context) -> String {
        match &self.texts.reason {
            Some(_) => self.render("reason", context),
            None => plain_reason(&context.fields),
        }
    }

    /// What made the severity.
    pub(super) fn why(&self, context: &Context) -> String {
        self.texts.why.as_ref().map_or_else(String::new, |_| self.render("why", context))
    }

    fn render(&self, template: &str, context: &Context) -> String {
        let compiled = self.environment.get_template(template).expect("only texts with a template are rendered");
        // A filter may refuse a value; the message must still go out.
        compiled.render(&context.values).unwrap_or_else(|error| {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            format!("[template {template}: {detail}] {}", plain_reason(&context.fields))
        })
    }
}

/// A finding and its story, as templates see them.
pub(super) struct Context {
    alert: String,
    group: String,
    fields: serde_json::Map<String, serde_json::Value>,
    values: Value,
}

impl Context {
    pub(super) fn new(fields: &str, known: Known<'_>) -> Context {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(fields).unwrap_or_default();
        let mut values = fields.clone();
        let mut add = |name: &str, value: serde_json::Value| {
            // A column of the view wins: its author knows what it is called.
            values.entry(name).or_insert(value);
        };
        add("alert", known.alert.into());
        add("entity", known.entity.into());
        add("entity_count", known.entity_count.into());
        add("findings", known.findings.into());
        add("group", known.group.into());
        add("last_seen_at", timestamp_text(known.last_seen_at_ms).into());
        add("occurrences", known.occurrences.into());
        add("opened_at", timestamp_text(known.opened_at_ms).into());
        add("score", known.score.into());
        add("severity", known.severity.into());
        add("status", known.status.into());
        let values = Value::from_serialize(&values);
        Context { alert: known.alert.to_owned(), group: known.group.to_owned(), fields, values }
    }
}

fn plain_reason(fields: &serde_json::Map<String, serde_json::Value>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let _ = match value {
            serde_json::Value::String(value) => write!(text, "{name} = {value}"),
            value => write!(text, "{name} = {value}"),
        };
    }
    text
}

/// Line breaks in a title would let a text from the chain look like another line of the message.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `0x1234…abcd`
fn short(value: &str) -> String {
    let count = value.chars().count();
    if count <= 13 {
        return value.to_owned();
    }
    let head: String = value.chars().take(6).collect();
    let tail: String = value.chars().skip(count - 4).collect();
    format!("{head}…{tail}")
}

/// A whole number with its decimal point moved: `1500000|units(6)` is `1.5`.
fn units(value: &Value, decimals: usize) -> Result<String, minijinja::Error> {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || decimals > 255 {
        let detail = format!("units needs a whole number and at most 255 decimals, not {text} and {decimals}");
        return Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, detail));
    }
    let padded = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, fraction) = padded.split_at(padded.len() - decimals);
    let fraction = fraction.trim_end_matches('0');
    Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A share as per cent: `0.256|percent` is `25.6 %`.
fn percent(value: f64) -> String {
    let text = format!("{:.1}", value * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known<'static> {
        Known {
            alert: "whales",
            group: "0xab",
            entity: "0xab",
            severity: "high",
            status: "active",
            score: 4.0,
            occurrences: 3,
            findings: 2,
            entity_count: 1,
            opened_at_ms: 0,
            last_seen_at_ms: 1_000,
        }
    }

    fn reason(template: &str, fields: &str) -> String {
        let texts = Texts { reason: Some(template.to_owned()), ..Texts::default() };
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(fields).unwrap();
        let columns: Vec<&str> = parsed.keys().map(String::as_str).collect();
        Templates::new(texts, &columns).unwrap().reason(&Context::new(fields, known()))
    }

    #[test]
    fn values_are_typed_and_told_as_they_are() {
        let fields = r#"{"total":100,"failed":7,"amount":"1500000","to":"0x00000000219ab540356cbb839cbe05303d7705fa"}"#;
        assert_eq!(reason("{{ failed }} of {{ total }}", fields), "7 of 100");
        assert_eq!(reason("{{ (failed / total)|percent }}", fields), "7 %");
        assert_eq!(reason("{{ amount|units(6) }} to {{ to|short }}", fields), "1.5 to 0x0000…05fa");
        assert_eq!(
            reason("{% if failed > 5 %}many{% endif %} since {{ opened_at }}", fields),
            "many since 1970-01-01T00:00:00Z"
        );
        // What looks like a template in a value is text.
        assert_eq!(reason("{{ name }}", r#"{"name":"{{ alert }} <b>"}"#), "{{ alert }} <b>");
    }

    #[test]
    fn unknown_names_are_found_before_anything_fires() {
        let texts = |reason: &str| Texts { reason: Some(reason.to_owned()), ..Texts::default() };
        let error = Templates::new(texts("{{ faild }} of {{ total }}"), &["failed", "total"]).unwrap_err();
        assert_eq!(error.to_string(), "template \"reason\" uses \"faild\", which is no column of the view");
        assert!(matches!(Templates::new(texts("{{ failed"), &["failed"]), Err(TemplateError::Syntax { .. })));
        assert!(Templates::new(texts("{% for n in range(3) %}{{ n }}{% endfor %}"), &[]).is_ok());
    }

    #[test]
    fn without_templates_there_are_texts_too() {
        let templates = Templates::new(Texts::default(), &[]).unwrap();
        let context = Context::new(r#"{"a":1,"b":"x"}"#, known());
        assert_eq!(templates.title(&context), "whales: 0xab");
        assert_eq!(templates.reason(&context), "a = 1, b = x");
        assert_eq!(templates.body(&context), "");
    }

    #[test]
    fn a_title_is_one_line() {
        let texts = Texts { title: Some("{{ name }}".to_owned()), ..Texts::default() };
        let templates = Templates::new(texts, &["name"]).unwrap();
        assert_eq!(templates.title(&Context::new(r#"{"name":"a\r\n\nb"}"#, known())), "a b");
    }
}
