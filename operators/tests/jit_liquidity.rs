//! The relation `jit_liquidity` against the definition of rule J1, over random blocks.

mod chain_rows;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chain_rows::{TradeRow, addresses, batch, costs, fixed, ints, line, pools, texts, trades, transaction_hash, wide};
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::jit_liquidity::JIT_LIQUIDITY;
use highwater_operators::mev::{Label, MevSettings};
use proptest::prelude::*;

const MANAGER: u8 = 40;

/// A change of liquidity. Addresses are small numbers, 0 is NULL.
#[derive(Clone, Debug, Default)]
struct Change {
    transaction: i64,
    log: i64,
    pool: u8,
    kind: &'static str,
    owner: u8,
    ticks: (i64, i64),
    token_id: Option<u128>,
    liquidity: u128,
    amounts: (u128, u128),
    from: u8,
    to: u8,
}

fn tables(rows: &[TradeRow], changes: &[Change]) -> Vec<RecordBatch> {
    let all = || changes.iter();
    let events = batch(
        JIT_LIQUIDITY.inputs[5].columns,
        vec![
            ints(all().map(|change| Some(change.transaction))),
            ints(all().map(|change| Some(change.log))),
            fixed(all().map(|change| Some(transaction_hash(change.transaction)))),
            texts(all().map(|_| "uniswap")),
            pools(all().map(|change| change.pool)),
            texts(all().map(|change| change.kind)),
            addresses(all().map(|change| change.owner)),
            ints(all().map(|change| Some(change.ticks.0))),
            ints(all().map(|change| Some(change.ticks.1))),
            fixed(all().map(|_| None::<[u8; 32]>)),
            wide(all().map(|change| change.token_id)),
            wide(all().map(|change| (change.kind != "collect").then_some(change.liquidity))),
            wide(all().map(|change| Some(change.amounts.0))),
            wide(all().map(|change| Some(change.amounts.1))),
            addresses(all().map(|change| change.from)),
            addresses(all().map(|change| change.to)),
        ],
    );
    let costs = costs(20, &[(2, 20, 60, 7)], Some(60), &[(10, 1.0), (11, 2.0)]);
    [trades(rows)].into_iter().chain(costs).chain([events]).collect()
}

fn run(tables: &[RecordBatch]) -> RecordBatch {
    let router = Label { name: "manager".into(), kind: "infrastructure".into() };
    let labels = [([MANAGER; 20], router)].into();
    let settings = MevSettings { labels, wrapped_native: [[10; 20]].into(), ..MevSettings::default() };
    let mut kernel = (JIT_LIQUIDITY.kernel)(&Arc::new(settings));
    let answer = kernel.block(BlockRows { number: 5, hash: [1; 32], timestamp_ms: 7, tables });
    assert_eq!(answer.schema(), (JIT_LIQUIDITY.schema)());
    answer
}

/// The rule by its definition: `mint tx, burn tx, [victims]` of every position that came and went.
fn definition(rows: &[TradeRow], changes: &[Change]) -> Vec<String> {
    let at = |change: &Change| (change.transaction, change.log);
    let own = |to: u8| (to != 0 && to != MANAGER).then_some(to);
    let mut used = Vec::new();
    let mut found = Vec::new();
    for mint in changes.iter().filter(|change| change.kind == "mint" && change.liquidity > 0) {
        let fits = |burn: &&Change| {
            burn.kind == "burn"
                && burn.liquidity > 0
                && at(burn) > at(mint)
                && !used.contains(&at(burn))
                && (burn.pool, burn.owner, burn.ticks, burn.token_id)
                    == (mint.pool, mint.owner, mint.ticks, mint.token_id)
                && (mint.token_id.is_some()
                    || mint.from == burn.from
                    || own(mint.to).is_some() && own(mint.to) == own(burn.to))
                && burn.liquidity * 100 >= mint.liquidity * 99
        };
        let Some(burn) = changes.iter().find(fits) else { continue };
        used.push(at(burn));
        let mut before = None;
        let mut victims: Vec<i64> = Vec::new();
        for trade in rows.iter().filter(|trade| trade.pool == mint.pool) {
            let stranger = [mint, burn].iter().all(|change| {
                trade.transaction != change.transaction
                    && trade.from != change.from
                    && (own(trade.to).is_none() || own(trade.to) != own(change.to))
            });
            let place = (trade.transaction, trade.log);
            let after = trade.tick.expect("tests tell ticks");
            let side = match mint.amounts {
                (0, 0) => mint.ticks.0,
                (_, 0) => mint.ticks.0 - 1,
                (0, _) => mint.ticks.1,
                _ => mint.ticks.0,
            };
            let start = before.unwrap_or(side);
            let passed = start.min(after)..=start.max(after);
            let touched = passed.into_iter().any(|tick| (mint.ticks.0..mint.ticks.1).contains(&tick));
            if at(mint) < place && place < at(burn) && stranger && touched && victims.last() != Some(&trade.transaction)
            {
                victims.push(trade.transaction);
            }
            before = Some(after);
        }
        if !victims.is_empty() {
            let victims: Vec<String> = victims.iter().map(i64::to_string).collect();
            found.push(format!("{} {} [{}]", mint.transaction, burn.transaction, victims.join(" ")));
        }
    }
    found
}

