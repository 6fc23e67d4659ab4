//! The relation `arbitrages` against the definition of rule A1, over random blocks.

mod chain_rows;
#[path = "reference/arbitrages.rs"]
mod reference;
#[path = "reference/sandwiches.rs"]
mod sandwiches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chain_rows::{
    TradeRow, addresses, batch, costs, fixed, ints, line, pools, text, texts, trades, transaction_hash, wide,
};
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::arbitrages::ARBITRAGES;
use highwater_operators::mev::{Label, MevSettings};
use proptest::prelude::*;
use reference::{Around, COIN, Found, Known, Transfer, arbitrages, superseded, trigger};

const NATIVE: u8 = 10;
const ROUTER: u8 = 40;
const SOLVER: u8 = 41;
const MINER: u8 = 60;

fn known(loose: bool) -> Known {
    let stable = BTreeMap::from([(12, 17), (13, 18)]);
    Known { public: vec![ROUTER, SOLVER], for_others: vec![SOLVER], native: NATIVE, stable, loose }
}

fn settings(loose_matches: bool) -> MevSettings {
    let label = |kind: &str| Label { name: "known".into(), kind: kind.into() };
    MevSettings {
        labels: [([ROUTER; 20], label("router")), ([SOLVER; 20], label("settlement"))].into(),
        wrapped_native: [[NATIVE; 20]].into(),
        stablecoins: [([12; 20], 17), ([13; 20], 18)].into(),
        loose_matches,
        ..MevSettings::default()
    }
}

fn tables(rows: &[TradeRow], around: &Around, prices: &[(u8, f64)]) -> Vec<RecordBatch> {
    let moved = || around.transfers.iter();
    let transfers = batch(
        &["transaction_index", "token_standard", "token_address", "from_address", "to_address", "amount"],
        vec![
            ints(moved().map(|transfer| Some(transfer.0))),
            texts(moved().map(|_| "erc20")),
            addresses(moved().map(|transfer| transfer.1)),
            addresses(moved().map(|transfer| transfer.2)),
            addresses(moved().map(|transfer| transfer.3)),
            wide(moved().map(|transfer| Some(transfer.4))),
        ],
    );
    let fills = batch(&["transaction_index"], vec![ints(around.fills.iter().copied().map(Some))]);
    let loans = batch(
        &["transaction_index", "lender"],
        vec![ints(around.loans.iter().map(|loan| Some(loan.0))), addresses(around.loans.iter().map(|loan| loan.1))],
    );
    let liquidations = batch(&["transaction_index"], vec![ints(around.liquidations.iter().copied().map(Some))]);
    let hashes = || fixed(around.liquidity.iter().map(|index| Some(transaction_hash(*index))));
    let liquidity = batch(&["mint_tx", "burn_tx"], vec![hashes(), hashes()]);
    [trades(rows)]
        .into_iter()
        .chain(costs(20, &around.payments, Some(around.miner), prices))
        .chain([transfers, fills, loans, previous_trades(&around.previous), liquidations, liquidity])
        .collect()
}

fn previous_trades(rows: &[TradeRow]) -> RecordBatch {
    let all = || rows.iter();
    batch(
        ARBITRAGES.inputs[8].columns,
        vec![
            ints(all().map(|trade| Some(trade.transaction))),
            ints(all().map(|trade| Some(trade.log))),
            fixed(all().map(|trade| Some(transaction_hash(trade.transaction)))),
            pools(all().map(|trade| trade.pool)),
            addresses(all().map(|trade| trade.tokens.0)),
            addresses(all().map(|trade| trade.tokens.1)),
            addresses(all().map(|trade| trade.from)),
            addresses(all().map(|trade| trade.to)),
        ],
    )
}

fn run(tables: &[RecordBatch], loose: bool) -> RecordBatch {
    let mut kernel = (ARBITRAGES.kernel)(&Arc::new(settings(loose)));
    let answer = kernel.block(BlockRows { number: 5, hash: [1; 32], timestamp_ms: 7, tables });
    assert_eq!(answer.schema(), (ARBITRAGES.schema)());
    answer
}

fn found(rows: &RecordBatch) -> Vec<(i64, String, BTreeMap<u8, i128>)> {
    let vector = |row: usize| {
        let text = text(rows, "profit_vector", row);
        let items = text.trim_matches(['[', ']']).split_whitespace().map(|item| {
            let (token, net) = item.split_once(':').expect("token and net");
            (u8::from_str_radix(&token[2..4], 16).expect("hex"), net.parse().expect("a number"))
        });
        items.collect()
    };
    let index = |row: usize| text(rows, "transaction_index", row).parse().expect("a number");
    (0..rows.num_rows()).map(|row| (index(row), text(rows, "kind", row), vector(row))).collect()
}

