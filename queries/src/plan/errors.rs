//! DataFusion's errors as diagnostics of the job.

use std::fmt;

use datafusion_common::{DataFusionError, SchemaError};
use datafusion_sql::sqlparser::tokenizer::Span as TokenSpan;

use super::registry::registry;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean, nearest};
use crate::functions;
use crate::sql::{LineIndex, lower_first};

/// A mistake found inside DataFusion's planner, where places are sqlparser's.
#[derive(Debug)]
pub(super) struct PlanIssue {
    code: Code,
    message: String,
    span: TokenSpan,
    words: Vec<String>,
    hint: Option<String>,
}

impl PlanIssue {
    pub(super) fn new(code: Code, message: impl Into<String>, span: TokenSpan) -> PlanIssue {
        PlanIssue { code, message: message.into(), span, words: Vec::new(), hint: None }
    }

    pub(super) fn hint(mut self, hint: &str) -> PlanIssue {
        self.hint = Some(hint.to_owned());
        self
    }

    /// Words of which the first that stands in the query is the place, where there is no span.
    pub(super) fn near(mut self, words: impl IntoIterator<Item = String>) -> PlanIssue {
        self.words.extend(words);
        self
    }
}

impl fmt::Display for PlanIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlanIssue {}

impl From<PlanIssue> for DataFusionError {
    fn from(issue: PlanIssue) -> DataFusionError {
        DataFusionError::External(Box::new(issue))
    }
}

/// A part of the job's text, to find places in.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) lines: &'a LineIndex,
    pub(super) within: Span,
    /// Whether the query is not the text that stands there, so that places in it mean nothing.
    pub(super) made: bool,
}

