//! When attempts are made, told by a clock that jumps.

use std::sync::Arc;
use std::time::Duration;

use highwater_engine::sink::{Sink, SinkRequest};
use highwater_sinks::alert::Kind;
use highwater_sinks::alert::connector::open_channel;

use crate::receiver::{Fault, Scripted};
use crate::world::{START_MS, commit, note, options, request, tick};

/// A sink with a ledger in memory, whose sender sleeps until something is due.
fn open(channel: &Arc<Scripted>, given: &[(&str, &str)]) -> (SinkRequest, Box<dyn Sink>) {
    let dir = tempfile::tempdir().unwrap();
    let request = SinkRequest { ledger: None, ..request(dir.path()) };
    let mut all = vec![("drain", "10 d")];
    all.extend(given);
    let clock = Arc::new(channel.clock.clone());
    let sink = open_channel(request.clone(), options(dir.path(), &all), channel.clone(), clock).unwrap();
    (request, sink)
}

fn attempts(channel: &Scripted) -> Vec<(String, i64)> {
    channel.attempts.lock().unwrap().iter().map(|(key, at_ms)| (key.clone(), at_ms - START_MS)).collect()
}

#[test]
fn pauses_grow_and_the_last_attempt_is_the_last() {
    let channel = Scripted::new(vec![Fault::Unreached; 100]);
    let (_, mut sink) = open(&channel, &[("retry_max", "6"), ("breaker_failures", "100")]);
    commit(&mut *sink, &tick(1, 1, &[], &[note("n", "g", Kind::Fire, 1, "title")])).unwrap();
    assert!(sink.finish().unwrap().place.ends_with(", 1 dead"));
    let times: Vec<f64> =
        attempts(&channel).iter().map(|(_, at_ms)| f64::from(i32::try_from(*at_ms).unwrap())).collect();
    let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 5);
    for (pause, expected_ms) in pauses.iter().zip([1000.0, 2000.0, 4000.0, 8000.0, 16_000.0]) {
        assert!((0.79 * expected_ms..1.21 * expected_ms).contains(pause), "{pauses:?}");
    }
}

#[test]
fn a_pause_the_service_asks_for_holds_for_the_whole_channel() {
    let channel = Scripted::new([Fault::Busy(Duration::from_secs(90))]);
    let (_, mut sink) = open(&channel, &[("concurrency", "1")]);
    let notes = ["a", "b"].map(|name| note(name, name, Kind::Fire, 1, "title"));
    commit(&mut *sink, &tick(1, 1, &[], &notes)).unwrap();
    sink.finish().unwrap();
    let attempts = attempts(&channel);
    assert_eq!(attempts.len(), 3);
    assert!(attempts[1].1 >= 90_000 && attempts[2].1 >= 90_000, "{attempts:?}");
}

#[test]
fn a_breaker_leaves_a_dead_channel_alone_and_probes_it_with_one_message() {
    let channel = Scripted::new(vec![Fault::Unreached; 7]);
    let given = [("breaker_failures", "4"), ("breaker_pause", "10 minutes"), ("retry_max", "100")];
    let (request, mut sink) = open(&channel, &given);
    let notes: Vec<_> = (0..4).map(|n| note(&format!("n{n}"), &format!("g{n}"), Kind::Fire, 1, "title")).collect();
    commit(&mut *sink, &tick(1, 1, &[], &notes)).unwrap();
    assert!(sink.finish().unwrap().place.starts_with("4 messages sent"));
    let minutes: Vec<i64> = attempts(&channel).iter().map(|(_, at_ms)| at_ms / 600_000).collect();
    assert_eq!(minutes[..7], [0, 0, 0, 0, 1, 2, 3], "four at once, then one every ten minutes");
    assert_eq!(minutes[7..], [4, 4, 4, 4]);
    let text = request.metrics.prometheus();
    for line in [
        "highwater_alerts_sent_total{sink=\"ops\"} 4",
        "highwater_alert_attempts_failed_total{sink=\"ops\"} 7",
        "highwater_alert_attempts_retried_total{sink=\"ops\"} 7",
        "highwater_alerts_waiting{sink=\"ops\"} 0",
        "highwater_alert_breaker_state{sink=\"ops\"} 0",
        "highwater_alert_latency_seconds_count{sink=\"ops\"} 4",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn no_more_than_so_many_are_sent_a_minute() {
    let channel = Scripted::new([]);
    let (_, mut sink) = open(&channel, &[("max_per_minute", "10")]);
    let notes: Vec<_> = (0..30).map(|n| note(&format!("n{n}"), &format!("g{n}"), Kind::Fire, 1, "title")).collect();
    commit(&mut *sink, &tick(1, 1, &[], &notes)).unwrap();
    assert!(sink.finish().unwrap().place.starts_with("30 messages sent"));
    let attempts = attempts(&channel);
    for (index, (_, at_ms)) in attempts.iter().enumerate() {
        let inside = attempts[index..].iter().filter(|(_, other_ms)| other_ms - at_ms < 60_000).count();
        assert!(inside <= 11, "{inside} in a minute");
    }
    assert!(attempts[29].1 < 180_000, "nor fewer than they may be");
}

#[test]
fn a_later_message_of_a_group_waits_and_other_groups_go_on() {
    let channel = Scripted::new([Fault::Unreached, Fault::None]);
    let (_, mut sink) = open(&channel, &[("concurrency", "1")]);
    let notes = [
        note("a1", "a", Kind::Fire, 1, "first"),
        note("a2", "a", Kind::Update, 2, "second"),
        note("b1", "b", Kind::Fire, 3, "other"),
    ];
    commit(&mut *sink, &tick(1, 3, &[], &notes)).unwrap();
    sink.finish().unwrap();
    let keys: Vec<String> = attempts(&channel).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a1", "b1", "a1", "a2"]);
}
