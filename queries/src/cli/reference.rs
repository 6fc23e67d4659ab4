//! The reference pages, made from the documentation that the code carries.

use std::fmt::Write as _;

use highwater_connectors::SOURCES;
use highwater_engine::options::OptionDoc;
use highwater_sinks::SINKS;

use super::args::ReferencePage;
use crate::diagnostic::Code;

/// One page as Markdown.
pub(super) fn page(page: ReferencePage) -> String {
    match page {
        ReferencePage::Functions => functions(),
        ReferencePage::Connectors => connectors(),
        ReferencePage::Errors => errors(),
    }
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
