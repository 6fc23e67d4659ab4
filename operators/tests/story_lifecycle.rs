//! The life of a story, case by case: block times in seconds, what is found, what is told.

mod alert_history;
mod harness;

use std::fmt::Write as _;

use alert_history::{Block, Contents, Found, Pipeline, difference, step, stories};
use highwater_engine::model::alert::{NotificationKind, Severity};
use highwater_operators::alert::notification::{Dispatch, Notifications};
use highwater_operators::alert::story::Lifecycle;
use highwater_operators::alert::timeline::Clock;

const SECOND: i64 = 1_000;

/// Rows at a time: `+` comes, `-` goes.
type Moment<'m> = (i64, &'m [(char, Found)]);

const X: Found = ("a", "x", "medium", 1, false);
const X2: Found = ("a", "x", "medium", 2, false);
const Y_HIGH: Found = ("a", "y", "high", 1, false);
const Z_CRITICAL: Found = ("a", "z", "critical", 1, false);
const FINE: Found = ("a", "x", "low", 0, true);
const B: Found = ("b", "x", "medium", 1, false);

/// Runs a history; gives the lines `time kind severity reason` of what a sink would send, and the stories at the end.
fn told(lifecycle: &Lifecycle, dispatch: &Dispatch, moments: &[Moment<'_>]) -> (String, String) {
    let (lifecycle, dispatch) = (lifecycle.clone(), dispatch.clone());
    let mut pipeline = Pipeline::new().then(1, Some(vec![0]), false, move || stories(&lifecycle, false)).then(
        1,
        Some(vec![2]),
        true,
        move || {
            let made = Notifications::operator("sink/n", "sink", "alert", Clock::Block, dispatch.clone());
            Box::new(made.expect("text is a key").0)
        },
    );
    let mut view = Contents::new();
    for (number, (time, rows)) in (1..).zip(moments) {
        let before = view.clone();
        for (sign, row) in *rows {
            let count = view.entry((*row, 0)).or_default();
            *count += if *sign == '+' { 1 } else { -1 };
        }
        view.retain(|_, count| *count != 0);
        let block = Block { number, time_ms: time * SECOND, view: view.clone() };
        pipeline.tick(step(number, &block, difference(&before, &view), None, None));
    }
    let relations = pipeline.relations();
    let mut sent: Vec<(i64, String)> = relations[1]
        .keys()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let at = seconds(cells[24]);
            let decision = if cells[6] == "send" { String::new() } else { format!(" ({})", cells[7]) };
            (at, format!("{at} {} {} {}{decision}", cells[5], cells[11], cells[16]))
        })
        .collect();
    sent.sort();
    let sent = sent.into_iter().fold(String::new(), |mut text, (_, line)| {
        writeln!(text, "{line}").expect("text grows");
        text
    });
    let mut stories: Vec<String> = relations[0]
        .keys()
        .filter(|row| row.ends_with('~'))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            format!("{} {} {} x{} of {}\n", cells[2], cells[3], cells[4], cells[15], cells[14])
        })
        .collect();
    stories.sort();
    (sent, stories.concat())
}

/// `1970-01-01T00:01:05Z` as seconds.
fn seconds(time: &str) -> i64 {
    let part = |from: usize| time[from..from + 2].parse::<i64>().expect("digits");
    part(11) * 3600 + part(14) * 60 + part(17)
}

fn lifecycle() -> Lifecycle {
    Lifecycle {
        cool_after_ms: 10 * SECOND,
        resolve_after_ms: 30 * SECOND,
        same_for_ms: 30 * SECOND,
        ..Lifecycle::default()
    }
}

fn everything() -> Dispatch {
    Dispatch { kinds: NotificationKind::ALL.to_vec(), ..Dispatch::default() }
}

