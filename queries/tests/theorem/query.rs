//! Random views out of the SQL that is supported, each in two spellings: ours and the oracle's.
//!
//! The oracle has no TUMBLE and HOP, and its `now()` is the wall clock; the rest is the same text.

use proptest::prelude::*;

/// A view in Highwater's SQL.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The SELECT. `{events}` stands for the table; windows are written as `{tumble:N}` and
    /// `{hop:SLIDE:SIZE}` (seconds), block time as `{now}`.
    text: String,
}

impl Query {
    pub(crate) fn new(text: &str) -> Query {
        Query { text: text.to_owned() }
    }

    /// As a job has it.
    pub(crate) fn ours(&self) -> String {
        let text = self.text.replace("{events}", "eth.events").replace("{now}", "now()");
        expand(&text, |window| match window {
            Window::Tumble { size } => format!("TUMBLE(eth.events, block_timestamp, INTERVAL '{size} seconds')"),
            Window::Hop { slide, size } => {
                format!("HOP(eth.events, block_timestamp, INTERVAL '{slide} seconds', INTERVAL '{size} seconds')")
            }
        })
    }

    /// As the oracle reads it, at a block time (milliseconds).
    pub(crate) fn oracle(&self, now_ms: i64) -> String {
        let now = format!("arrow_cast({now_ms}, 'Timestamp(Millisecond, Some(\"UTC\"))')");
        let text = self.text.replace("{events}", "events").replace("{now}", &now);
        expand(&text, |window| match window {
            Window::Tumble { size } => hops(size, size),
            Window::Hop { slide, size } => hops(slide, size),
        })
    }
}

enum Window {
    Tumble { size: i64 },
    Hop { slide: i64, size: i64 },
}

/// A hopping window as the sum of its shifted tumbling windows.
fn hops(slide: i64, size: i64) -> String {
    let (slide_ms, size_ms) = (slide * 1000, size * 1000);
    let stamp = |ms: String| format!("arrow_cast({ms}, 'Timestamp(Millisecond, Some(\"UTC\"))')");
    let millis = "arrow_cast(block_timestamp, 'Int64')";
    let parts: Vec<String> = (0..(size_ms + slide_ms - 1) / slide_ms)
        .map(|index| {
            let start = format!("({millis} - {millis} % {slide_ms} - {})", index * slide_ms);
            format!(
                "SELECT *, {} AS window_start, {} AS window_end FROM events WHERE {start} > {millis} - {size_ms}",
                stamp(start.clone()),
                stamp(format!("({start} + {size_ms})")),
            )
        })
        .collect();
    format!("({})", parts.join(" UNION ALL "))
}

fn expand(text: &str, spell: impl Fn(Window) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{tumble:").or_else(|| rest.find("{hop:")) {
        let start = rest.find("{hop:").map_or(start, |hop| hop.min(start));
        let end = start + rest[start..].find('}').unwrap();
        let words: Vec<&str> = rest[start + 1..end].split(':').collect();
        let numbers: Vec<i64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        out.push_str(&rest[..start]);
        out.push_str(&match numbers.as_slice() {
            [size] => spell(Window::Tumble { size: *size }),
            [slide, size] => spell(Window::Hop { slide: *slide, size: *size }),
            other => panic!("{other:?}"),
        });
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

fn predicate() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-50_i64..100).prop_map(|n| format!("a > {n}")),
        (-2_i64..4).prop_map(|n| format!("k = {n}")),
        Just("b".to_owned()),
        Just("NOT b".to_owned()),
        Just("s IS NOT NULL".to_owned()),
        Just("k IS NULL OR s = 'weth'".to_owned()),
        Just("s LIKE '%e%'".to_owned()),
        Just("a % 3 = 0".to_owned()),
        Just("k IN (1, 2, 3)".to_owned()),
        Just("a BETWEEN 0 AND 60".to_owned()),
        Just("coalesce(k, 0) * 2 >= a - 10".to_owned()),
    ];
    leaf.clone().prop_recursive(2, 4, 2, move |inner| {
        (inner.clone(), inner, prop::sample::select(vec!["AND", "OR"]))
            .prop_map(|(a, b, op)| format!("({a}) {op} ({b})"))
    })
}

