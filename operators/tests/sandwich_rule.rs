//! Rule S1 against its definition, over random blocks.

mod chain_rows;
#[path = "reference/sandwiches.rs"]
mod reference;

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use chain_rows::{TradeRow, trades as trades_batch};
use highwater_operators::mev::columns::Trades;
use highwater_operators::mev::sandwich_rule::{Leg, Sandwich, detect};
use highwater_operators::mev::{Label, MevSettings};
use proptest::prelude::*;
use reference::{Found, Trade, sandwiches};

fn rows_of(trades: &[Trade]) -> RecordBatch {
    let row = |trade: &Trade| {
        let Trade { transaction, log, pool, places, tokens, amounts, from, to, recipient, sender } = trade.clone();
        TradeRow { transaction, log, pool, places, tokens, amounts, from, to, recipient, sender, ..TradeRow::default() }
    };
    trades_batch(&trades.iter().map(row).collect::<Vec<_>>())
}

const PUBLIC: [u8; 3] = [25, 40, 41];

fn settings(loose_matches: bool) -> MevSettings {
    let label = |kind: &str| Label { name: "known".into(), kind: kind.into() };
    let labels = PUBLIC.map(|number| ([number; 20], label("router")));
    // A label of another kind protects nobody.
    let labels: BTreeMap<_, _> = labels.into_iter().chain([([42; 20], label("searcher"))]).collect();
    MevSettings { labels, loose_matches, ..MevSettings::default() }
}

fn found(sandwiches: &[Sandwich]) -> Vec<Found> {
    let rows = |legs: &[Leg]| legs.iter().map(|leg| leg.rows.clone()).collect();
    let one = |sandwich: &Sandwich| Found {
        fronts: rows(&sandwich.fronts),
        victims: rows(&sandwich.victims),
        backs: rows(&sandwich.backs),
        matching: sandwich.matching.name(),
    };
    let mut found: Vec<Found> = sandwiches.iter().map(one).collect();
    found.sort();
    found
}

/// Trades of one transaction: who, through what, and what it trades.
fn transaction() -> impl Strategy<Value = Vec<Trade>> {
    let amount = prop_oneof![6 => Just(1000_u128), 2 => Just(1001), 2 => 990..1010_u128, 1 => 1..4000_u128];
    let address = || prop_oneof![3 => Just(0_u8), 2 => 40..44_u8, 3 => 50..54_u8, 1 => 1..4_u8, 1 => 20..26_u8];
    let trade = (1..4_u8, 0..3_i64, 0..3_i64, (0..10_u8, 0..8_u8), (amount.clone(), amount), (address(), address()));
    ((20..26_u8), address(), proptest::collection::vec(trade, 1..4)).prop_map(|(from, to, legs)| {
        let one = |(pool, sold, bought, (unknown, no_place), amounts, (recipient, sender))| {
            // Two coins mostly, so that directions meet.
            let (sold, bought) = (i64::min(sold, 1), if bought == 2 { 2 } else { 1 - i64::min(sold, 1) });
            let token = |place: i64| 10 + u8::try_from(place).expect("small");
            let known = |token: u8| if unknown == 0 { 0 } else { token };
            Trade {
                transaction: 0,
                log: 0,
                pool,
                places: (no_place != 0 && pool != 3).then_some((sold, bought)),
                tokens: (known(token(sold)), token(bought)),
                amounts,
                from,
                to,
                recipient,
                sender,
            }
        };
        legs.into_iter().map(one).collect()
    })
}

/// A block; transactions and logs are numbered with gaps, and some rows come twice.
fn block() -> impl Strategy<Value = Vec<Trade>> {
    (proptest::collection::vec((transaction(), 0..20_u8), 0..14)).prop_map(|transactions| {
        let mut rows = Vec::new();
        let mut log = 0;
        for (index, (trades, twice)) in (0_i64..).zip(transactions) {
            for mut trade in trades {
                log += 1;
                (trade.transaction, trade.log) = (index * 2, log);
                rows.push(trade.clone());
                if twice == 0 {
                    rows.push(trade);
                }
            }
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition(block in block(), loose: bool) {
        let rows = rows_of(&block);
        let answer = detect(&Trades::of(&rows), &settings(loose));
        prop_assert_eq!(found(&answer), sandwiches(&block, &PUBLIC, loose));
    }

    /// The order of the rows of the source does not matter, only the places of the trades.
    #[test]
    fn any_order_of_rows(block in block(), turn in 0..40_usize) {
        let mut turned = block.clone();
        turned.dedup();
        let plain = rows_of(&turned);
        let by = turn % turned.len().max(1);
        let length = turned.len();
        turned.rotate_left(by);
        let rows = rows_of(&turned);
        let mut answer = found(&detect(&Trades::of(&rows), &settings(true)));
        for legs in answer.iter_mut().flat_map(|one| [&mut one.fronts, &mut one.victims, &mut one.backs]) {
            legs.iter_mut().flatten().for_each(|row| *row = (*row + by) % length);
        }
        answer.sort();
        prop_assert_eq!(answer, found(&detect(&Trades::of(&plain), &settings(true))));
    }
}

/// The random blocks hold all that the rule tells apart.
#[test]
fn random_blocks_hold_every_case() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut counts, mut several_fronts, mut several_victims) = (BTreeMap::new(), 0, 0);
    for _ in 0..1000 {
        let block = block().new_tree(&mut runner).expect("no filter").current();
        for one in sandwiches(&block, &PUBLIC, true) {
            *counts.entry(one.matching).or_insert(0) += 1;
            several_fronts += i32::from(one.fronts.len() > 1);
            several_victims += i32::from(one.victims.len() > 1);
        }
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 20), "{counts:?}");
    assert!(several_fronts > 10 && several_victims > 10, "{several_fronts} {several_victims}");
}