impl Place<'_> {
    /// Where a word stands first; the first word of the part if it is nowhere.
    pub(super) fn find(&self, word: &str) -> Span {
        self.word(word).unwrap_or_else(|| self.start())
    }

    /// Where a word stands first: in the part, or in the bodies of functions, which the part may call.
    fn word(&self, word: &str) -> Option<Span> {
        let in_bodies = || self.lines.bodies.iter().find_map(|body| self.lines.find_word(*body, word));
        self.lines.find_word(self.within, word).or_else(in_bodies)
    }

    /// The first word of the part.
    pub(super) fn start(&self) -> Span {
        self.lines.word_at(self.within.start)
    }

    /// The diagnostic of an error.
    pub(super) fn diagnose(&self, error: &DataFusionError) -> Diagnostic {
        self.diagnose_at(error, None)
    }

    fn diagnose_at(&self, error: &DataFusionError, span: Option<Span>) -> Diagnostic {
        match error {
            DataFusionError::Diagnostic(diagnostic, inner) => {
                let own = diagnostic.span.filter(|_| !self.made).and_then(|span| self.lines.planner_span(span));
                self.diagnose_at(inner, span.or(own))
            }
            DataFusionError::Context(_, inner) => self.diagnose_at(inner, span),
            DataFusionError::Shared(inner) => self.diagnose_at(inner, span),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => self.diagnose_at(first, span),
                None => self.other(Code::Internal, "the planner failed without a reason", span),
            },
            DataFusionError::External(inner) => self.external(inner.as_ref(), span),
            DataFusionError::SchemaError(inner, _) => self.schema(inner, span),
            DataFusionError::SQL(inner, _) => self.other(Code::Syntax, &inner.to_string(), span),
            DataFusionError::NotImplemented(text) => self.plan(text, span),
            DataFusionError::Plan(text) => self.plan(text, span),
            DataFusionError::Execution(text) => self.other(Code::TypeMismatch, text, span),
            DataFusionError::ArrowError(inner, _) => self.other(Code::TypeMismatch, &inner.to_string(), span),
            other => self.other(Code::Internal, &other.strip_backtrace(), span),
        }
    }

    fn external(&self, error: &(dyn std::error::Error + 'static), span: Option<Span>) -> Diagnostic {
        if let Some(diagnostic) = error.downcast_ref::<Diagnostic>() {
            let quoted = diagnostic.message.split('"').nth(1).unwrap_or_default();
            return diagnostic.clone().or_at(span).or_at(self.find(quoted));
        }
        if let Some(issue) = error.downcast_ref::<PlanIssue>() {
            let own = if self.made { None } else { self.lines.span(issue.span) };
            return Diagnostic::new(issue.code, &issue.message, own)
                .or_at(span)
                .or_at(issue.words.iter().find_map(|word| self.word(word)))
                .or_at(self.start())
                .with_hint_opt(issue.hint.clone());
        }
        if let Some(inner) = error.downcast_ref::<DataFusionError>() {
            return self.diagnose_at(inner, span);
        }
        self.other(Code::Internal, &error.to_string(), span)
    }

    fn schema(&self, error: &SchemaError, span: Option<Span>) -> Diagnostic {
        match error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let of = field.relation.as_ref().map(|relation| format!(" in \"{relation}\"")).unwrap_or_default();
                let message = format!("column \"{}\" does not exist{of}", field.name);
                let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
                let hint = did_you_mean(&field.name, names.iter().copied()).or_else(|| listing(&names));
                Diagnostic::new(Code::UnknownColumn, message, span)
                    .or_at(field.spans().first().and_then(|span| self.lines.planner_span(span)))
                    .or_at(self.find(&field.name))
                    .with_hint_opt(hint)
            }
            SchemaError::AmbiguousReference { field } => {
                let message = format!("column \"{}\" is in more than one table", field.name);
                Diagnostic::new(Code::AmbiguousColumn, message, span)
                    .or_at(self.find(&field.name))
                    .with_hint(format!("write the table in front: table.{}", field.name))
            }
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                Diagnostic::new(Code::DuplicateName, format!("two columns are named \"{name}\""), span)
                    .or_at(self.find(name))
                    .with_hint("rename one of them with AS")
            }
        }
    }

    fn plan(&self, text: &str, span: Option<Span>) -> Diagnostic {
        if let Some((function, _)) = text.split_once(" does not take (") {
            // Of one of our functions, inside of what DataFusion says about it.
            let place = span.or(self.word(function.rsplit(' ').next().unwrap_or_default()));
            let own = text.rsplit_once("Error during planning: ").map_or(text, |(_, own)| own);
            return self.other(Code::TypeMismatch, own, place);
        }
        if let Some(name) = between(text, "Invalid function '", "'") {
            if name == "array" {
                return Diagnostic::new(Code::Unsupported, "ARRAY(subquery) is not supported yet", span)
                    .or_at(self.find(name))
                    .with_hint("write (SELECT array_agg(x ORDER BY …) FROM …), which is NULL where there is no row");
            }
            if let Some((_, reason)) = functions::EXCLUDED.iter().find(|(excluded, _)| *excluded == name) {
                let message = format!("function \"{name}\" does not stand here: it {reason}");
                return Diagnostic::new(Code::Unsupported, message, span).or_at(self.find(name));
            }
            let names = registry().names();
            return Diagnostic::new(Code::UnknownFunction, format!("function \"{name}\" does not exist"), span)
                .or_at(self.find(name))
                .with_hint_opt(did_you_mean(name, names.iter().copied()));
        }
        if text.contains("must be in GROUP BY") || text.contains("must appear in the GROUP BY") {
            return self.not_grouped(text, span);
        }
        if text.contains("LATERAL syntax is not supported") {
            return Diagnostic::new(
                Code::Unsupported,
                "LATERAL is the right side of CROSS, INNER and LEFT JOIN only",
                span,
            )
            .or_at(self.find("lateral"))
            .with_hint("write LEFT JOIN LATERAL, or UNION ALL with the rows that have no partner");
        }
        if text.contains("Unsupported SQL type") {
            return self.unknown_type(text, span);
        }
        if text.contains("unique expression names") {
            let name = named(between(text, "\"", "\"").unwrap_or_default());
            return Diagnostic::new(Code::DuplicateName, format!("two columns are named \"{name}\""), span)
                .or_at(self.find(name))
                .with_hint("rename one of them with AS");
        }
        if text.contains("nested inside") || text.contains("Aggregate function calls cannot") {
            let message = text.split(':').next().unwrap_or(text);
            let inner = between(text, "'", "(").unwrap_or_default();
            return self
                .other(Code::AggregateMisuse, message, span.or(self.word(inner)))
                .with_hint("compute the inner one in a subquery");
        }
        if text.contains("aggregate functions are not allowed") || text.contains("Aggregate") && text.contains("WHERE")
        {
            let place = span.or(self.word("where"));
            return self.other(Code::AggregateMisuse, text, place).with_hint("write HAVING after GROUP BY");
        }
        let cannot = ["not supported", "nsupported", "not implemented", "not yet"];
        let code = if cannot.iter().any(|word| text.contains(word)) { Code::Unsupported } else { Code::TypeMismatch };
        self.other(code, text, span)
    }

    fn unknown_type(&self, text: &str, span: Option<Span>) -> Diagnostic {
        let name = text.split_whitespace().last().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
        let hint = nearest(name, TYPES.iter().copied()).map(|near| format!("did you mean {}?", near.to_uppercase()));
        Diagnostic::new(Code::UnknownType, format!("type \"{name}\" does not exist"), span)
            .or_at(self.find(name))
            .with_hint_opt(hint)
    }

    fn not_grouped(&self, text: &str, span: Option<Span>) -> Diagnostic {
        let column = between(text, "column \"", "\"");
        let shown = column.map(|column| column.rsplit('.').next().unwrap_or(column)).unwrap_or("a column");
        Diagnostic::new(Code::AggregateMisuse, format!("column \"{shown}\" is neither grouped nor aggregated"), span)
            .or_at(self.find(shown))
            .with_hint(format!("add {shown} to GROUP BY or put it into an aggregate such as max({shown})"))
    }

    fn other(&self, code: Code, text: &str, span: Option<Span>) -> Diagnostic {
        let quoted = between(text, "'", "'").or_else(|| between(text, "\"", "\"")).unwrap_or_default();
        let last = quoted.rsplit('.').next().unwrap_or_default();
        let callee =
            text.split('(').next().and_then(|before| before.split([' ', '\'']).next_back()).unwrap_or_default();
        let found = [quoted, last, callee].into_iter().find_map(|word| self.word(word));
        Diagnostic::new(code, first_sentence(text), span.or(found)).or_at(self.start())
    }
}

