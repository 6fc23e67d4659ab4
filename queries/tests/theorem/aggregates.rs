//! Aggregates beyond the random ones, where DataFusion gives them the same meaning.

use proptest::prelude::*;

use crate::fixed::hold;
use crate::history::history;
use crate::runner;

/// DataFusion takes one order a query; rows that it does not tell apart are the same here. It knows the
/// place between two values to a millionth (quarters are exact), and its means are running ones, so that
/// they are rounded before they are compared.
const VIEWS: &[&str] = &[
    "SELECT window_end, array_agg(k ORDER BY a DESC, k) AS list FROM {hop} GROUP BY window_end",
    "SELECT s, array_agg(DISTINCT k ORDER BY k DESC) AS kinds FROM {events} GROUP BY s",
    "SELECT k, string_agg(s, ', ' ORDER BY s) AS texts FROM {events} GROUP BY k",
    "SELECT window_end, first_value(a ORDER BY block_number, a) AS first, last_value(a ORDER BY block_number, a) AS \
     last, nth_value(a, 2 ORDER BY block_number, a) AS second FROM {tumble} GROUP BY window_end",
    "SELECT block_hash, array_agg(a ORDER BY a) FILTER (WHERE b) AS list FROM {events} GROUP BY block_hash",
    "SELECT block_hash, string_agg(s, '' ORDER BY s) AS texts FROM {events} GROUP BY block_hash",
    "SELECT k, median(w) AS middle, percentile_cont(0.75) WITHIN GROUP (ORDER BY w DESC) AS low, \
     percentile_cont(w, 0.25) FILTER (WHERE a > 0) AS quarter, median(DISTINCT w) AS other FROM {events} GROUP BY k",
    "SELECT s, bit_and(a) AS every, bit_or(a) AS any, bit_xor(a) AS odd, sum(DISTINCT a) AS total, \
     avg(DISTINCT k) AS mean, count(DISTINCT a) AS n, regr_count(a, k) AS pairs, round(regr_avgx(a, k), 9) AS x, \
     round(regr_avgy(a, k), 9) AS y FROM {events} GROUP BY s",
    "SELECT bit_xor(DISTINCT k) AS odd, round(regr_sxx(a, k), 6) AS xx, round(regr_syy(a, k), 6) AS yy, round(covar_samp(a, a), 6) AS variance, \
     regr_slope(a, a) AS slope, regr_r2(a, a) AS r2 FROM {events}",
];

#[test]
fn ordered_counted_once_and_of_pairs() {
    runner(2)
        .run(&(history(), prop::sample::select(vec![1_usize, 2, 4])), |(history, workers)| {
            hold(VIEWS, &history, workers);
            Ok(())
        })
        .unwrap();
}
