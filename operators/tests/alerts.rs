//! Alerts over histories with reorgs, restarts and any number of workers: what stands is what the canonical chain
//! alone would have given; and the lifecycle of a story, case by case.

mod alert_history;
mod harness;
#[path = "reference/story.rs"]
mod reference;

use std::collections::BTreeMap;

use alert_history::{Block, Contents, Found, Pipeline, columns, difference, step, stories, templates};
use harness::{Random, Relation, assert_same};
use highwater_engine::model::alert::{NotificationKind, Severity};
use highwater_engine::operator::TickOperator;
use highwater_operators::alert::finding::Findings;
use highwater_operators::alert::notification::{Dispatch, Mute, Notifications};
use highwater_operators::alert::rate_limit::{Limit, RateLimit};
use highwater_operators::alert::story::Lifecycle;
use highwater_operators::alert::timeline::{Clock, Horizon};
use proptest::prelude::*;

const SECOND: i64 = 1_000;
const START: i64 = 1_700_000_000_000;

/// An alert with everything behind it.
#[derive(Clone, Debug)]
struct Setup {
    lifecycle: Lifecycle,
    dispatch: Dispatch,
    limit: Limit,
    by_row: bool,
}

impl Setup {
    fn pipeline(&self, workers: usize) -> Pipeline {
        let clock = if self.by_row { Clock::Row } else { Clock::Block };
        let (by_row, lifecycle) = (self.by_row, self.lifecycle.clone());
        let (dispatch, limit) = (self.dispatch.clone(), self.limit);
        Pipeline::new()
            .then(workers, Some(vec![0]), false, move || stories(&lifecycle, by_row))
            .then(workers, Some(vec![2]), true, move || {
                let made = Notifications::operator("sink/notifications", "sink", "alert", clock, dispatch.clone());
                Box::new(made.expect("text is a key").0)
            })
            .then(1, None, false, move || Box::new(RateLimit::operator("sink/limit", clock, limit).expect("keys").0))
    }

    fn findings(&self, workers: usize) -> Pipeline {
        let (by_row, same_for_ms) = (self.by_row, self.lifecycle.same_for_ms);
        Pipeline::new().then(workers, Some(vec![0, 1]), false, move || {
            let made = Findings::operator("alert/findings", "alert", columns(by_row), same_for_ms, templates());
            Box::new(made.expect("text is a key").0) as Box<dyn TickOperator>
        })
    }

    /// What stands if the blocks had been the only ones ever, one a tick, nothing final.
    fn alone(pipeline: &mut Pipeline, blocks: &[Block]) -> Vec<Relation> {
        let mut before = Contents::new();
        for (tick, block) in (1..).zip(blocks) {
            pipeline.tick(step(tick, block, difference(&before, &block.view), None, None));
            before.clone_from(&block.view);
        }
        pipeline.relations().into_iter().cloned().collect()
    }
}

const GROUPS: [&str; 3] = ["a", "b", "c"];
const ENTITIES: [&str; 3] = ["x", "y", "z"];
const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// The next block: some rows come, some go, some change their count.
fn grow(random: &mut Random, blocks: &[Block], by_row: bool) -> Block {
    let last = blocks.last();
    let number = last.map_or(100, |block| block.number + 1);
    // Two blocks may have one time.
    let pause = if random.chance(15) { 0 } else { 1 + random.below(40) };
    let time_ms = last.map_or(START, |block| block.time_ms) + SECOND * i64::try_from(pause).expect("small");
    let mut view = last.map_or_else(Contents::new, |block| block.view.clone());
    for _ in 0..random.index(4) {
        let group = random.pick(&GROUPS);
        let found: Found = (
            group,
            random.pick(&ENTITIES),
            random.pick(&SEVERITIES),
            i64::try_from(random.below(4)).expect("small"),
            random.chance(25),
        );
        // The time of a row is the end of a window, and a block changes only windows that are not over.
        let at = if by_row { time_ms + SECOND * i64::try_from(1 + random.below(60)).expect("small") } else { 0 };
        *view.entry((found, at)).or_default() += 1;
    }
    if random.chance(40) && !view.is_empty() {
        let at = random.index(view.len());
        let row = *view.keys().nth(at).expect("within");
        if !by_row || row.1 > time_ms {
            view.remove(&row);
        }
    }
    Block { number, time_ms, view }
}

