//! Whether rows are what a file says.
//!
//! Files come from several engines, which write one value in several ways (`1`, `1.0`, `1.000`; `t`, `true`;
//! `2024-01-01T00:00:00Z`, `2024-01-01 00:00:00+00:00`; `0xff`, `\\xff`, `ff`; `{1,2}`, `[1, 2]`): values agree if they are the same text
//! or the same value.

use std::borrow::Cow;
use std::fmt::Write as _;

use arrow::record_batch::RecordBatch;
use md5::{Digest as _, Md5};
use sqllogictest::{DefaultColumnType, SortMode};

use super::text::{classic, values};

/// What a file says of a query.
pub(super) struct Expected<'a> {
    pub(super) types: &'a [DefaultColumnType],
    pub(super) sort: SortMode,
    pub(super) lines: &'a [String],
    pub(super) threshold: u64,
}

/// Compares; gives the difference as text.
pub(super) fn agrees(batch: &RecordBatch, expected: &Expected<'_>) -> Result<(), String> {
    let rows = values(batch);
    if let [line] = expected.lines
        && let Some((count, hash)) = hashed(line)
    {
        return same_hash(&rows, expected, count, hash);
    }
    let width = batch.num_columns();
    let plain = arranged(rows.clone(), expected.sort);
    let classic_rows = arranged(classically(&rows, expected.types), expected.sort);
    let same = [&plain, &classic_rows].into_iter().any(|rows| {
        same_rows(rows, expected, width) || same_values(&rows.concat(), &lines_of(expected.lines), expected.sort)
    });
    if same { Ok(()) } else { Err(difference(&plain, expected)) }
}

fn lines_of(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.trim().to_owned()).collect()
}

/// `30 values hashing to 3c13dee48d9356ae19af2515e05e6b54`
fn hashed(line: &str) -> Option<(usize, &str)> {
    let (count, hash) = line.split_once(" values hashing to ")?;
    Some((count.trim().parse().ok()?, hash.trim()))
}

fn same_hash(rows: &[Vec<String>], expected: &Expected<'_>, count: usize, wanted: &str) -> Result<(), String> {
    let found = rows.iter().map(Vec::len).sum::<usize>();
    if found != count {
        return Err(format!("expected {count} values, found {found}"));
    }
    let hash = |rows: Vec<Vec<String>>| {
        let mut hash = Md5::new();
        for value in rows.concat() {
            hash.update(value.as_bytes());
            hash.update(b"\n");
        }
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let classic_rows = arranged(classically(rows, expected.types), expected.sort);
    let hashes = [hash(classic_rows), hash(arranged(rows.to_vec(), expected.sort))];
    if hashes.iter().any(|hash| hash == wanted) {
        return Ok(());
    }
    Err(format!("the {count} values hash to {}, expected {wanted} (threshold {})", hashes[0], expected.threshold))
}

fn classically(rows: &[Vec<String>], types: &[DefaultColumnType]) -> Vec<Vec<String>> {
    let column = |index: usize| types.get(index).map_or('T', sqllogictest::ColumnType::to_char);
    rows.iter()
        .map(|row| row.iter().enumerate().map(|(index, value)| classic(value, column(index))).collect())
        .collect()
}

fn arranged(mut rows: Vec<Vec<String>>, sort: SortMode) -> Vec<Vec<String>> {
    match sort {
        SortMode::NoSort => rows,
        SortMode::RowSort => {
            rows.sort();
            rows
        }
        SortMode::ValueSort => {
            let mut values = rows.concat();
            values.sort();
            values.into_iter().map(|value| vec![value]).collect()
        }
    }
}

/// One line a row.
fn same_rows(rows: &[Vec<String>], expected: &Expected<'_>, width: usize) -> bool {
    if rows.len() != expected.lines.len() {
        return false;
    }
    let split = |line: &str| -> Vec<String> {
        brackets(line).split_whitespace().flat_map(moments).map(str::to_owned).collect()
    };
    let mut found: Vec<Vec<String>> = rows.iter().map(|row| split(&row.join(" "))).collect();
    let mut wanted: Vec<Vec<String>> = expected.lines.iter().map(|line| split(line)).collect();
    if width == 1 && found == wanted {
        return true;
    }
    if expected.sort != SortMode::NoSort {
        let key = |row: &Vec<String>| row.iter().map(|value| canonical(value)).collect::<Vec<_>>();
        found.sort_by_cached_key(key);
        wanted.sort_by_cached_key(key);
    }
    found.iter().zip(&wanted).all(|(found, wanted)| {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| same_value(found, wanted))
    })
}