/// A call and whether its column is called `x`.
fn call() -> impl Strategy<Value = String> {
    let argument = prop::sample::select(vec!["a", "k", "a * 2 - coalesce(k, 1)", "CASE WHEN b THEN a ELSE -a END"]);
    let plain = prop_oneof![
        Just("count(*)".to_owned()),
        Just("count(k)".to_owned()),
        Just("count(DISTINCT k)".to_owned()),
        Just("count(DISTINCT s)".to_owned()),
        Just("min(s)".to_owned()),
        Just("max(s)".to_owned()),
        Just("sum(w)".to_owned()),
        Just("min(w)".to_owned()),
        Just("avg(w)".to_owned()),
        Just("max(block_timestamp)".to_owned()),
        Just("bool_and(b)".to_owned()),
        Just("bool_or(b)".to_owned()),
        (prop::sample::select(vec!["sum", "min", "max", "avg"]), argument)
            .prop_map(|(function, argument)| format!("{function}({argument})")),
    ];
    (plain, prop::option::weighted(0.3, predicate())).prop_map(|(call, filter)| match filter {
        Some(filter) => format!("{call} FILTER (WHERE {filter})"),
        None => call,
    })
}

fn calls() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(call(), 1..4)
}

fn filter() -> impl Strategy<Value = String> {
    prop::option::weighted(0.5, predicate())
        .prop_map(|filter| filter.map_or_else(String::new, |filter| format!(" WHERE {filter}")))
}

fn window() -> impl Strategy<Value = String> {
    prop_oneof![
        (10_i64..120).prop_map(|size| format!("{{tumble:{size}}}")),
        (5_i64..40, 1_i64..5).prop_map(|(slide, times)| format!("{{hop:{slide}:{}}}", slide * times)),
        (7_i64..30, 0_i64..60).prop_map(|(slide, more)| format!("{{hop:{slide}:{}}}", slide + more)),
    ]
}

/// What rows are grouped by, and over what.
fn grouping() -> impl Strategy<Value = (String, &'static str)> {
    prop_oneof![
        Just(("{events}".to_owned(), "")),
        Just(("{events}".to_owned(), "k")),
        Just(("{events}".to_owned(), "k, s")),
        Just(("{events}".to_owned(), "coalesce(s, 'none')")),
        Just(("{events}".to_owned(), "block_hash")),
        Just(("{events}".to_owned(), "block_hash, k")),
        Just(("{events}".to_owned(), "block_hash, transaction_hash")),
        Just(("{events}".to_owned(), "block_number, s")),
        window().prop_map(|window| (window, "window_start, window_end")),
        window().prop_map(|window| (window, "window_end, k")),
        window().prop_map(|window| (window, "window_start, window_end, s, b")),
    ]
}

fn aggregate() -> impl Strategy<Value = String> {
    let having = prop::option::weighted(
        0.4,
        prop::sample::select(vec!["count(*) > 1", "sum(a) > 20", "min(a) < 0", "max(k) IS NOT NULL"]),
    );
    (grouping(), calls(), filter(), having).prop_map(|((from, keys), calls, filter, having)| {
        let mut columns: Vec<String> = Vec::new();
        if !keys.is_empty() {
            columns.extend(keys_of(keys).into_iter().enumerate().map(|(index, key)| format!("{key} AS g{index}")));
        }
        columns.extend(calls.iter().enumerate().map(|(index, call)| format!("{call} AS x{index}")));
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {keys}") };
        let having = having.map_or_else(String::new, |having| format!(" HAVING {having}"));
        format!("SELECT {} FROM {from}{filter}{group}{having}", columns.join(", "))
    })
}

