//! The shell on a terminal.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::super::{CliError, print};
use super::helper::Assistant;
use super::statements::Statements;

/// Lines that the history keeps.
const HISTORY_LINES: usize = 10_000;

/// Reads and runs statements until Ctrl-D or `\q`.
pub(super) fn run(statements: &mut Statements) -> Result<(), CliError> {
    let failed = |source: ReadlineError| CliError::Terminal(Box::new(source));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)
        .map_err(failed)?
        .history_ignore_space(true)
        .build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Assistant::new()));
    let history = history_file();
    if let Some(path) = &history {
        // A history that is not there yet, or cannot be read, is an empty one.
        drop(editor.load_history(path));
    }
    print("highwater: SQL ends with ; and \\? tells the rest\n")?;
    let mut known = BTreeSet::new();
    loop {
        teach(statements, &mut editor, &mut known);
        match editor.readline("sql> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                remember(&mut editor, history.as_ref(), &line);
                if is_quit(&line) {
                    return Ok(());
                }
                // What failed was told; the shell goes on.
                statements.run("sql", &line)?;
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}

fn is_quit(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(';'), "\\q" | "quit" | "exit")
}

fn remember(editor: &mut Editor<Assistant, DefaultHistory>, history: Option<&PathBuf>, line: &str) {
    // A history that cannot be written is no reason to stop.
    let added = editor.add_history_entry(line.trim_end());
    if let (Ok(true), Some(path)) = (added, history) {
        drop(editor.append_history(path));
    }
}

/// Tells the assistant the names there are, if they are others than before.
fn teach(statements: &Statements, editor: &mut Editor<Assistant, DefaultHistory>, known: &mut BTreeSet<String>) {
    let names: BTreeSet<String> = statements.session.names().into_iter().collect();
    if names == *known {
        return;
    }
    let mut words = names.clone();
    for name in &names {
        if let Ok(columns) = statements.session.columns_of(name) {
            words.extend(columns.fields().iter().map(|field| field.name().clone()));
        }
    }
    *known = names;
    if let Some(assistant) = editor.helper_mut() {
        assistant.learn(words);
    }
}

/// Where the history is kept: in the user's data directory; nowhere without one.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    let folder = data.join("highwater");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
