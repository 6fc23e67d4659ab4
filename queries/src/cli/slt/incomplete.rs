//! What follows from a statement that is not supported.
//!
//! A table that could not be made, or got not all of its rows, makes whatever reads it fail too. Such a failure says
//! nothing of its own, and is counted with its cause.

use std::collections::BTreeMap;

use super::Fate;

/// The relations that are not what the file means them to be, and why.
#[derive(Debug, Default)]
pub(super) struct Incomplete {
    relations: BTreeMap<String, String>,
}

impl Incomplete {
    /// The fate of a statement in the light of what came before it.
    pub(super) fn follow(&mut self, sql: &str, fate: Fate) -> Fate {
        let words = words(sql);
        let changed = changed(&words);
        if let Fate::Refused(why) = &fate
            && let Some(relation) = changed
        {
            self.relations.entry(relation.to_owned()).or_insert_with(|| why.clone());
            return fate;
        }
        let Fate::Differs(why) = fate else { return fate };
        match words.iter().find_map(|word| self.relations.get(word)) {
            Some(cause) => {
                let cause = cause.clone();
                if let Some(relation) = changed {
                    self.relations.entry(relation.to_owned()).or_insert_with(|| cause.clone());
                }
                Fate::Refused(cause)
            }
            None => Fate::Differs(why),
        }
    }
}

/// The words of a statement, without quotes.
fn words(sql: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    sql.split(|c| !is_part(c)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The relation that a statement makes or changes.
fn changed(words: &[String]) -> Option<&str> {
    const BEFORE: [&str; 16] = [
        "create",
        "or",
        "replace",
        "temp",
        "temporary",
        "external",
        "unbounded",
        "materialized",
        "table",
        "view",
        "source",
        "if",
        "not",
        "exists",
        "insert",
        "into",
    ];
    match words.first()?.as_str() {
        "create" | "insert" => words.iter().map(String::as_str).find(|word| !BEFORE.contains(word)),
        "update" | "copy" => words.get(1).map(String::as_str),
        "delete" => words.get(2).map(String::as_str),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::Incomplete;

    fn refused() -> Fate {
        Fate::Refused("no such files".to_owned())
    }

    fn differs() -> Fate {
        Fate::Differs("it does not exist".to_owned())
    }

    #[test]
    fn what_reads_it_is_counted_with_its_cause() {
        let mut incomplete = Incomplete::default();
        incomplete.follow("CREATE EXTERNAL TABLE IF NOT EXISTS \"t\" (a INT) STORED AS CSV", refused());
        assert!(
            matches!(incomplete.follow("SELECT a FROM t", differs()), Fate::Refused(why) if why == "no such files")
        );
        assert!(matches!(incomplete.follow("CREATE VIEW v AS SELECT a FROM t", differs()), Fate::Refused(_)));
        assert!(matches!(incomplete.follow("SELECT * FROM v", differs()), Fate::Refused(_)));
        assert!(matches!(incomplete.follow("SELECT * FROM u", differs()), Fate::Differs(_)));
        assert!(matches!(incomplete.follow("SELECT 1 FROM t", Fate::Agrees), Fate::Agrees));
    }

    #[test]
    fn rows_that_did_not_come() {
        let mut incomplete = Incomplete::default();
        incomplete.follow("INSERT INTO t SELECT random()", refused());
        assert!(matches!(incomplete.follow("SELECT count(*) FROM t", differs()), Fate::Refused(_)));
    }
}