/// Lists alike, whether they are written as `{1,2}` or as `[1, 2]`.
fn brackets(line: &str) -> Cow<'_, str> {
    if !line.contains(['{', '[']) {
        return Cow::Borrowed(line);
    }
    Cow::Owned(line.replace('{', "[").replace('}', "]").replace(", ", ","))
}

/// One line a value.
fn same_values(found: &[String], wanted: &[String], sort: SortMode) -> bool {
    if found.len() != wanted.len() {
        return false;
    }
    if sort == SortMode::ValueSort {
        let (mut found, mut wanted) = (found.to_vec(), wanted.to_vec());
        found.sort_by_cached_key(|value| canonical(value));
        wanted.sort_by_cached_key(|value| canonical(value));
        return found.iter().zip(&wanted).all(|(found, wanted)| same_value(found, wanted));
    }
    found.iter().zip(wanted).all(|(found, wanted)| same_value(&brackets(found.trim()), &brackets(wanted)))
}

/// The date and the time of day that a word in ISO 8601 is, or the word; a zone that is UTC is left out, as is a
/// fraction of nothing.
fn moments(word: &str) -> impl Iterator<Item = &str> {
    let is_date = |text: &str| {
        text.len() == 10
            && text.bytes().enumerate().all(|(at, c)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() })
    };
    let (date, time) = match word.split_once('T') {
        Some((date, time)) if is_date(date) => (Some(date), time),
        _ => (None, word),
    };
    let is_time = time.len() >= 8
        && time
            .bytes()
            .take(8)
            .enumerate()
            .all(|(at, c)| if at == 2 || at == 5 { c == b':' } else { c.is_ascii_digit() });
    let time = if is_time {
        let time = ["Z", "+00:00", "+00"].iter().find_map(|zone| time.strip_suffix(zone)).unwrap_or(time);
        if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time }
    } else {
        time
    };
    date.into_iter().chain([time])
}

/// A value in one form: numbers with ten digits, Booleans as words, bytes without a mark.
fn canonical(value: &str) -> String {
    match value {
        "t" | "true" => return "true".to_owned(),
        "f" | "false" => return "false".to_owned(),
        _ => {}
    }
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => format!("{:.9e}", number + 0.0),
        Ok(number) => number.to_string(),
        Err(_) => ["0x", "\\x"].iter().find_map(|mark| value.strip_prefix(mark)).unwrap_or(value).to_owned(),
    }
}

fn same_value(found: &str, wanted: &str) -> bool {
    if found == wanted || canonical(found) == canonical(wanted) {
        return true;
    }
    // A file may show fewer digits than there are.
    match (found.parse::<f64>(), wanted.parse::<f64>(), wanted.split_once('.')) {
        (Ok(number), Ok(_), Some((_, digits))) if found.contains('.') => format!("{number:.*}", digits.len()) == wanted,
        _ => false,
    }
}

fn difference(rows: &[Vec<String>], expected: &Expected<'_>) -> String {
    const SHOWN: usize = 8;
    let mut text = String::from("expected\n");
    let list = |text: &mut String, lines: Vec<String>| {
        for line in lines.iter().take(SHOWN) {
            let _ = writeln!(text, "  {line}");
        }
        if lines.len() > SHOWN {
            let _ = writeln!(text, "  … {} more", lines.len() - SHOWN);
        }
    };
    list(&mut text, expected.lines.to_vec());
    text.push_str("found\n");
    list(&mut text, rows.iter().map(|row| row.join(" ")).collect());
    text.trim_end().to_owned()
}
