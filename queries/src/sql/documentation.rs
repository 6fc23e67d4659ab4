//! What each statement means: the page of the language is made of this.

/// One statement.
#[derive(Debug, Clone, Copy)]
pub struct StatementDoc {
    /// Its syntax, optional parts in brackets.
    pub syntax: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Whether it is for `highwater sql`, `slt` and `test` alone.
    pub session: bool,
}

const fn job(syntax: &'static str, doc: &'static str) -> StatementDoc {
    StatementDoc { syntax, doc, session: false }
}

const fn session(syntax: &'static str, doc: &'static str) -> StatementDoc {
    StatementDoc { syntax, doc, session: true }
}

/// All statements.
pub const STATEMENTS: &[StatementDoc] = &[
    job(
        "CREATE SOURCE name WITH (connector = '…', option = value, …)",
        "Where blocks come from. The name is the schema of its tables: `eth.transactions`. Relative paths start from the \
         job file.",
    ),
    job(
        "CREATE TABLE name (column TYPE, …) WITH (connector = 'csv' | 'parquet', path = '…' [, reload = INTERVAL '5 seconds'])",
        "Reference data from a file, read once, or again while the job runs.",
    ),
    job("CREATE TABLE name (column TYPE, …) AS VALUES (…), (…)", "Reference data in the job itself."),
    job(
        "CREATE SECRET name WITH (backend = 'env' | 'file', key = '…')",
        "A value that is in no log, error or checkpoint; options take it as `SECRET name`.",
    ),
    job(
        "CREATE [OR REPLACE] FUNCTION name(parameter [type], …) [RETURNS type] AS expression",
        "A macro: calls are written out before planning, arguments in parentheses, cast where a type is given. The body \
         may call other functions, not itself.",
    ),
    job(
        "CREATE EVENT source.name AS 'Signature(type [indexed] [name], …) [anonymous]' [WITH (address = '0x…, 0x…')]",
        "A table `source.name` of decoded logs: the place of the log, then a column a parameter. Logs that have the topic \
         and do not fit are rows of `source.name_skipped` with the reason, and are counted in the summary.",
    ),
    job("CREATE [OR REPLACE] VIEW name [(column, …)] AS query", "A query that is put in the place of its name."),
    job(
        "CREATE [OR REPLACE] MATERIALIZED VIEW name [(column, …)] [WITH (unbounded = 'yes', on_error = 'stop')] AS query",
        "A query that is kept, shared by whoever reads it. `<view>_errors(error, row)` has the rows that could not be \
         evaluated.",
    ),
    job(
        "CREATE ALERT name FROM view | (query) WITH (key = '…', …) [EMIT CHANGES | ON WINDOW CLOSE]",
        "Findings, stories and incidents: [alerts](alerts.md).",
    ),
    job(
        "CREATE SINK name FROM view | alert | (query) [WITH (connector = '…', …)] [EMIT CHANGES | ON WINDOW CLOSE | ON FINALITY]",
        "Where changes go: at once with corrections, when the window is over, or once they are final.",
    ),
    job(
        "SET name = value",
        "A setting of the job: `workers`, `blocks_per_tick`, `mev.…`, `sql.listen` (where `highwater sql --connect` reaches \
         its materialised views; there is no authentication), `state.limit_mb` (the job ends with the name of the \
         largest operator when all state together takes more memory).",
    ),
    job(
        "EXPLAIN view | query; EXPLAIN STATE view | query",
        "The steps of a view; its pieces of state, their keys and bounds.",
    ),
    job(
        "EXECUTE UNIT TEST name FOR view [AT TIME 'time'] MOCK relation (column, …) AS (query) … EXPECTED (column, …) AS \
         (query) [REORG [n] MOCK … EXPECTED …]",
        "A view over given rows, run by `highwater test`. Tables of sources get a block for each `block_number` (1 if it is \
         not given), one a tick; columns that are not given are NULL, or zero where NULL may not be. `REORG n` takes the \
         newest n blocks back in the tick in which the next rows come. `AT TIME` is what `now()` is.",
    ),
    session(
        "CREATE TABLE name (column TYPE [NOT NULL] [DEFAULT value] [UNIQUE] [PRIMARY KEY], … [, PRIMARY KEY (columns)] [, UNIQUE (columns)] [, WATERMARK FOR time AS time - INTERVAL '…']) [APPEND ONLY]",
        "A table that statements change. With a watermark, rows older than the newest by more than the interval are final: \
         rows that come later than that are left out, and windows close.",
    ),
    session(
        "INSERT INTO table [(column, …)] query; UPDATE table SET column = value, … [WHERE …]; DELETE FROM table [WHERE …]",
        "Changes of a table. A second row of a primary key, or of what is UNIQUE, is an error. A column that INSERT leaves \
         out, or that is given as DEFAULT, holds its DEFAULT, else NULL; each value of VALUES is cast to its column.",
    ),
    session("query", "Its rows, maintained as a view while the rows of its tables come. LIMIT needs no ORDER BY here."),
    session(
        "CREATE MATERIALIZED VIEW name [EMIT ON WINDOW CLOSE] AS query [EMIT ON WINDOW CLOSE]",
        "With EMIT the view has only rows that are final by the watermarks of its tables. It shows the time that says so: \
         the column of the watermark, or the end of its window (TUMBLE, HOP, SESSION, CUMULATE, date_trunc), which is \
         among the keys of every GROUP BY, join and PARTITION BY on the way.",
    ),
    session("DROP TABLE | VIEW | FUNCTION [IF EXISTS] name [CASCADE]", "Takes a definition away."),
    session(
        "SUBSCRIBE [TO] view | (query) [WITH (SNAPSHOT [= true | false], PROGRESS [= true | false])] [UP TO tick]",
        "What the view holds, then each change as its tick seals: `tick`, `block`, `progressed`, `diff`, then the view's \
         columns. With PROGRESS a tick without changes is a row too. UP TO is exclusive. Without a running job \
         (`highwater sql --connect`) it ends after the snapshot.",
    ),
    session(
        "FLUSH; BEGIN; COMMIT; CREATE INDEX …",
        "Accepted and without meaning: every statement is complete when it returns.",
    ),
];
