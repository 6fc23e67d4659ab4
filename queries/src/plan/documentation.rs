//! What can be said in a query and how it is kept up to date: the page of the language is made of this.

use super::window::FUNCTIONS;

/// One construct of queries.
#[derive(Debug, Clone, Copy)]
pub struct ConstructDoc {
    /// What is written.
    pub sql: &'static str,
    /// What holds of it.
    pub doc: &'static str,
    /// What it keeps, and what bounds that.
    pub state: &'static str,
}

const fn construct(sql: &'static str, doc: &'static str, state: &'static str) -> ConstructDoc {
    ConstructDoc { sql, doc, state }
}

/// The constructs.
pub const CONSTRUCTS: &[ConstructDoc] = &[
    construct("WHERE, expressions, CASE, CAST, UNION ALL", "Row by row, whole batches at a time.", "none"),
    construct(
        "`time > now() - INTERVAL '…'`",
        "Rows leave as the chain moves on, and come back if a reorg moves the head's time back.",
        "rows whose bounds are not final",
    ),
    construct(
        "GROUP BY, DISTINCT, UNION, aggregates with FILTER, DISTINCT, ORDER BY, WITHIN GROUP",
        "Exact under retraction. With the block or the transaction among the keys each block is grouped for itself, \
         without state.",
        "groups, until their window is final; with their values for DISTINCT, collections, percentiles, mode, `min_by`, \
         and `min` and `max` of rows that may go at any time",
    ),
    construct(
        "GROUPING SETS, ROLLUP, CUBE, GROUPING(), GROUP BY ()",
        "One aggregate whose key also holds the grouping; the grouping of all rows is there also without rows.",
        "as GROUP BY",
    ),
    construct(
        "[INNER | LEFT | RIGHT | FULL | CROSS] JOIN, USING, NATURAL, EXISTS, IN, NOT EXISTS, NOT IN",
        "Of any two relations, with further conditions, with SQL's rules for NULL. A side that never changes is \
         broadcast; a table that is reloaded is joined with rows of blocks as it is when the block comes, with other rows \
         as it is now.",
        "rows of both sides: until the block is final if they join on it, until the window is final if they join on its \
         end, else as long as the inputs bound them",
    ),
    construct(
        "a [LEFT] ASOF JOIN b MATCH_CONDITION (a.time >= b.time) ON a.key = b.key",
        "The one row nearest in time: `>=`, `>`, `<=` or `<`. Of several rows of one time the greatest. A new price \
         touches only the rows between it and the next.",
        "rows not final, and the newest final right row of each key",
    ),
    construct("INTERSECT [ALL], EXCEPT [ALL]", "NULL equals NULL; ALL counts rows.", "both counts of each row"),
    construct(
        "ORDER BY … LIMIT … OFFSET, DISTINCT ON, row_number() | rank() | dense_rank() with QUALIFY or WHERE n <= k",
        "Ties of LIMIT and row_number() go by the whole row, so that there is one answer. In time proportional to the \
         change and k.",
        "partitions, until their window is final",
    ),
    construct(
        "row_number, rank, dense_rank, percent_rank, cume_dist, ntile, lag, lead, first_value, last_value, nth_value, \
         count, sum, avg, min, max, ewma OVER (PARTITION BY … ORDER BY … ROWS | RANGE | GROUPS …)",
        "Only rows whose answer may change are looked at. Ties go by the whole row.",
        "partitions, until their window is final",
    ),
    construct(
        "WITH RECURSIVE, WITH MUTUALLY RECURSIVE [(ERROR AT RECURSION LIMIT n)] name (column type, …) AS (query), …",
        "A loop of differential dataflow on the first worker. UNION counts each row once; UNION ALL counts derivations and \
         ends only on data without cycles. Mutual bindings are brought up to date in their order, round by round; \
         aggregates and anti joins may stand inside. More than n rounds (10,000) end the job with the name of the binding.",
        "the inputs, and the rounds in which rows came and went",
    ),
    construct(
        "(SELECT …), EXISTS and IN as values, correlated, LATERAL",
        "Several rows are an error row of the outer row. What cannot be taken apart is refused with what to write instead.",
        "as the joins it becomes",
    ),
];

/// Where an answer differs from PostgreSQL's.
pub const DIFFERENCES: &[&str] = &[
    "`avg`, variances, `median` and `percentile_cont` are DOUBLE, from exact sums; PostgreSQL's are NUMERIC for integers.",
    "`sum` of BIGINT is DECIMAL(38, 0); of DOUBLE it is the exact sum, rounded once, so that it does not depend on order.",
    "A whole number in the text of a query is BIGINT, INTEGER in PostgreSQL: `sum(1)` is DECIMAL, and dividing it is not whole.",
    "`array_agg` and `string_agg` without ORDER BY are ordered by value; `any_value` is the least value; `mode` takes the \
     least of the most frequent.",
    "LIMIT without ORDER BY is refused in a view that is kept: it does not say which rows.",
    "Ties in ORDER BY … LIMIT, DISTINCT ON and `row_number()` are broken by the whole row.",
    "A row that cannot be evaluated (overflow, division by zero, a bad cast) is a row of `<view>_errors`, not the end of \
     the query; a session answers it as an error.",
    "TIMESTAMP of a source is UTC with milliseconds; TEXT is compared by bytes.",
    "`now()` is the block time, and stands in filters on a time only.",
    "Computed floats have one NaN and one zero (PostgreSQL prints -0). Floats as a source has them keep 0.0 and -0.0 apart \
     in GROUP BY, PARTITION BY, DISTINCT, UNION and INTERSECT, not in comparisons and joins: `x + 0.0` is one zero.",
    "A statement has at most 500 operators, joins or set operations that follow on each other.",
    "Division of integers by integers is whole, as in PostgreSQL; DECIMAL divided by DECIMAL or an integer is DECIMAL with \
     four more digits than the dividend, and what is behind them is cut, not rounded.",
    "A number with a point in the text of a query is DOUBLE, NUMERIC in PostgreSQL: `0.1 + 0.2 = 0.3` is false. NUMERIC \
     without digits is DECIMAL(38, 10).",
    "A cast of DOUBLE or DECIMAL to an integer cuts what is behind the point; PostgreSQL rounds.",
    "`^` is bitwise XOR (PostgreSQL: power, here `power(x, y)`; its XOR `#` is not read); `&` binds closer than `|`, and shifts closer \
     than both (PostgreSQL: from left to right).",
    "INTERVALs are compared and grouped by months, then days, then time: 24 hours are not one day.",
    "The length of VARCHAR(n) and CHAR(n) is not checked.",
    "Literals of TIMESTAMP are between the years 1677 and 2262.",
    "In a session a view that reads a view with error rows shows what can be evaluated; the errors are in `<view>_errors`.",
];

/// The table functions: how each is written, and what it does.
pub fn table_functions() -> Vec<(&'static str, &'static str)> {
    FUNCTIONS.iter().map(|function| (function.usage.trim_start_matches("write "), function.doc)).collect()
}