/// Keys of a list, commas inside parentheses kept.
fn keys_of(keys: &str) -> Vec<String> {
    if keys.contains('(') { vec![keys.to_owned()] } else { keys.split(", ").map(str::to_owned).collect() }
}

fn linear() -> impl Strategy<Value = String> {
    let column = prop::sample::select(vec![
        "block_number",
        "k",
        "s",
        "a",
        "w",
        "b",
        "upper(s)",
        "a + 1",
        "CASE WHEN k > 0 THEN 'plus' WHEN k < 0 THEN 'minus' END",
        "concat(s, '-', k)",
        "abs(a)",
        "block_timestamp + INTERVAL '1 minute'",
        "length(s)",
    ]);
    (prop::collection::vec(column, 1..5), filter()).prop_map(|(columns, filter)| {
        let columns: Vec<String> =
            columns.iter().enumerate().map(|(index, column)| format!("{column} AS c{index}")).collect();
        format!("SELECT {} FROM {{events}}{filter}", columns.join(", "))
    })
}

fn composed() -> impl Strategy<Value = String> {
    prop_oneof![
        // An aggregate over an aggregate.
        (window(), filter()).prop_map(|(window, filter)| format!(
            "SELECT n, count(*) AS windows, max(total) AS most FROM \
             (SELECT window_end, k, count(*) AS n, sum(a) AS total FROM {window}{filter} GROUP BY window_end, k) GROUP BY n"
        )),
        (linear(), filter()).prop_map(|(_, filter)| format!("SELECT DISTINCT k, s FROM {{events}}{filter}")),
        (filter(), filter()).prop_map(|(first, second)| format!(
            "SELECT k, a FROM {{events}}{first} UNION ALL SELECT block_number, a * 2 FROM {{events}}{second}"
        )),
        (filter(), 10_i64..90).prop_map(|(filter, seconds)| format!(
            "WITH recent AS (SELECT k, s, a, block_timestamp FROM {{events}}{filter}) \
             SELECT k, count(*) AS n, sum(a) AS total FROM recent \
             WHERE block_timestamp > {{now}} - INTERVAL '{seconds} seconds' GROUP BY k"
        )),
        (10_i64..90).prop_map(|seconds| format!(
            "SELECT block_number, s, a FROM {{events}} WHERE block_timestamp <= {{now}} - INTERVAL '{seconds} seconds'"
        )),
        (1_usize..6, window()).prop_map(|(limit, window)| format!(
            "SELECT window_end, k, n FROM (SELECT window_end, k, n, row_number() OVER \
             (PARTITION BY window_end ORDER BY n DESC, k NULLS FIRST) AS place FROM \
             (SELECT window_end, k, count(*) AS n FROM {window} GROUP BY window_end, k)) WHERE place <= {limit}"
        )),
        (1_usize..6).prop_map(|limit| format!(
            "SELECT k, s, count(*) AS n FROM {{events}} GROUP BY k, s ORDER BY n DESC, k NULLS LAST, s NULLS LAST LIMIT {limit}"
        )),
        filter().prop_map(|filter| format!(
            "SELECT e.k, n.name, count(*) AS n, sum(e.a * n.factor) AS scaled FROM \
             (SELECT * FROM {{events}}{filter}) e JOIN names n ON n.id = e.k GROUP BY e.k, n.name"
        )),
        filter().prop_map(|filter| format!(
            "SELECT e.a, e.s, n.name FROM (SELECT * FROM {{events}}{filter}) e LEFT JOIN names n ON n.id = e.k AND n.factor > 1"
        )),
    ]
}

/// A random view.
pub(crate) fn query() -> impl Strategy<Value = Query> {
    prop_oneof![4 => aggregate(), 2 => linear(), 4 => composed()].prop_map(|text| Query { text })
}