fn check(setup: &Setup, seed: u64, lag: usize, reorg_percent: u64) {
    let mut random = Random::new(seed);
    let mut pipeline = setup.pipeline(1 + random.index(3));
    let mut findings = setup.findings(1 + random.index(2));
    let mut blocks: Vec<Block> = Vec::new();
    let mut finalized = 0;
    let mut seen = Contents::new();
    for tick in 1..40 {
        let depth = if random.chance(reorg_percent) { random.index(5).min(blocks.len() - finalized) } else { 0 };
        blocks.truncate(blocks.len() - depth);
        let reorg = (depth > 0).then(|| blocks.last().map_or(99, |block| block.number));
        blocks.push(grow(&mut random, &blocks, setup.by_row));
        let head = blocks.last().expect("just grown");
        if random.chance(60) {
            finalized = finalized.max(blocks.len().saturating_sub(lag));
        }
        let final_block = finalized.checked_sub(1).map(|index| &blocks[index]);
        let deltas = difference(&seen, &head.view);
        findings.tick(step(tick, head, deltas.clone(), reorg, final_block));
        pipeline.tick(step(tick, head, deltas, reorg, final_block));
        seen.clone_from(&head.view);
        let mut fresh = setup.pipeline(1);
        let wanted = Setup::alone(&mut fresh, &blocks);
        // How far a sink sees behind the head depends on finality too, which a chain from scratch does not have.
        let compared = if setup.dispatch.horizon == Horizon::Head || lag >= 8 { 3 } else { 1 };
        for (stage, (got, want)) in pipeline.relations().into_iter().zip(&wanted).take(compared).enumerate() {
            assert_same(got, want, &format!("seed {seed}, tick {tick}, stage {stage} of {setup:?}"));
        }
        let wanted = Setup::alone(&mut setup.findings(1), &blocks);
        assert_same(findings.relations()[0], &wanted[0], &format!("seed {seed}, tick {tick}, findings of {setup:?}"));
        if random.chance(15) {
            pipeline.restart(1 + random.index(3));
            findings.restart(1 + random.index(3));
        }
    }
    assert_eq!(pipeline.errors(), 0);
}

/// A chain without reorgs and healthy signals, against the naive definition.
fn check_gaps(seed: u64, lifecycle: &Lifecycle) {
    let mut random = Random::new(seed);
    let setup = Setup {
        lifecycle: lifecycle.clone(),
        dispatch: Dispatch::default(),
        limit: Limit { count: 1, period_ms: SECOND },
        by_row: false,
    };
    let (mut pipeline, mut findings) = (setup.pipeline(1), setup.findings(1));
    let mut signals: BTreeMap<&str, reference::Signals> = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    let mut blocks: Vec<Block> = Vec::new();
    for tick in 1..40 {
        let mut block = grow(&mut random, &blocks, false);
        block.view.retain(|((_, _, _, _, healthy), _), _| !healthy);
        let before = blocks.last().map_or_else(Contents::new, |block| block.view.clone());
        for ((found, at), count) in &block.view {
            for _ in before.get(&(*found, *at)).copied().unwrap_or_default()..*count {
                let severity = SEVERITIES.iter().position(|word| *word == found.2).expect("one of them");
                signals.entry(found.0).or_default().push((block.time_ms, severity));
                seen.entry((found.0, found.1)).or_default().push(block.time_ms);
            }
        }
        let deltas = difference(&before, &block.view);
        pipeline.tick(step(tick, &block, deltas.clone(), None, None));
        findings.tick(step(tick, &block, deltas, None, None));
        let wanted: Vec<String> = signals
            .iter()
            .flat_map(|(group, signals)| {
                let (cool, resolve) = (lifecycle.cool_after_ms, lifecycle.resolve_after_ms);
                let stories = reference::stories(signals, cool, resolve, block.time_ms);
                stories.into_iter().map(move |(first, last, count, severity, status)| {
                    format!("{group} {status} {} {count} {} {}", SEVERITIES[severity], time(first), time(last))
                })
            })
            .collect();
        let shown = |row: &String| {
            let cells: Vec<&str> = row.split('|').collect();
            format!("{} {} {} {} {} {}", cells[2], cells[3], cells[4], cells[15], cells[18], cells[20])
        };
        let got = pipeline.relations()[0].keys().filter(|row| row.ends_with('~')).map(shown);
        assert_same(
            &harness::relation(got),
            &harness::relation(wanted),
            &format!("stories of seed {seed}, tick {tick}"),
        );
        let wanted = seen.iter().flat_map(|((group, entity), times)| {
            let found = reference::findings(times, lifecycle.same_for_ms);
            found.into_iter().map(move |(first, count)| format!("{group} {entity} {count} {}", time(first)))
        });
        let got = findings.relations()[0].keys().map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            format!("{} {} {} {}", cells[2], cells[3], cells[11], cells[12])
        });
        assert_same(
            &harness::relation(got),
            &harness::relation(wanted),
            &format!("findings of seed {seed}, tick {tick}"),
        );
        blocks.push(block);
    }
}