fn attacks(rows: &[TradeRow]) -> BTreeSet<i64> {
    let trade = |row: &TradeRow| {
        let TradeRow { transaction, log, pool, places, tokens, amounts, from, to, recipient, sender, .. } = row.clone();
        sandwiches::Trade { transaction, log, pool, places, tokens, amounts, from, to, recipient, sender }
    };
    let block: Vec<_> = rows.iter().map(trade).collect();
    let found = sandwiches::sandwiches(&block, &[ROUTER, SOLVER], false);
    let legs = found.into_iter().flat_map(|one| [one.fronts, one.backs]).flatten();
    legs.map(|leg| rows[leg[0]].transaction).collect()
}

/// Trades of a transaction that mostly close, and transfers that mostly agree with them.
#[derive(Clone, Debug)]
struct Plan {
    from: u8,
    to: u8,
    /// Pool, token bought, part of a thousand gained, what the event does not tell, where it is out of line.
    hops: Vec<(u8, u8, u128, u8, u8)>,
    closes: bool,
    /// Who pays and is paid.
    holder: u8,
    extra: Vec<(u8, u8, u8, u128)>,
    payment: Option<(u8, u8, u128)>,
    fill: u8,
    loan: Option<u8>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let coin = prop_oneof![5 => 10..14_u8, 1 => Just(COIN)];
    let hop = (1..5_u8, coin, prop_oneof![3 => 1000..1010_u128, 1 => 990..1001_u128], 0..12_u8, 0..12_u8);
    let who = || prop_oneof![4 => 20..24_u8, 2 => 50..53_u8, 1 => Just(ROUTER), 1 => Just(MINER), 1 => 1..5_u8];
    let to = prop_oneof![1 => Just(0_u8), 2 => Just(ROUTER), 1 => Just(SOLVER), 8 => 50..53_u8];
    (
        (20..24_u8, to, proptest::collection::vec(hop, 1..5), prop::bool::weighted(0.8)),
        (who(), proptest::collection::vec((10..14_u8, who(), who(), 1..40_u128), 0..2)),
        proptest::option::weighted(0.2, (who(), who(), 1..40_u128)),
        (0..12_u8, proptest::option::weighted(0.1, 50..53_u8)),
    )
        .prop_map(|((from, to, hops, closes), (holder, extra), payment, (fill, loan))| {
            let holder = if holder < 24 { if to == 0 { from } else { to } } else { holder };
            Plan { from, to, hops, closes, holder, extra, payment, fill, loan }
        })
}

fn block(plans: &[Plan]) -> (Vec<TradeRow>, Around) {
    let (mut rows, mut around) = (Vec::new(), Around { miner: MINER, ..Around::default() });
    for (transaction, plan) in (0..).zip(plans) {
        let (mut token, mut amount) = (10 + plan.from % 4, 10_000_u128);
        let first = token;
        for (index, (pool, bought, gain, untold, odd)) in plan.hops.iter().enumerate() {
            let last = plan.closes && index + 1 == plan.hops.len();
            // Sometimes it closes with the other stablecoin.
            let end = if *odd > 9 && first > 11 { 25 - first } else { first };
            let bought = if last { end } else { *bought };
            let out = amount * gain / 1000;
            let tokens = (if *untold == 0 { 0 } else { token }, if *untold == 1 { 0 } else { bought });
            let log = i64::try_from(rows.len()).expect("few");
            rows.push(TradeRow {
                transaction,
                log,
                pool: *pool,
                tokens,
                amounts: (amount, out),
                from: plan.from,
                to: plan.to,
                ..TradeRow::default()
            });
            if *odd != 0 {
                around.transfers.push((transaction, token, plan.holder, *pool, amount));
            }
            if *odd != 1 {
                around.transfers.push((transaction, bought, *pool, plan.holder, out));
            }
            (token, amount) = (bought, out);
        }
        let extra = plan.extra.iter().map(|(token, from, to, amount)| (transaction, *token, *from, *to, *amount));
        around.transfers.extend(extra);
        around.payments.extend(plan.payment.map(|(from, to, amount)| (transaction, from, to, amount)));
        around.loans.extend(plan.loan.map(|lender| (transaction, lender)));
        if plan.fill == 0 {
            around.fills.push(transaction);
        }
    }
    (rows, around)
}