#[test]
fn a_story_begins_cools_and_is_over() {
    let moments: &[Moment<'_>] = &[(0, &[('+', X)]), (5, &[]), (11, &[]), (30, &[]), (31, &[])];
    let (sent, stories) = told(&lifecycle(), &everything(), &moments[..2]);
    assert_eq!((sent.as_str(), stories.as_str()), ("0 fire medium x found 1\n", "a active medium x1 of 1\n"));
    let (_, stories) = told(&lifecycle(), &everything(), &moments[..3]);
    assert_eq!(stories, "a cooling medium x1 of 1\n");
    // Thirty seconds of silence are not more than thirty.
    let (_, stories) = told(&lifecycle(), &everything(), &moments[..4]);
    assert_eq!(stories, "a cooling medium x1 of 1\n");
    let (sent, stories) = told(&lifecycle(), &everything(), moments);
    assert_eq!(sent, "0 fire medium x found 1\n31 resolve medium x found 1\n");
    assert_eq!(stories, "a resolved medium x1 of 1\n");
}

/// Sixty signals of one behaviour over an hour: one message, and its end.
#[test]
fn many_signals_are_one_story() {
    let hour = Lifecycle { cool_after_ms: 120 * SECOND, resolve_after_ms: 300 * SECOND, ..lifecycle() };
    let signals: Vec<Vec<(char, Found)>> =
        (0..60).map(|count| vec![('+', ("a", "x", "medium", count, false))]).collect();
    let mut moments: Vec<Moment<'_>> = signals.iter().zip(0..).map(|(rows, at)| (at * 60, rows.as_slice())).collect();
    moments.push((3900, &[]));
    let (sent, stories) = told(&hour, &Dispatch::default(), &moments);
    assert_eq!(sent, "0 fire medium x found 0\n3900 resolve medium x found 59\n");
    assert_eq!(stories, "a resolved medium x60 of 1\n");
    // Whoever wants the amendments gets them, a quarter of an hour apart, the newest alone.
    let dispatch = Dispatch { group_interval_ms: 900 * SECOND, ..everything() };
    let (sent, _) = told(&hour, &dispatch, &moments);
    assert_eq!(sent.lines().count(), 6, "{sent}");
}

#[test]
fn what_rises_is_told_and_what_joins_is_part_of_the_story() {
    let moments: &[Moment<'_>] =
        &[(0, &[('+', X)]), (3, &[('+', Y_HIGH)]), (6, &[('+', X2)]), (9, &[('+', Z_CRITICAL)]), (10, &[('+', B)])];
    let (sent, stories) = told(&lifecycle(), &Dispatch::default(), moments);
    assert_eq!(
        sent,
        "0 fire medium x found 1\n3 escalate high y found 1\n9 escalate critical z found 1\n10 fire medium x found 1\n"
    );
    assert_eq!(stories, "a active critical x4 of 3\nb active medium x1 of 1\n");
}

#[test]
fn an_incident_opens_after_failures_and_closes_after_successes() {
    let machine = Lifecycle { open_after: 3, close_after: 2, ..lifecycle() };
    let down = ("a", "x", "high", 0, false);
    let moments: &[Moment<'_>] = &[
        (0, &[('+', down)]),
        (1, &[('+', down)]),
        // A success in between: the count begins again.
        (2, &[('+', FINE)]),
        (3, &[('+', down)]),
        (4, &[('+', down)]),
        (5, &[('+', down)]),
        (6, &[('+', FINE)]),
        (7, &[('+', down)]),
        (8, &[('+', FINE)]),
        (9, &[('+', FINE)]),
    ];
    let (sent, stories) = told(&machine, &Dispatch::default(), moments);
    assert_eq!(sent, "5 fire high x found 0\n9 resolve high x found 0\n");
    assert_eq!(stories, "a resolved high x2 of 1\n");
}

#[test]
fn what_flaps_stays_open_until_it_is_quiet() {
    let machine =
        Lifecycle { reopen_within_ms: 20 * SECOND, flap_limit: 3, flap_window_ms: 25 * SECOND, ..lifecycle() };
    let mut moments: Vec<Moment<'_>> = Vec::new();
    for round in 0..4 {
        moments.push((round * 6, &[('+', ("a", "x", "high", 0, false))]));
        moments.push((round * 6 + 3, &[('+', FINE)]));
    }
    let (sent, stories) = told(&machine, &Dispatch { remember_ms: 20 * SECOND, ..Dispatch::default() }, &moments);
    // Opened at 0, 6 and 12: from then on it is held open.
    assert_eq!(
        sent,
        "0 fire high x found 0\n3 resolve high x found 0\n6 fire high x found 0\n9 resolve high x found 0\n12 fire high x found 0\n"
    );
    assert_eq!(stories, "a active high x4 of 1\n");
    moments.push((44, &[]));
    let (sent, stories) = told(&machine, &Dispatch { remember_ms: 20 * SECOND, ..Dispatch::default() }, &moments);
    assert!(sent.ends_with("44 resolve high x found 0\n"), "{sent}");
    assert_eq!(stories, "a resolved high x4 of 1\n");
}

#[test]
fn a_story_that_comes_back_soon_is_the_same_one() {
    let soon = Lifecycle { reopen_within_ms: 60 * SECOND, ..lifecycle() };
    let moments: &[Moment<'_>] =
        &[(0, &[('+', X)]), (40, &[]), (50, &[('+', X2)]), (200, &[]), (400, &[('+', Y_HIGH)])];
    let dispatch = Dispatch { remember_ms: 60 * SECOND, ..Dispatch::default() };
    let (_, stories) = told(&soon, &dispatch, &moments[..3]);
    assert_eq!(stories, "a active medium x2 of 1\n");
    let (_, stories) = told(&soon, &dispatch, moments);
    assert_eq!(stories, "a active high x1 of 1\na resolved medium x2 of 1\n");
}

#[test]
fn a_story_may_end_with_its_cause() {
    let gone = Lifecycle { resolve_when_gone: true, ..lifecycle() };
    let moments: &[Moment<'_>] = &[(0, &[('+', X), ('+', Y_HIGH)]), (2, &[('-', X)]), (4, &[('-', Y_HIGH)])];
    let (_, stories) = told(&gone, &Dispatch::default(), &moments[..2]);
    assert_eq!(stories, "a active high x2 of 2\n");
    let (sent, _) = told(&gone, &Dispatch::default(), moments);
    assert!(sent.ends_with("4 resolve high y found 1\n"), "{sent}");
}

#[test]
fn a_sink_tells_what_it_wants() {
    let moments: &[Moment<'_>] =
        &[(0, &[('+', X)]), (3, &[('+', Y_HIGH)]), (60, &[]), (70, &[('+', X2)]), (200, &[('+', X)])];
    let cooled = Dispatch { cooldown_ms: 100 * SECOND, ..Dispatch::default() };
    let (sent, _) = told(&lifecycle(), &cooled, moments);
    assert_eq!(
        sent,
        "0 fire medium x found 1\n3 escalate high y found 1\n60 resolve high y found 1\n70 fire medium x found 2 (cooldown)\n200 fire medium x found 1\n"
    );
    // Too low at first: told when it rises, as a beginning.
    let severe = Dispatch { min_severity: Severity::High, ..Dispatch::default() };
    let (sent, _) = told(&lifecycle(), &severe, &moments[..3]);
    assert_eq!(sent, "0 fire medium x found 1 (min_severity)\n3 fire high y found 1\n60 resolve high y found 1\n");
    // What waits tells what is known by then.
    let waits = Dispatch { group_wait_ms: 5 * SECOND, ..Dispatch::default() };
    let (sent, _) = told(&lifecycle(), &waits, &moments[..3]);
    assert_eq!(sent, "5 fire high y found 1\n60 resolve high y found 1\n");
    // Quiet from 00:00 to 00:01 UTC: a story that is over by then is not told.
    let quiet = Dispatch { quiet_hours: Some((0, 60 * SECOND)), ..Dispatch::default() };
    let (sent, _) = told(&lifecycle(), &quiet, &[(0, &[('+', X)]), (45, &[]), (90, &[])]);
    assert_eq!(sent, "45 fire medium x found 1 (over)\n");
    let (sent, _) = told(&lifecycle(), &quiet, &[(40, &[('+', X)]), (61, &[]), (62, &[])]);
    assert_eq!(sent, "60 fire medium x found 1\n");
    let (sent, _) = told(&lifecycle(), &quiet, &[(40, &[('+', Z_CRITICAL)])]);
    assert_eq!(sent, "40 fire critical z found 1\n");
}