fn time(ms: i64) -> String {
    let batch = alert_history::rows(&[(("a", "x", "low", 0, false), ms)]);
    harness::cells(&batch, 0).remove(5)
}

fn lifecycles() -> impl Strategy<Value = Lifecycle> {
    let times = (1..60_i64, 0..90_i64, 0..60_i64, 1..200_i64, 1..90_i64);
    (times, 1..3_u32, 1..3_u32, 0..3_u32, any::<bool>()).prop_map(
        |((cool, more, reopen, flap_window, same), open_after, close_after, flap_limit, resolve_when_gone)| Lifecycle {
            cool_after_ms: cool * SECOND,
            resolve_after_ms: (cool + more) * SECOND,
            open_after,
            close_after,
            reopen_within_ms: reopen * SECOND,
            flap_limit,
            flap_window_ms: flap_window * SECOND,
            resolve_when_gone,
            same_for_ms: same * SECOND,
        },
    )
}

fn dispatches() -> impl Strategy<Value = Dispatch> {
    let times = (0..100_i64, 0..40_i64, 0..60_i64);
    let horizons = prop_oneof![3 => Just(Horizon::Head), 1 => (1..4_u32).prop_map(Horizon::Confirmed)];
    (times, 0..4_usize, any::<bool>(), any::<bool>(), any::<bool>(), horizons).prop_map(
        |((cooldown, wait, interval), severity, updates, quiet, muted, horizon)| {
            let mut kinds = Dispatch::default().kinds;
            kinds.extend(updates.then_some(NotificationKind::Update));
            let of_day = START.rem_euclid(86_400_000);
            let mute =
                Mute { group: Some("b".to_owned()), from_ms: Some(START + 60_000), until_ms: Some(START + 200_000) };
            Dispatch {
                min_severity: Severity::ALL[severity],
                kinds,
                cooldown_ms: cooldown * SECOND,
                group_wait_ms: wait * SECOND,
                group_interval_ms: interval * SECOND,
                quiet_hours: quiet.then_some(((of_day + 100_000) % 86_400_000, (of_day + 300_000) % 86_400_000)),
                mutes: if muted { vec![mute] } else { Vec::new() },
                horizon,
                remember_ms: 20 * SECOND,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_stands_is_what_the_canonical_chain_gives(
        seed in any::<u64>(), lifecycle in lifecycles(), dispatch in dispatches(), limit in 1..4_u32,
        lag in 0..12_usize, reorg_percent in 0..50_u64,
    ) {
        let limit = Limit { count: limit, period_ms: 60 * SECOND };
        check(&Setup { lifecycle, dispatch, limit, by_row: false }, seed, lag, reorg_percent);
    }

    #[test]
    fn stories_and_findings_are_gaps_in_a_list_of_times(
        seed in any::<u64>(), cool in 1..60_i64, more in 0..90_i64, same in 1..90_i64,
    ) {
        let (cool_ms, resolve_ms, same_ms) = (cool * SECOND, (cool + more) * SECOND, same * SECOND);
        let lifecycle = Lifecycle {
            cool_after_ms: cool_ms, resolve_after_ms: resolve_ms, same_for_ms: same_ms, ..Lifecycle::default()
        };
        check_gaps(seed, &lifecycle);
    }

    #[test]
    fn so_it_is_where_rows_name_their_time(
        seed in any::<u64>(), lifecycle in lifecycles(), lag in 0..20_usize, reorg_percent in 0..50_u64,
    ) {
        let lifecycle = Lifecycle { resolve_when_gone: false, ..lifecycle };
        // A window is final when its end is: rows that come later than finality would break their promise.
        let limit = Limit { count: 100, period_ms: SECOND };
        check(&Setup { lifecycle, dispatch: Dispatch::default(), limit, by_row: true }, seed, lag, reorg_percent);
    }
}
