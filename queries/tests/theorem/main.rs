//! The one theorem: for every view and every tick, the sum of all deltas emitted up to the tick equals
//! the view evaluated from scratch over the canonical chain as of the tick.
//!
//! Random histories (forks of depth one to twelve), random views out of the supported SQL, ticks of 1 to
//! 100 blocks, 1, 2 and 4 workers, a stop and a restart in the middle; and random tables of a session whose rows
//! come one by one, come and go. The independent evaluation is DataFusion's own engine over the rows that are there.
//!
//! Read next: `ast` (what a random query is), `spell` (its two spellings), `generate` (how often there is what).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a test tells its seed, and what the oracle cannot answer")]

mod aggregates;
mod ast;
mod chain;
mod fixed;
mod generate;
mod history;
mod oracle;
mod sessions;
mod spell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater::plan::JobPlan;
use highwater::session::Feeding;
use highwater_engine::model::format::write_json_row;
use highwater_engine::state::StateDir;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use ast::Query;
use chain::{Held, Run, execute, needed, planned};
use generate::query;
use history::{History, short_history};

/// Rows as text with their multiplicity: what both sides are brought to.
pub(crate) type Contents = BTreeMap<String, i64>;

/// `PROPTEST_CASES=2000 cargo test -p highwater --test theorem` looks deeper. The seed is random and printed;
/// `PROPTEST_RNG_SEED` repeats it.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let seed = match default.rng_seed {
        proptest::test_runner::RngSeed::Fixed(seed) => seed,
        proptest::test_runner::RngSeed::Random => rand_seed(),
    };
    println!("{cases} cases; again with PROPTEST_RNG_SEED={seed}");
    let rng_seed = proptest::test_runner::RngSeed::Fixed(seed);
    TestRunner::new(Config {
        cases,
        rng_seed,
        max_shrink_iters: 1000,
        max_shrink_time: 90_000,
        failure_persistence: None,
        ..default
    })
}

/// The job of a query over the chain; none if it is refused for a known reason.
fn chain_plan(query: &Query) -> Option<Arc<JobPlan>> {
    planned(&spell::ours(query, chain::relations("eth.")))
}

/// Runs with room for the recursions of planners without optimisation.
pub(crate) fn with_room(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn holds(query: &Query, history: &History, oracle: &oracle::Oracle, run: &Run, held: &mut Held) {
    let theirs = |now_ms: i64| spell::oracle(query, chain::relations(""), now_ms);
    chain::holds(oracle, &theirs, &spell::ours(query, chain::relations("eth.")), history, run, held);
}

#[test]
fn every_tick_of_every_view_equals_the_view_from_scratch() {
    with_room(|| {
        let oracle = chain::oracle();
        let sizes = prop_oneof![2 => Just(1_usize), 1 => 2_usize..10, 1 => Just(100_usize)];
        let workers = prop::sample::select(vec![1_usize, 2, 4]);
        runner(60)
            .run(&(query(), short_history(), workers, sizes), |(query, history, workers, blocks_per_tick)| {
                let Some(plan) = chain_plan(&query) else { return Ok(()) };
                let run = execute(&plan, history.events(&needed(&plan)), workers, blocks_per_tick, None);
                holds(&query, &history, &oracle, &run, &mut Held::default());
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_job_that_is_stopped_and_started_gives_the_same() {
    with_room(|| {
        let oracle = chain::oracle();
        let workers = prop::sample::select(vec![1_usize, 2, 3]);
        runner(30)
            .run(
                &(query(), short_history(), workers.clone(), workers, 1_usize..5, any::<prop::sample::Index>()),
                |(query, history, first_workers, second_workers, blocks_per_tick, cut)| {
                    let Some(plan) = chain_plan(&query) else { return Ok(()) };
                    let cut = 1 + cut.index(history.runs.len());
                    let folder = tempfile::tempdir().unwrap();
                    let open = || {
                        let (directory, checkpoint) = StateDir::open(folder.path(), "job", false).unwrap();
                        highwater_engine::job::JobState { directory, checkpoint, every: Duration::from_secs(3600) }
                    };
                    let mut held = Held::default();
                    let mut events = history.events(&needed(&plan));
                    let rest = events.split_off(cut);
                    let first = execute(&plan, events, first_workers, blocks_per_tick, Some(open()));
                    holds(&query, &history, &oracle, &first, &mut held);
                    let second = execute(&plan, rest, second_workers, blocks_per_tick, Some(open()));
                    holds(&query, &history, &oracle, &second, &mut held);
                    Ok(())
                },
            )
            .unwrap();
    });
}

#[test]
fn workers_do_not_change_a_byte_and_tick_sizes_not_the_end() {
    with_room(|| {
        runner(30)
            .run(&(query(), short_history()), |(query, history)| {
                let Some(plan) = chain_plan(&query) else { return Ok(()) };
                let run = |workers, blocks_per_tick| {
                    execute(&plan, history.events(&needed(&plan)), workers, blocks_per_tick, None)
                };
                let bytes = |workers: usize, blocks_per_tick: usize| -> Vec<String> {
                    let run = run(workers, blocks_per_tick);
                    let lines = run.ticks.iter().flat_map(|(progress, deltas)| {
                        let rows = deltas.iter().flat_map(|delta| (0..delta.len()).map(move |row| (delta, row)));
                        rows.map(|(delta, row)| {
                            let mut text = format!("{} {} ", progress.tick, delta.diffs.at(row));
                            write_json_row(&mut text, &delta.batch, row);
                            text
                        })
                        .collect::<Vec<_>>()
                    });
                    lines.collect()
                };
                let one = bytes(1, 1);
                prop_assert_eq!(&one, &bytes(2, 1));
                prop_assert_eq!(&one, &bytes(4, 1));
                let end = |blocks_per_tick: usize| {
                    let mut contents = Contents::new();
                    run(1, blocks_per_tick).ticks.iter().for_each(|(_, deltas)| chain::add(&mut contents, deltas));
                    contents
                };
                prop_assert_eq!(end(1), end(7));
                prop_assert_eq!(end(1), end(100));
                Ok(())
            })
            .unwrap();
    });
}

/// Queries over the tables of scripts; each script with up to forty.
fn sessions_hold(cases: u32, feeding: impl Strategy<Value = Feeding> + 'static) {
    let workers = prop_oneof![4 => Just(1_usize), 1 => 2_usize..4];
    let queries = prop::collection::vec((query(), feeding, workers), 1..40);
    runner(cases)
        .run(&(sessions::script(), queries), |(script, queries)| {
            let mut opened = sessions::open(&script);
            for (query, feeding, workers) in queries {
                sessions::holds(&mut opened, &query, feeding, workers);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_query_of_a_session_is_right_after_every_row() {
    with_room(|| sessions_hold(50, prop_oneof![1 => Just(Feeding::Batch), 3 => Just(Feeding::Row)]));
}

#[test]
fn every_query_of_a_session_is_right_while_rows_come_and_go() {
    with_room(|| sessions_hold(50, any::<u64>().prop_map(Feeding::Churn)));
}
