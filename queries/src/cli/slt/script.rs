//! Reads sqllogictest files, with what the parser does not know of them: a comment behind a condition, and a
//! condition before `halt`.

use std::path::{Path, PathBuf};

use sqllogictest::{DefaultColumnType, Record, parse_with_name};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How deep files include each other.
const DEPTH: usize = 16;

/// The records of a file and of those it includes; `labels` are the names of this engine.
///
/// # Errors
/// The file at fault, and why it cannot be read.
pub(super) fn records(file: &Path, labels: &[String]) -> Result<Vec<Record<DefaultColumnType>>, (PathBuf, Failure)> {
    read(file, labels, DEPTH)
}

fn read(file: &Path, labels: &[String], depth: usize) -> Result<Vec<Record<DefaultColumnType>>, (PathBuf, Failure)> {
    let failed = |why: Failure| (file.to_owned(), why);
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.into()))?;
    let name = file.display().to_string();
    let parsed = parse_with_name(&plain(&text, labels), name).map_err(|error| failed(error.into()))?;
    let mut records = Vec::with_capacity(parsed.len());
    for record in parsed {
        let Record::Include { filename, .. } = &record else {
            records.push(record);
            continue;
        };
        let pattern = file.with_file_name(filename).display().to_string();
        let included = glob::glob(&pattern).map_err(|error| failed(error.into()))?;
        let included: Vec<PathBuf> = included.collect::<Result<_, _>>().map_err(|error| failed(error.into()))?;
        if included.is_empty() || depth == 0 {
            let why = if depth == 0 { "includes go deeper than 16 files" } else { "no file is included by" };
            return Err(failed(format!("{why} {pattern}").into()));
        }
        for file in included {
            records.extend(read(&file, labels, depth - 1)?);
        }
    }
    Ok(records)
}

/// The text with its lines where they were.
fn plain(text: &str, labels: &[String]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut conditions = 0;
    for at in 0..lines.len() {
        if let Some((condition, _)) = condition(lines[at]) {
            lines[at] = condition;
            conditions += 1;
            continue;
        }
        if lines[at].trim() == "halt" && conditions > 0 {
            let holds = lines[at - conditions..at]
                .iter()
                .all(|line| condition(line).is_none_or(|(_, label)| holds(line, label, labels)));
            lines[at - conditions..at].fill("");
            if !holds {
                lines[at] = "";
            }
        }
        conditions = 0;
    }
    lines.join("\n") + "\n"
}

/// The condition in a line without the comment behind it, and its label.
fn condition(line: &str) -> Option<(&str, &str)> {
    let condition = line.split('#').next().unwrap_or_default().trim();
    match condition.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["skipif" | "onlyif", label] => Some((condition, label)),
        _ => None,
    }
}

fn holds(condition: &str, label: &str, labels: &[String]) -> bool {
    labels.iter().any(|known| known == label) == condition.starts_with("onlyif")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_may_have_comments_and_stand_before_halt() {
        let labels = ["highwater".to_owned()];
        let read = |text: &str| plain(text, &labels);
        assert_eq!(read("skipif mysql # why\nquery I\nSELECT 1 # x"), "skipif mysql\nquery I\nSELECT 1 # x\n");
        assert_eq!(read("onlyif mssql\nhalt\n\nhalt"), "\n\n\nhalt\n");
        assert_eq!(read("skipif mssql # not there\nhalt"), "\nhalt\n");
        assert_eq!(read("skipif mssql\nonlyif highwater\nhalt"), "\n\nhalt\n");
        assert_eq!(read("skipif mssql\nskipif highwater\nhalt"), "\n\n\n");
        // A condition of another record is none of this one.
        assert_eq!(
            read("skipif highwater\nstatement ok\nSELECT 1\n\nhalt"),
            "skipif highwater\nstatement ok\nSELECT 1\n\nhalt\n"
        );
    }
}
