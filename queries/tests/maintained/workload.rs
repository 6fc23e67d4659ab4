//! One query of a workload, maintained in every way and compared.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use highwater::session::{Answer, Feeding, Maintained, Session};
use highwater_engine::model::Delta;

use crate::dialect;
use crate::oracle::{Oracle, texts};
use crate::random::Random;

/// The rows of a table, each as SQL writes it between parentheses.
pub(crate) type Rows = Vec<String>;

/// Rows with their multiplicity.
type Contents = BTreeMap<String, i64>;

/// How many rows an INSERT has.
const CHUNK: usize = 64;
/// Of tables of more rows than this some rows come and go for good, with NULLs in them.
const SMALL: usize = 40;

/// A query, the tables it reads, and what it should give.
struct Case {
    name: String,
    text: String,
    session: Session,
    oracle: Oracle,
}

/// The files of a workload.
pub(crate) fn folder(workload: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(workload)
}

fn read(workload: &str, name: &str) -> String {
    let path = folder(workload).join(format!("{name}.sql"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The seed of the order in which rows come and go: `HIGHWATER_SEED`, or one of the query's own.
fn seed(name: &str) -> u64 {
    match std::env::var_os("HIGHWATER_SEED") {
        Some(seed) => seed.to_str().and_then(|seed| seed.parse().ok()).expect("HIGHWATER_SEED is a number"),
        None => name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)),
    }
}

/// Maintains a query while rows come in one tick, one a tick, and while they come and go, with one worker and two, and
/// compares it with the oracle within each history and at its end.
#[expect(clippy::print_stdout, reason = "the seed of a failure")]
pub(crate) fn check(workload: &str, name: &str, tables: Vec<(&'static str, Rows)>) {
    let mut case = Case::new(workload, name, tables);
    let seed = seed(name);
    println!("{workload} {name}: HIGHWATER_SEED={seed}");
    let rows = case.holds(Feeding::Batch, 1, 1);
    assert!(rows.iter().any(|row| !row.contains("=null")), "{workload} {name} gives no rows: {rows:?}");
    case.holds(Feeding::Batch, 2, 1);
    case.holds(Feeding::Row, 2, 2);
    let one = case.maintained(Feeding::Churn(seed), 1);
    let two = case.maintained(Feeding::Churn(seed), 2);
    assert_eq!(lines(&one), lines(&two), "{} differs between workers, seed {seed}", case.name);
    case.agrees(&one, &format!("{:?}", Feeding::Churn(seed)), 6);
}

/// Every change of every tick.
fn lines(maintained: &Maintained) -> Vec<(usize, i64, String)> {
    let ticks = maintained.ticks.iter().enumerate();
    let deltas = ticks.flat_map(|(tick, deltas)| deltas.iter().map(move |delta| (tick, delta)));
    let rows = deltas.flat_map(|(tick, delta)| {
        texts(&delta.batch).into_iter().enumerate().map(move |(row, text)| (tick, delta.diffs.at(row), text))
    });
    rows.collect()
}

impl Case {
    fn new(workload: &str, name: &str, tables: Vec<(&'static str, Rows)>) -> Case {
        let text = read(workload, name);
        let mut session = Session::new();
        execute(&mut session, &read(workload, "tables"));
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let mut schemas = Vec::new();
        for (table, rows) in tables.into_iter().filter(|(table, _)| words.contains(table)) {
            fill(&mut session, table, rows);
            schemas.push((table, schema(&mut session, table)));
        }
        let oracle = Oracle::new(&schemas, &dialect::oracle(&text));
        Case { name: format!("{workload} {name}"), text, session, oracle }
    }

    fn maintained(&mut self, feeding: Feeding, workers: usize) -> Maintained {
        self.session.feeding = feeding;
        self.session.workers = workers;
        let maintained = self.session.maintain(&self.text, 0);
        maintained.unwrap_or_else(|error| panic!("{} cannot be maintained ({feeding:?}): {error}", self.name))
    }

    /// Maintains the query and compares it at so many points of the history; gives the rows at the end.
    fn holds(&mut self, feeding: Feeding, workers: usize, points: usize) -> Rows {
        let maintained = self.maintained(feeding, workers);
        self.agrees(&maintained, &format!("{feeding:?}, {workers} workers"), points)
    }

    fn agrees(&self, maintained: &Maintained, how: &str, points: usize) -> Rows {
        let ticks = maintained.ticks.len();
        let compared: Vec<usize> = (1..=points).map(|point| (ticks * point / points).max(1) - 1).collect();
        let mut inputs: BTreeMap<String, Vec<Delta>> = BTreeMap::new();
        let mut contents = Contents::new();
        for (tick, (came, changed)) in maintained.inputs.iter().zip(&maintained.ticks).enumerate() {
            for (table, delta) in came {
                inputs.entry(table.clone()).or_default().push(delta.clone());
            }
            for delta in changed {
                for (row, text) in texts(&delta.batch).into_iter().enumerate() {
                    *contents.entry(text).or_default() += delta.diffs.at(row);
                }
            }
            contents.retain(|_, count| *count != 0);
            if compared.contains(&tick) {
                let mut expected = Contents::new();
                self.oracle.rows(&inputs).into_iter().for_each(|row| *expected.entry(row).or_default() += 1);
                assert_eq!(contents, expected, "{} after tick {tick} of {ticks}: {how}", self.name);
            }
        }
        self.agrees_in_order(maintained, &inputs, how)
    }

    /// The end with its order, which the ORDER BY of every query here decides.
    fn agrees_in_order(&self, maintained: &Maintained, inputs: &BTreeMap<String, Vec<Delta>>, how: &str) -> Rows {
        let shown = maintained.rows().unwrap_or_else(|error| panic!("{}: {error} ({how})", self.name));
        let rows = texts(&shown.batch);
        if shown.ordered {
            assert_eq!(rows, self.oracle.rows(inputs), "{}: {how}", self.name);
        }
        rows
    }
}

fn execute(session: &mut Session, text: &str) -> Vec<Answer> {
    session.execute(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Rows that come and go, then those that stay.
fn fill(session: &mut Session, table: &str, rows: Rows) {
    let mut random = Random::new(rows.len() as u64);
    let some = rows.len() > SMALL;
    let mut places = 0..rows.len();
    let (mut gone, stay): (Rows, Rows) =
        rows.into_iter().partition(|_| places.next().is_some_and(|at| some && at % 8 == 5));
    if some {
        gone.iter_mut().for_each(|row| *row = with_nulls(row, &mut random));
        insert(session, table, &gone);
        execute(session, &format!("DELETE FROM {table}"));
    }
    stay.chunks(CHUNK).for_each(|rows| insert(session, table, rows));
}

/// The row with some of its values unknown.
fn with_nulls(row: &str, random: &mut Random) -> String {
    let values = row.split(", ").map(|value| if random.below(5) == 0 { "NULL" } else { value });
    values.collect::<Vec<_>>().join(", ")
}

fn insert(session: &mut Session, table: &str, rows: &[String]) {
    execute(session, &format!("INSERT INTO {table} VALUES ({})", rows.join("), (")));
}

fn schema(session: &mut Session, table: &str) -> SchemaRef {
    match execute(session, &format!("SELECT * FROM {table}")).pop() {
        Some(Answer::Rows(rows)) => rows.batch.schema(),
        other => panic!("{other:?}"),
    }
}

/// The joins of a query that have no equal columns, as EXPLAIN shows them.
pub(crate) fn joins_without_keys(workload: &str, name: &str) -> Vec<String> {
    let mut session = Session::new();
    execute(&mut session, &read(workload, "tables"));
    execute(&mut session, &format!("CREATE MATERIALIZED VIEW v AS {}", read(workload, name)));
    match execute(&mut session, "EXPLAIN v").pop() {
        Some(Answer::Text(text)) => {
            text.lines().filter(|line| line.contains(" on []")).map(|line| line.trim().to_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Fails unless the queries are the files of the folder.
pub(crate) fn are_all(workload: &str, queries: &[&str]) {
    let entries = std::fs::read_dir(folder(workload)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> =
        entries.filter_map(|file| file.to_str()?.strip_suffix(".sql").map(str::to_owned)).collect();
    files.retain(|file| file != "tables");
    files.sort();
    assert_eq!(files, queries);
}