fn block() -> impl Strategy<Value = (Vec<TradeRow>, Vec<Change>)> {
    let who = (20..23_u8, prop_oneof![Just(0_u8), Just(MANAGER), 50..52_u8]);
    let event = prop_oneof![
        3 => (1..3_u8, -4..4_i64).prop_map(|(pool, tick)| {
            (TradeRow { pool, places: Some((0, 1)), tokens: (10, 11), tick: Some(tick), ..TradeRow::default() }, None)
        }),
        4 => (
            1..3_u8,
            prop_oneof![Just("mint"), Just("burn"), Just("collect")],
            prop_oneof![Just((-2, 2)), Just((0, 3))],
            (30..32_u8, proptest::option::of(1..3_u128), prop_oneof![3 => Just(100_u128), 1 => 98..101_u128, 1 => Just(0)]),
            (0..2_u128, 0..2_u128),
        )
            .prop_map(|(pool, kind, ticks, (owner, token_id, liquidity), amounts)| {
                let change = Change { pool, kind, ticks, owner, token_id, liquidity, amounts, ..Change::default() };
                (TradeRow::default(), Some(change))
            }),
    ];
    let transaction = (who, proptest::collection::vec(event, 1..3));
    proptest::collection::vec(transaction, 0..10).prop_map(|transactions| {
        let (mut rows, mut changes, mut log) = (Vec::new(), Vec::new(), 0);
        for (transaction, ((from, to), events)) in (0..).zip(transactions) {
            for (trade, change) in events {
                log += 1;
                match change {
                    Some(change) => changes.push(Change { transaction, log, from, to, ..change }),
                    None => rows.push(TradeRow { transaction, log, from, to, ..trade }),
                }
            }
        }
        (rows, changes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition((rows, changes) in block()) {
        let answer = run(&tables(&rows, &changes));
        let lines: Vec<String> =
            (0..answer.num_rows()).map(|row| line(&answer, &["mint_tx", "burn_tx", "victim_txs"], row)).collect();
        prop_assert_eq!(lines, definition(&rows, &changes));
    }
}

#[test]
fn the_columns_of_a_position() {
    let place = |transaction, kind, amounts| Change {
        transaction,
        log: transaction * 10,
        pool: 1,
        kind,
        owner: 50,
        ticks: (0, 60),
        liquidity: 900,
        amounts,
        from: 20,
        to: 50,
        ..Change::default()
    };
    let collect = Change { log: 21, ..place(2, "collect", (62, 98)) };
    let changes = [place(0, "mint", (50, 100)), place(2, "burn", (60, 95)), collect];
    let trade = TradeRow {
        transaction: 1,
        log: 10,
        pool: 1,
        places: Some((0, 1)),
        tokens: (10, 11),
        amounts: (10, 5),
        tick: Some(30),
        liquidity: Some(1000),
        from: 21,
        ..TradeRow::default()
    };
    let found = run(&tables(&[trade], &changes));
    let said = |columns: &[&str]| line(&found, columns, 0);
    assert_eq!(said(&["pool", "attacker_eoa", "attacker_contract", "owner", "mint_tx", "burn_tx"]), "1 20 50 50 0 2");
    assert_eq!(said(&["victim_txs", "victim_transaction_indexes", "tick_lower", "tick_upper"]), "[1] [1] 0 60");
    assert_eq!(said(&["liquidity", "mint_amount0", "burn_amount1", "fees0", "fees1"]), "900 50 95 2 3");
    // 12 of one token, -2 of the other at 2 dollars, less 400 wei of gas and a tip of 7 at a dollar each.
    assert_eq!(said(&["fee_share", "gas_cost_wei", "tip_wei", "profit_usd"]), "0.9 400 7 -399");
    assert_eq!(said(&["confidence", "rule_version"]), "high 1");
}