/// Names of types people write, for suggestions.
const TYPES: &[&str] = &[
    "bigint",
    "int",
    "integer",
    "smallint",
    "text",
    "varchar",
    "boolean",
    "double",
    "real",
    "decimal",
    "numeric",
    "timestamp",
    "date",
    "interval",
    "bytea",
    "uint256",
    "int256",
    "address",
    "hash",
];

/// What a column is called that DataFusion shows as this.
fn named(expr: &str) -> &str {
    let cast = expr.strip_prefix("CAST(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(" AS "));
    if let Some((inner, _)) = cast {
        return named(inner);
    }
    let name = expr.rsplit_once(" AS ").map_or(expr, |(_, alias)| alias);
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    if plain { name.rsplit('.').next().unwrap_or(name) } else { name }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let start = text.find(before)? + before.len();
    let len = text[start..].find(after)?;
    Some(&text[start..start + len])
}

/// The columns there are, if they are few enough to read.
fn listing(names: &[&str]) -> Option<String> {
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty() && names.len() <= 8).then(|| format!("the columns are {}", names.join(", ")))
}

/// One line, lower case, without a full stop and without DataFusion's prefixes.
fn first_sentence(text: &str) -> String {
    let mut line = text.lines().next().unwrap_or_default().trim();
    for prefix in ["Error during planning: ", "This feature is not implemented: ", "Execution error: "] {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    lower_first(line.split(". ").next().unwrap_or(line).trim_end_matches(['.', ' ']))
}
