//! The reference pages, made from the documentation that the code carries.

use std::fmt::Write as _;

use arrow::datatypes::Schema;
use highwater_connectors::SOURCES;
use highwater_engine::model::evm;
use highwater_engine::options::OptionDoc;
use highwater_operators::mev::RELATIONS;
use highwater_sinks::SINKS;

use super::args::ReferencePage;
use crate::diagnostic::Code;
use crate::plan::{CONSTRUCTS, DIFFERENCES, sql_type, table_functions};
use crate::sql::STATEMENTS;

/// One page as Markdown.
pub(super) fn page(page: ReferencePage) -> String {
    match page {
        ReferencePage::Sql => sql(),
        ReferencePage::Functions => functions(),
        ReferencePage::Tables => tables(),
        ReferencePage::Connectors => connectors(),
        ReferencePage::Errors => errors(),
    }
}

/// The language: what its statements and constructs say of themselves, and a text on what belongs to none of them.
fn sql() -> String {
    let mut text = String::from(
        "# The language\n\nA job is one SQL file: statements ended by `;`, comments as `--` or `/* */`. SELECT is \
         PostgreSQL's as DataFusion reads it; the statements around it are ours.\n\n## Statements\n",
    );
    let statements = |text: &mut String, session: bool| {
        for statement in STATEMENTS.iter().filter(|statement| statement.session == session) {
            let _ = writeln!(text, "\n```\n{}\n```\n\n{}", statement.syntax, statement.doc);
        }
    };
    statements(&mut text, false);
    text.push_str("\n## In sessions\n\nAlso in `highwater sql` and `highwater slt`:\n");
    statements(&mut text, true);
    text.push_str("\n## Queries\n\n| SQL | what holds | state |\n|---|---|---|\n");
    let cell = |text: &str| text.replace('|', "\\|");
    for construct in CONSTRUCTS {
        let _ = writeln!(text, "| {} | {} | {} |", cell(construct.sql), cell(construct.doc), cell(construct.state));
    }
    text.push_str("\n## Table functions\n\n| in FROM | what it gives |\n|---|---|\n");
    for (usage, doc) in table_functions() {
        let _ = writeln!(text, "| `{}` | {} |", cell(usage), cell(doc));
    }
    text.push_str("\n[Functions and aggregates](functions.md).\n\n## Where answers differ from PostgreSQL\n\n");
    for difference in DIFFERENCES {
        let _ = writeln!(text, "* {difference}");
    }
    text.push_str("\n## Options\n\n");
    text.push_str(include_str!("language.md"));
    text
}

fn functions() -> String {
    let mut text = String::from(
        "# SQL functions\n\nBeside these, every scalar function of DataFusion that reads no clock and no random number.\n\n",
    );
    text.push_str("| function | meaning | example | gives |\n|---|---|---|---|\n");
    for function in crate::functions::docs() {
        let cell = |text: &str| text.replace('|', "\\|");
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            cell(function.signature),
            cell(function.doc),
            code(function.example),
            code(function.result)
        );
    }
    text
}

fn tables() -> String {
    let mut text = String::from(
        "# Tables of an EVM source\n\nA source's name is the schema of its tables: `eth.transactions`. Every table \
         starts with `chain, chain_id, block_number, block_hash, block_timestamp`.\n",
    );
    for table in evm::tables() {
        table_section(&mut text, table.name, table.about, &table.schema);
    }
    text.push_str(
        "\n# Relations made of them\n\nMade block by block where a job reads them; a reorg takes their rows back \
         with the block.\n",
    );
    for relation in RELATIONS {
        table_section(&mut text, relation.name, relation.about, &(relation.schema)());
        let inputs = relation
            .inputs
            .iter()
            .map(|input| format!("`{}`{}", input.name, if input.optional { " (if there)" } else { "" }));
        let _ = writeln!(text, "\nReads {}.", inputs.collect::<Vec<_>>().join(", "));
        if let Some((key, bound)) = relation.state {
            let _ = writeln!(text, "State: {key}; bounded by {bound}.");
        }
    }
    text
}

fn table_section(text: &mut String, name: &str, about: &str, schema: &Schema) {
    let columns = schema.fields().iter().skip(evm::COMMON_COLUMNS).map(|field| {
        let optional = if field.is_nullable() { "?" } else { "" };
        format!("{} {}{optional}", field.name(), sql_type(field))
    });
    let _ = writeln!(text, "\n### {name}\n\n{about}\n\n`{}`", columns.collect::<Vec<_>>().join("`, `"));
}

fn connectors() -> String {
    let mut text = String::from("# Connectors\n\n## Sources\n\n`CREATE SOURCE name WITH (connector = '…', …)`\n");
    for source in SOURCES {
        section(&mut text, source.name(), source.about(), source.options());
    }
    text.push_str("\n## Sinks\n\n`CREATE SINK name FROM view WITH (connector = '…', …) [EMIT CHANGES | ON WINDOW CLOSE | ON FINALITY]`\n");
    for sink in SINKS {
        section(&mut text, sink.name(), sink.about(), sink.options());
    }
    text
}

fn section(text: &mut String, name: &str, about: &str, options: &[OptionDoc]) {
    let _ = writeln!(text, "\n### {name}\n\n{about}\n");
    text.push_str("| option | type | default | meaning | example |\n|---|---|---|---|---|\n");
    for option in options {
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | `{}` |",
            option.name,
            cell(option.kind),
            cell(option.default),
            cell(option.doc),
            cell(option.example)
        );
    }
}

fn errors() -> String {
    let mut text = String::from(
        "# Diagnostics\n\nCodes are stable. A job with a mistake is not started; the exit code is 2.\n\n| code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in Code::ALL {
        let _ = writeln!(text, "| {} | {} |", code.as_str(), meaning.trim().replace('|', "\\|"));
    }
    text
}
