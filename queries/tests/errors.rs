//! What a user is told about typical mistakes: each `errors/*.sql` fails with just the text of its `*.txt`.

#[path = "plans/catalog.rs"]
mod catalog;

use std::collections::BTreeSet;

use catalog::{StaticCatalog, golden};
use highwater::diagnostic::Code;
use highwater::plan::plan;
use highwater::sql::parse;

#[test]
fn mistakes_are_told() {
    golden("errors", |name, text| {
        let mistakes = match parse(text).and_then(|job| plan(&job, &mut StaticCatalog)) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes,
        };
        assert!(!mistakes.is_empty(), "{name} has no mistake");
        let shown: Vec<String> = mistakes.iter().map(|mistake| mistake.render(name, text, false)).collect();
        for mistake in &mistakes {
            assert!(mistake.span.is_some_and(|span| span.end <= text.len()), "{name}: {mistake} has no place");
            assert!(mistake.notes().len() <= 2, "{name}: {mistake} has too many notes");
            assert!(!mistake.message.ends_with('.'), "{name}: {mistake} ends in a full stop");
            let first = mistake.message.chars().next().unwrap_or('A');
            let constant = mistake.message.split([' ', '(']).next().is_some_and(|word| word == word.to_uppercase());
            assert!(!first.is_uppercase() || constant, "{name}: {mistake} starts in upper case");
        }
        shown.join("\n\n") + "\n"
    });
}

#[test]
fn codes_are_unique_and_told() {
    let texts: BTreeSet<&str> = Code::ALL.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(texts.len(), Code::ALL.len());
    for (code, doc) in Code::ALL {
        assert!(code.as_str().len() == 5 && code.as_str().starts_with('Q'), "{code}");
        assert!(doc.trim().ends_with('.'), "{code} has no sentence");
    }
}

#[test]
fn colour_is_optional() {
    let text = "CREATE SINK x FROM y WITH (connector = 'stdout')";
    let mistakes = parse(text).and_then(|job| plan(&job, &mut StaticCatalog)).expect_err("there is no view y");
    assert!(!mistakes[0].render("job.sql", text, false).contains('\u{1b}'));
    assert!(mistakes[0].render("job.sql", text, true).contains('\u{1b}'));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let text = "CREATE SECRET token WITH (backend = 'env', key = 'X');
        CREATE SOURCE eth WITH (connector = 'simulator');
        CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks;
        CREATE SINK s FROM v WITH (connector = 'parquet', path = SECRET token)";
    let job = parse(text).expect("the job parses");
    assert!(!format!("{job:?}").contains(catalog::SECRET_VALUE));
    let planned = plan(&job, &mut StaticCatalog).expect("the job is right");
    assert_eq!(planned.sinks[0].options[0].value, catalog::SECRET_VALUE);
    assert!(!format!("{planned:?}").contains(catalog::SECRET_VALUE));
}
