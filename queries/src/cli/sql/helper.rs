//! What helps while a line is edited: completion, and when a statement is whole.

use std::collections::BTreeSet;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::functions;
use crate::sql::is_complete;

/// The words that a statement is made of.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "ASOF",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "CUBE",
    "CURRENT",
    "DELETE",
    "DESC",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FOLLOWING",
    "FROM",
    "FULL",
    "GROUP",
    "GROUPING SETS",
    "HAVING",
    "HOP",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MATCH_CONDITION",
    "MATERIALIZED",
    "MUTUALLY",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "PRIMARY KEY",
    "PROGRESS",
    "QUALIFY",
    "RANGE",
    "RECURSIVE",
    "REPLACE",
    "RIGHT",
    "ROLLUP",
    "ROWS",
    "SELECT",
    "SET",
    "SNAPSHOT",
    "SUBSCRIBE",
    "TABLE",
    "THEN",
    "TO",
    "TRUE",
    "TUMBLE",
    "UNBOUNDED",
    "UNION",
    "UP TO",
    "UPDATE",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Completes words and waits for the semicolon.
pub(super) struct Assistant {
    functions: Vec<String>,
    /// Tables, views and their columns.
    names: BTreeSet<String>,
}

impl Assistant {
    pub(super) fn new() -> Assistant {
        let scalar = functions::scalar_functions();
        let aggregates = functions::aggregate_functions();
        let scalar = scalar.iter().map(|function| function.name().to_owned());
        let aggregates = aggregates.iter().map(|function| function.name().to_owned());
        let own = functions::docs().into_iter().map(|doc| doc.name.to_owned());
        let all: BTreeSet<String> = scalar.chain(aggregates).chain(own).collect();
        let is_name = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        Assistant { functions: all.into_iter().filter(is_name).collect(), names: BTreeSet::new() }
    }

    /// The names that there are now.
    pub(super) fn learn(&mut self, names: BTreeSet<String>) {
        self.names = names;
    }

    /// Where the word before the cursor starts, and what it may become: names first.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = &line[..at];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let start = before
            .rfind(|c| !is_word(c))
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let word = before[start..].to_lowercase();
        if word.is_empty() {
            return (start, Vec::new());
        }
        let fits = |name: &str| name.to_lowercase().starts_with(&word);
        let quoted = |name: &String| {
            let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if plain { name.clone() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
        };
        let mut found: Vec<String> = self.names.iter().filter(|name| fits(name)).map(quoted).collect();
        if before.trim_start().starts_with('\\') {
            return (start, found);
        }
        found.extend(self.functions.iter().filter(|name| fits(name)).map(|name| format!("{name}(")));
        let upper = before[start..].chars().next().is_some_and(char::is_uppercase);
        let keyword = |word: &&&str| if upper { (**word).to_owned() } else { word.to_lowercase() };
        found.extend(KEYWORDS.iter().filter(|word| fits(word)).map(|word| keyword(&word)));
        (start, found)
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Helper for Assistant {}

/// Whether an input can be carried out: a command of the shell, nothing, or statements up to a semicolon.
fn is_whole(input: &str) -> bool {
    input.trim_start().starts_with('\\') || is_complete(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> Vec<String> {
        let mut assistant = Assistant::new();
        assistant.learn(["trades", "trader_count", "Odd name"].map(str::to_owned).into());
        assistant.candidates(line, line.len()).1
    }

    #[test]
    fn names_come_before_functions_and_keywords() {
        assert_eq!(completed("SELECT * FROM trade"), ["trader_count", "trades"]);
        assert_eq!(completed("SELECT wilson_l"), ["wilson_lower("]);
        assert_eq!(completed("SELECT od"), ["\"Odd name\""]);
        assert_eq!(completed("SELECT 1 HAV"), ["HAVING"]);
        assert_eq!(completed("select 1 hav"), ["having"]);
        assert_eq!(completed("\\d tra"), ["trader_count", "trades"]);
        assert_eq!(completed("SELECT "), [""; 0]);
        assert!(completed("SELECT percentile_").iter().any(|name| name == "percentile_cont("));
    }

    #[test]
    fn the_word_before_the_cursor_is_completed() {
        let assistant = Assistant::new();
        let (start, found) = assistant.candidates("SELECT é, subscr FROM t", "SELECT é, subscr".len());
        assert_eq!((start, found), ("SELECT é, ".len(), vec!["subscribe".to_owned()]));
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (input, whole) in [
            ("SELECT 1", false),
            ("SELECT 1\n;", true),
            ("\\d", true),
            ("  \\d trades", true),
            ("", true),
            ("SELECT 'a;\n", false),
            ("CREATE VIEW v AS\nSELECT 1; -- done", true),
        ] {
            assert_eq!(is_whole(input), whole, "{input:?}");
        }
    }
}
