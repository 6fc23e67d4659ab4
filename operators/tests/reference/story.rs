//! What stories and findings are, said once more without a machine: gaps in a list of times.

use std::collections::BTreeMap;

/// Signals of one group that are not healthy, in order: time in milliseconds, severity 0 to 3.
pub(crate) type Signals = Vec<(i64, usize)>;

/// A story: when it began, when it was seen last, how often, its highest severity, its status.
pub(crate) type Story = (i64, i64, i64, usize, &'static str);

/// Stories of a group at `now_ms`: a gap longer than `resolve_ms` ends one.
pub(crate) fn stories(signals: &Signals, cool_ms: i64, resolve_ms: i64, now_ms: i64) -> Vec<Story> {
    let ends = |last: i64, next: i64| next - last > resolve_ms;
    let parts = signals.chunk_by(|(last, _), (next, _)| !ends(*last, *next));
    let story = |part: &[(i64, usize)]| {
        let (first, last) = (part[0].0, part[part.len() - 1].0);
        let severity = part.iter().map(|(_, severity)| *severity).max().unwrap_or_default();
        let next = signals.iter().map(|(at, _)| *at).find(|at| *at > last && ends(last, *at));
        let silence = next.unwrap_or(now_ms) - last;
        let status = if silence > resolve_ms {
            "resolved"
        } else if silence > cool_ms {
            "cooling"
        } else {
            "active"
        };
        (first, last, i64::try_from(part.len()).expect("few"), severity, status)
    };
    parts.map(story).collect()
}

/// Findings of one identity: when each began, and how often it was seen until `same_ms` later.
pub(crate) fn findings(times: &[i64], same_ms: i64) -> BTreeMap<i64, i64> {
    let mut found: BTreeMap<i64, i64> = BTreeMap::new();
    for at in times {
        match found.last_entry().filter(|first| at - first.key() < same_ms) {
            Some(mut first) => *first.get_mut() += 1,
            None => {
                found.insert(*at, 1);
            }
        }
    }
    found
}