fn expected(rows: &[TradeRow], around: &Around, loose: bool) -> Vec<Found> {
    arbitrages(rows, around, &known(loose), &attacks(rows))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn triggers_and_precedence_equal_the_definition(
        plans in proptest::collection::vec(plan(), 1..6),
        before in proptest::collection::vec(plan(), 0..6),
        liquidations in proptest::collection::vec(0..6_i64, 0..2),
        liquidity in proptest::collection::vec(0..6_i64, 0..2),
    ) {
        let (rows, around) = block(&plans);
        let (mut previous, _) = block(&before);
        previous.iter_mut().for_each(|trade| trade.transaction += 100);
        let around = Around { previous, liquidations, liquidity, ..around };
        let answer = run(&tables(&rows, &around, &[]), true);
        for row in 0..answer.num_rows() {
            let own = text(&answer, "transaction_index", row).parse().expect("a number");
            let want = match trigger(&rows, &around, &known(true), own) {
                Some((transaction, Some(distance))) => format!("{transaction} {distance} true"),
                Some((transaction, None)) => format!("{transaction} - false"),
                None => "- - -".to_owned(),
            };
            let columns = ["trigger_tx", "trigger_distance", "trigger_same_block", "superseded_by"];
            prop_assert_eq!(line(&answer, &columns, row), format!("{want} {}", superseded(&around, own)));
        }
    }

    #[test]
    fn equals_the_definition(plans in proptest::collection::vec(plan(), 0..6), loose: bool) {
        let (rows, around) = block(&plans);
        let answer = found(&run(&tables(&rows, &around, &[]), loose));
        let expected: Vec<_> = expected(&rows, &around, loose)
            .into_iter()
            .map(|(transaction, kind, balance)| (transaction, kind.to_owned(), balance))
            .collect();
        prop_assert_eq!(answer, expected);
    }
}

/// The random blocks hold all that the rule tells apart.
#[test]
fn random_blocks_hold_every_case() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut kinds, mut triggers) = (BTreeMap::new(), [0; 3]);
    for _ in 0..1000 {
        let plans = proptest::collection::vec(plan(), 0..6).new_tree(&mut runner).expect("no filter").current();
        let (rows, around) = block(&plans);
        for (_, kind, _) in expected(&rows, &around, true) {
            *kinds.entry(kind).or_insert(0) += 1;
        }
        for (transaction, _, _) in expected(&rows, &around, true) {
            // Any block may come before any other.
            let around = Around { previous: rows.clone(), ..around.clone() };
            let found = trigger(&rows, &around, &known(true), transaction);
            triggers[found.map_or(0, |(_, distance)| 1 + usize::from(distance.is_none()))] += 1;
        }
    }
    assert!(triggers.iter().all(|count| *count > 10), "{triggers:?}");
    assert!(kinds.len() == 3 && kinds.values().all(|count| *count > 10), "{kinds:?}");
}

#[test]
fn the_columns_of_an_arbitrage() {
    let row = |transaction, log, pool, tokens, amounts, from, to| TradeRow {
        transaction,
        log,
        pool,
        tokens,
        amounts,
        from,
        to,
        ..TradeRow::default()
    };
    let rows = [
        row(0, 0, 1, (NATIVE, 11), (500, 480), 23, 0),
        row(1, 1, 1, (NATIVE, 11), (900, 800), 21, ROUTER),
        // The searcher's own earlier trade is no trigger.
        row(2, 2, 1, (NATIVE, 11), (5, 4), 20, 50),
        // Events in the reverse order of the route.
        row(3, 3, 1, (11, NATIVE), (1000, 1100), 20, 50),
        row(3, 4, 2, (NATIVE, 11), (1000, 1000), 20, 50),
    ];
    let transfer = |token, from, to, amount| -> Transfer { (3, token, from, to, amount) };
    let around = Around {
        transfers: vec![transfer(NATIVE, 50, 2, 1000), transfer(11, 2, 1, 1000), transfer(NATIVE, 1, 50, 1100)],
        payments: vec![(3, 50, MINER, 30)],
        loans: vec![(3, 70)],
        miner: MINER,
        ..Around::default()
    };
    let found = run(&tables(&rows, &around, &[(NATIVE, 2.0)]), false);
    assert_eq!(found.num_rows(), 1);
    let said = |columns: &[&str]| line(&found, columns, 0);
    assert_eq!(said(&["chain", "block_number", "transaction_index", "transaction_hash", "kind"]), "test 5 3 3 atomic");
    assert_eq!(said(&["account", "contract", "pools", "route_tokens", "swap_count"]), "20 50 [2 1] [10 11 10] 2");
    assert_eq!(said(&["profit_token", "start_amount", "end_amount", "profit"]), "10 1000 1100 100");
    assert_eq!(said(&["gas_cost_wei", "tip_wei", "net_profit", "profit_usd"]), "200 30 -130 -260");
    assert_eq!(said(&["flash_loan", "trigger_tx", "trigger_distance", "confidence"]), "true 1 2 high");
    assert_eq!(said(&["trigger_same_block", "superseded_by"]), "true -");
    assert_eq!(said(&["profit_vector"]), format!("[0x{}:100]", "0a".repeat(20)));
}
