//! The relation `jit_liquidity` against the definition of rule J1, over random blocks.

mod chain_rows;
mod harness;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chain_rows::{TradeRow, addresses, batch, costs, fixed, ints, line, pools, texts, trades, transaction_hash, wide};
use highwater_operators::block_kernel::BlockKernel;
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::jit_liquidity::JIT_LIQUIDITY;
use highwater_operators::mev::{Label, LookBack, MevSettings};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use harness::kernel::{KernelBlock, KernelShape, drive};

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
    with_liquidations(rows, changes, &[])
}

fn with_liquidations(rows: &[TradeRow], changes: &[Change], liquidations: &[i64]) -> Vec<RecordBatch> {
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
    let liquidations = batch(&["transaction_index"], vec![ints(liquidations.iter().copied().map(Some))]);
    [trades(rows)].into_iter().chain(costs).chain([events, liquidations]).collect()
}

fn kernel(jit_blocks: u64) -> Box<dyn BlockKernel> {
    let router = Label { name: "manager".into(), kind: "infrastructure".into() };
    let labels = [([MANAGER; 20], router)].into();
    let look_back = LookBack { jit_blocks, ..LookBack::default() };
    let settings = MevSettings { labels, wrapped_native: [[10; 20]].into(), look_back, ..MevSettings::default() };
    (JIT_LIQUIDITY.kernel)(&Arc::new(settings))
}

fn run(tables: &[RecordBatch]) -> RecordBatch {
    let mut kernel = kernel(1);
    let answer = kernel.block(BlockRows { number: 5, hash: [1; 32], timestamp_ms: 7, tables });
    assert_eq!(answer.schema(), (JIT_LIQUIDITY.schema)());
    answer
}

/// Transactions of a block are numbered within this many, where several blocks are one list.
const OF_BLOCK: i64 = 1000;

/// The rule by its definition: mint, burn and victims of every position that came and went within so many
/// blocks, by the numbers of their transactions.
fn definition(rows: &[TradeRow], changes: &[Change], blocks: i64) -> Vec<(i64, i64, Vec<i64>)> {
    let mut used = Vec::new();
    let mut found = Vec::new();
    for mint in changes.iter().filter(|change| change.kind == "mint" && change.liquidity > 0) {
        let fits = |burn: &&Change| {
            burn.kind == "burn"
                && burn.liquidity > 0
                && at(burn) > at(mint)
                && burn.transaction / OF_BLOCK - mint.transaction / OF_BLOCK < blocks
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
        let victims = victims(rows, mint, burn);
        if !victims.is_empty() {
            found.push((mint.transaction, burn.transaction, victims));
        }
    }
    found
}

fn at(change: &Change) -> (i64, i64) {
    (change.transaction, change.log)
}

/// The contract called, unless it serves everybody.
fn own(to: u8) -> Option<u8> {
    (to != 0 && to != MANAGER).then_some(to)
}

/// Transactions of others that traded through the range of a position.
fn victims(rows: &[TradeRow], mint: &Change, burn: &Change) -> Vec<i64> {
    let mut before = None;
    let mut victims: Vec<i64> = Vec::new();
    let first = mint.transaction / OF_BLOCK * OF_BLOCK;
    for trade in rows.iter().filter(|trade| trade.pool == mint.pool && trade.transaction >= first) {
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
        if at(mint) < place && place < at(burn) && stranger && touched && victims.last() != Some(&trade.transaction) {
            victims.push(trade.transaction);
        }
        before = Some(after);
    }
    victims
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
        let definition = definition(&rows, &changes, 1).into_iter();
        let wanted: Vec<String> =
            definition.map(|(mint, burn, victims)| format!("{mint} {burn} {}", numbers(&victims, |of| of))).collect();
        prop_assert_eq!(lines, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_definition_over_several_blocks(seed in any::<u64>(), blocks in 1..5_u64) {
        let shape = KernelShape { seed, steps: 6, max_depth: 4, reorg_percent: 40, restart_percent: 20, lag: 3 };
        let made = Made::default();
        drive(&shape, || kernel(blocks), |random, block| made.block(random, block), |chain, outputs| {
            let found = chain.iter().zip(outputs).flat_map(|(_, rows)| (0..rows.num_rows()).map(|row| line(rows, &TOLD, row)));
            assert_eq!(found.collect::<Vec<_>>(), made.wanted(chain, blocks), "seed {seed}");
        });
    }
}

/// What is compared over several blocks.
const TOLD: [&str; 9] = [
    "block_number",
    "mint_block_number",
    "mint_transaction_index",
    "burn_transaction_index",
    "victim_block_numbers",
    "victim_transaction_indexes",
    "gas_cost_wei",
    "tip_wei",
    "confidence",
];

fn numbers(values: &[i64], of: impl Fn(i64) -> i64) -> String {
    let values: Vec<String> = values.iter().map(|value| of(*value).to_string()).collect();
    format!("[{}]", values.join(" "))
}

type Events = (Vec<TradeRow>, Vec<Change>);

/// The blocks of a history by their hashes.
#[derive(Default)]
struct Made(RefCell<BTreeMap<[u8; 32], Events>>);

impl Made {
    fn block(&self, random: &mut harness::Random, at: &KernelBlock) -> Vec<RecordBatch> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&random.next().to_be_bytes());
        let random = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(ProptestConfig::default(), random);
        let (mut rows, mut changes) = block().new_tree(&mut runner).expect("no filter").current();
        // One pool and one owner, so that positions meet their burns.
        rows.iter_mut().for_each(|row| row.pool = 1);
        for change in &mut changes {
            (change.pool, change.owner, change.ticks) = (1, 30, (-2, 2));
            change.token_id = change.token_id.filter(|_| change.log % 2 == 0);
        }
        let tables = tables(&rows, &changes);
        self.0.borrow_mut().insert(at.hash, (rows, changes));
        tables
    }

    /// The lines of all blocks of a chain.
    fn wanted(&self, chain: &[KernelBlock], blocks: u64) -> Vec<String> {
        let made = self.0.borrow();
        let (mut rows, mut changes) = (Vec::new(), Vec::new());
        for block in chain {
            let (of_block, changes_of_block) = &made[&block.hash];
            let first = i64::try_from(block.number).expect("small") * OF_BLOCK;
            rows.extend(of_block.iter().map(|row| TradeRow { transaction: first + row.transaction, ..row.clone() }));
            let moved = |change: &Change| Change { transaction: first + change.transaction, ..change.clone() };
            changes.extend(changes_of_block.iter().map(moved));
        }
        let mut found = definition(&rows, &changes, i64::try_from(blocks).expect("small"));
        // Rows are of the block of the burn, in the order of the mints.
        found.sort_by_key(|(mint, burn, _)| (burn / OF_BLOCK, *mint));
        let (height, index) = (|of: i64| of / OF_BLOCK, |of: i64| of % OF_BLOCK);
        let told = |(mint, burn, victims): (i64, i64, Vec<i64>)| {
            let tips = [mint, burn].into_iter().filter(|of| index(*of) == 2).count() * 7;
            let victims = format!("{} {}", numbers(&victims, height), numbers(&victims, index));
            let sure = if height(mint) == height(burn) { "high" } else { "medium" };
            format!("{} {} {} {} {victims} 400 {tips} {sure}", height(burn), height(mint), index(mint), index(burn))
        };
        found.into_iter().map(told).collect()
    }
}

