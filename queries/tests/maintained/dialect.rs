//! A query of ours as DataFusion reads it. A row without a time is in no window.

/// The same query without what only we have: windows become ranges of time, the mean of decimals a double, and formats
/// of times chrono's.
pub(crate) fn oracle(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n").replace("avg(", "avg(1e0 * ");
    let text = text.replace("'YYYY-MM-DD'", "'%Y-%m-%d'").replace("'HH24:MI'", "'%H:%M'");
    let text = replaced(&text, "TUMBLE(", |arguments| hops(arguments[0], arguments[1], arguments[2], arguments[2]));
    let text = replaced(&text, "HOP(", |arguments| hops(arguments[0], arguments[1], arguments[2], arguments[3]));
    replaced(&text, "SESSION(", |arguments| sessions(arguments[0], arguments[1], arguments[2], arguments[3]))
}

/// Calls of a table function, which have no parentheses inside.
fn replaced(text: &str, call: &str, with: impl Fn(&[&str]) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(call) {
        let inside = start + call.len();
        let end = inside + rest[inside..].find(')').unwrap();
        let arguments: Vec<&str> = rest[inside..end].split(',').map(str::trim).collect();
        out.push_str(&rest[..start]);
        out.push_str(&with(&arguments));
        rest = &rest[end + 1..];
    }
    out + rest
}

/// The seconds of `INTERVAL 'n seconds'`.
fn seconds(interval: &str) -> i64 {
    let number = interval.trim_start_matches("INTERVAL '").split(' ').next().unwrap();
    number.parse().unwrap()
}

/// A hopping window as the sum of its shifted tumbling windows; the size is a multiple of the slide.
fn hops(relation: &str, time: &str, slide: &str, size: &str) -> String {
    let steps = seconds(size) / seconds(slide);
    let part = |step: i64| {
        let back = step * seconds(slide);
        let start = format!("date_bin({slide}, {time}, TIMESTAMP '1970-01-01') - INTERVAL '{back} seconds'");
        format!(
            "SELECT *, {start} AS window_start, {start} + {size} AS window_end FROM {relation} WHERE {time} IS NOT NULL"
        )
    };
    format!("({})", (0..steps).map(part).collect::<Vec<_>>().join(" UNION ALL "))
}

/// Sessions: a row begins one if nothing of its key is less than the gap before it.
fn sessions(relation: &str, time: &str, gap: &str, key: &str) -> String {
    format!(
        "(SELECT *, min({time}) OVER (PARTITION BY {key}, session) AS window_start, \
         max({time}) OVER (PARTITION BY {key}, session) + {gap} AS window_end FROM \
         (SELECT *, sum(fresh) OVER (PARTITION BY {key} ORDER BY {time} RANGE UNBOUNDED PRECEDING) AS session FROM \
         (SELECT *, CASE WHEN lag({time}) OVER (PARTITION BY {key} ORDER BY {time}) + {gap} > {time} THEN 0 ELSE 1 END \
         AS fresh FROM {relation} WHERE {time} IS NOT NULL)))"
    )
}
