//! Every kind of view at least once, whatever the random ones are.

use crate::chain::{self, Held, execute, needed, planned};
use crate::history::{History, history};
use crate::runner;
use crate::spell::{Spelled, stamp};

/// Windows as `{tumble}` (60 seconds), `{hop}` (20 and 60 seconds) and `{session}` (30 seconds, by k), block time as
/// `{now}`.
const VIEWS: [&str; 9] = [
    "SELECT window_start, window_end, k, count(*) AS n, count(*) FILTER (WHERE b) AS f, sum(a) AS total, \
     avg(a) AS mean, min(a) AS least, max(w) AS most, count(DISTINCT s) AS kinds FROM {tumble} \
     GROUP BY window_start, window_end, k HAVING count(*) > 1",
    "SELECT window_end, sum(w) AS weight, stddev_pop(a) AS spread, var_samp(a) AS variance FROM {hop} GROUP BY window_end",
    "SELECT block_hash, transaction_hash, count(*) AS n, max(a) AS most FROM {events} GROUP BY block_hash, transaction_hash",
    "SELECT k, s, a FROM {events} WHERE block_timestamp > {now} - INTERVAL '45 seconds' AND a > 0",
    "SELECT count(*) AS n, sum(a) AS total FROM {events} WHERE block_timestamp >= {now} - INTERVAL '1 minute'",
    "SELECT s, n FROM (SELECT s, count(*) AS n FROM {events} GROUP BY s) WHERE n > 2 UNION ALL SELECT s, 0 FROM {events} WHERE a > 90",
    "SELECT k, window_start, window_end, count(*) AS n, sum(a) AS total, max(w) AS most, count(DISTINCT s) AS kinds, \
     count(*) FILTER (WHERE b AND a > 0) AS f FROM {session} GROUP BY window_end, k, window_start",
    "SELECT DISTINCT k, window_start, window_end FROM {session}",
    "SELECT window_start, window_end, s, count(*) AS n FROM {session} GROUP BY window_start, window_end, s",
];

fn ours(view: &str) -> String {
    view.replace("{events}", "eth.events")
        .replace("{now}", "now()")
        .replace("{tumble}", "TUMBLE(eth.events, block_timestamp, INTERVAL '60 seconds')")
        .replace("{hop}", "HOP(eth.events, block_timestamp, INTERVAL '20 seconds', INTERVAL '60 seconds')")
        .replace("{session}", "SESSION(eth.events, block_timestamp, INTERVAL '30 seconds', k)")
}

fn theirs(view: &str, now_ms: i64) -> String {
    view.replace("{events}", "events")
        .replace("{now}", &stamp(&now_ms.to_string()))
        .replace("{tumble}", &crate::spell::shifted("events", "block_timestamp", 60, 60, None))
        .replace("{hop}", &crate::spell::shifted("events", "block_timestamp", 20, 60, None))
        .replace("{session}", &crate::spell::sessions("events", "k, s, a, b, w", "block_timestamp", 30, "k"))
}

/// Holds views against the oracle at every tick of a history.
pub(crate) fn hold(views: &[&str], history: &History, workers: usize) {
    let oracle = chain::oracle();
    for view in views {
        let spelled = Spelled { views: Vec::new(), body: ours(view) };
        let plan = planned(&spelled).unwrap();
        let run = execute(&plan, history.events(&needed(&plan)), workers, 1, None);
        chain::holds(&oracle, &|now_ms| theirs(view, now_ms), &spelled, history, &run, &mut Held::default());
    }
}

#[test]
fn fixed_views_over_a_random_history() {
    runner(6)
        .run(&history(), |history| {
            hold(&VIEWS, &history, 2);
            Ok(())
        })
        .unwrap();
}