/// Histories hold positions that live longer than a block, also of a mint that had to wait for its burn.
#[test]
fn histories_hold_positions_of_several_blocks() {
    let (made, mut several) = (Made::default(), 0);
    for seed in 0..40 {
        let shape = KernelShape { seed, steps: 6, max_depth: 4, reorg_percent: 0, restart_percent: 0, lag: 3 };
        drive(
            &shape,
            || kernel(3),
            |random, block| made.block(random, block),
            |chain, outputs| {
                let rows = outputs.last().expect("a block");
                let number = chain.last().expect("a block").number.to_string();
                several += (0..rows.num_rows()).filter(|row| line(rows, &TOLD[1..2], *row) != number).count();
            },
        );
    }
    assert!(several > 20, "{several}");
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

#[test]
fn a_position_may_go_with_a_sandwich_or_a_liquidation() {
    let change = |transaction, kind| Change {
        transaction,
        log: transaction * 10,
        pool: 1,
        kind,
        owner: 50,
        ticks: (0, 60),
        liquidity: 900,
        from: 20,
        to: 50,
        ..Change::default()
    };
    let trade = |transaction, places: (i64, i64), from, amounts| TradeRow {
        transaction,
        log: transaction * 10 + 1,
        pool: 1,
        places: Some(places),
        tokens: if places.0 == 0 { (10, 11) } else { (11, 10) },
        amounts,
        tick: Some(30),
        from,
        ..TradeRow::default()
    };
    let changes = [change(0, "mint"), change(2, "burn")];
    let victim = trade(1, (0, 1), 21, (100, 90));
    let said = |rows: &[TradeRow], liquidations: &[i64]| {
        let found = run(&with_liquidations(rows, &changes, liquidations));
        assert_eq!(found.num_rows(), 1);
        line(&found, &["superseded_by"], 0)
    };
    assert_eq!(said(std::slice::from_ref(&victim), &[1]), "-");
    assert_eq!(said(std::slice::from_ref(&victim), &[2]), "liquidation");
    let sandwich = [trade(0, (0, 1), 20, (100, 95)), victim, trade(2, (1, 0), 20, (95, 110))];
    assert_eq!(said(&sandwich, &[]), "jit_sandwich");
    assert_eq!(said(&sandwich, &[0]), "liquidation");
}
