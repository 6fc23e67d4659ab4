//! Liquidations against their rule, over random blocks and over the shapes of the protocols.

mod harness;
#[path = "reference/liquidations.rs"]
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::model::evm;
use highwater_operators::mev::{BlockRelation, LookBack, MevSettings, RELATIONS};
use proptest::prelude::*;

use harness::Random;
use harness::kernel::{KernelBlock, KernelShape, drive};
use harness::tables::{Cell, Row, batch, input_schema, rows_of};

const WRAPPED: [u8; 20] = [0xee; 20];
const DOLLAR: [u8; 20] = [0xdd; 20];
const TABLED: [u8; 20] = [0x7a; 20];
const DEPOSIT: [u8; 20] = [0xc0; 20];
const TOKENS: [[u8; 20]; 4] = [WRAPPED, DOLLAR, TABLED, DEPOSIT];
const LIQUIDATOR: [u8; 20] = [1; 20];
const PARTIES: [[u8; 20]; 4] = [LIQUIDATOR, [2; 20], [3; 20], DEPOSIT];

fn settings() -> Arc<MevSettings> {
    let mut settings = MevSettings::default();
    settings.wrapped_native.insert(WRAPPED);
    settings.stablecoins.insert(DOLLAR, 2);
    settings.prices.insert(TABLED, 1_700_000_060_000, 2.5);
    settings.look_back = LookBack { auction_blocks: 3, compound_v3_blocks: 1, ..LookBack::default() };
    Arc::new(settings)
}

fn relation(name: &str) -> &'static BlockRelation {
    RELATIONS.iter().find(|relation| relation.name == name).expect("the relation is listed")
}

/// The tables of a block in the order of the inputs.
fn block_tables(block: &KernelBlock, tables: [&[Row]; 5]) -> Vec<RecordBatch> {
    let inputs = relation("liquidations").inputs.iter().zip(tables);
    let tables = inputs.map(|(input, rows)| {
        let schema = evm::schema(input.name).unwrap_or_else(|| (relation(input.name).schema)());
        batch(&input_schema(&schema, input), block, rows)
    });
    tables.collect()
}

fn place(transaction: i64, log: i64) -> Row {
    Row::from([("transaction_index", Cell::Int(transaction)), ("log_index", Cell::Int(log))])
}

fn address(bytes: [u8; 20]) -> Cell {
    Cell::Bytes(bytes.to_vec())
}

fn transfer(at: (i64, i64), token: [u8; 20], from: [u8; 20], to: [u8; 20], amount: u128) -> Row {
    let mut row = place(at.0, at.1);
    row.extend([
        ("token_address", address(token)),
        ("from_address", address(from)),
        ("to_address", address(to)),
        ("amount", Cell::Amount(amount)),
    ]);
    row
}

fn random_transfer(random: &mut Random, at: (i64, i64)) -> Row {
    let (token, from, to) = (random.pick(&TOKENS), random.pick(&PARTIES), random.pick(&PARTIES));
    let mut row = transfer(at, token, from, to, u128::from(random.below(4)));
    if random.chance(5) {
        row.insert("log_index", Cell::Null);
    }
    row
}

fn random_event(random: &mut Random, at: (i64, i64)) -> Row {
    let mut row = place(at.0, at.1);
    let mut some = |cell: Cell, percent: u64| if random.chance(percent) { cell } else { Cell::Null };
    let liquidator = some(address(LIQUIDATOR), 90);
    let picked = |random: &mut Random, percent: u64| {
        if random.chance(percent) { address(random.pick(&TOKENS)) } else { Cell::Null }
    };
    let (debt, collateral) = (picked(random, 85), picked(random, 90));
    let amount = |random: &mut Random| {
        if random.chance(90) { Cell::Amount(u128::from(random.below(4))) } else { Cell::Null }
    };
    row.extend([("liquidator", liquidator), ("debt_token", debt), ("collateral_token", collateral)]);
    row.extend([("debt_repaid", amount(random)), ("collateral_seized", amount(random))]);
    let events = ["liquidation_call", "bark", "bark", "kick", "take", "take", "absorb_collateral", "buy_collateral"];
    row.insert("event", Cell::Text(random.pick(&events).to_owned()));
    row.insert("market", address([0x30 + u8::try_from(random.below(2)).expect("few"); 20]));
    row.insert("transaction_hash", Cell::Bytes(random.next().to_be_bytes().repeat(4)));
    if random.chance(90) {
        row.insert("auction_id", Cell::Amount(u128::from(random.below(3))));
        row.insert("borrower", address([u8::try_from(random.below(200)).expect("few"); 20]));
        row.insert("market_id", Cell::Bytes(vec![u8::try_from(random.below(200)).expect("few"); 32]));
    }
    row
}

fn transaction(random: &mut Random, index: i64) -> Row {
    let mut row = Row::from([("transaction_index", Cell::Int(index))]);
    let mut some = |cell: Cell, percent: u64| if random.chance(percent) { cell } else { Cell::Null };
    row.extend([("gas_used", some(Cell::Int(21_000), 90)), ("effective_gas_price", some(Cell::Wei(7), 60))]);
    row.extend([("gas_price", some(Cell::Wei(9), 60)), ("l1_fee", some(Cell::Amount(11), 40))]);
    row
}

fn tables(random: &mut Random, block: &KernelBlock) -> Vec<RecordBatch> {
    let (mut events, mut transfers, mut oracle) = (Vec::new(), Vec::new(), Vec::new());
    for log in 0..i64::try_from(random.below(24)).expect("few") {
        let at = (log / 10, log);
        match random.below(10) {
            0..3 => events.push(random_event(random, at)),
            3 => {
                let mut row = place(at.0, at.1);
                row.insert("transaction_hash", Cell::Bytes(vec![u8::try_from(log).expect("few"); 32]));
                oracle.push(row);
            }
            _ => transfers.push(random_transfer(random, at)),
        }
    }
    let mut transactions: Vec<Row> = (0..3).map(|index| transaction(random, index)).collect();
    transactions.retain(|_| !random.chance(5));
    let price = |random: &mut Random, token: [u8; 20]| {
        Row::from([("token_address", address(token)), ("usd_per_raw_unit", Cell::Float(random.below(9) as f64 / 4.0))])
    };
    let priced: Vec<[u8; 20]> = TOKENS.into_iter().filter(|_| random.chance(60)).collect();
    let prices: Vec<Row> = priced.into_iter().map(|token| price(random, token)).collect();
    block_tables(block, [&events, &transfers, &transactions, &prices, &oracle])
}

fn found(output: &RecordBatch) -> Vec<reference::Found> {
    let found = |row: BTreeMap<String, Cell>| {
        let received = match (&row["received_token"], &row["received_amount"]) {
            (Cell::Bytes(token), Cell::Amount(amount)) => Some((token.clone(), *amount)),
            (Cell::Null, Cell::Null) => None,
            half => panic!("{half:?}"),
        };
        let cell = |name: &str| row[name].clone();
        (received, cell("gas_cost_wei"), cell("bonus_bps"), cell("profit_usd"), cell("trigger_tx"))
    };
    rows_of(output).into_iter().map(found).collect()
}

fn linked(output: &RecordBatch) -> Vec<reference::Linked> {
    let linked = |row: BTreeMap<String, Cell>| reference::LINKED.map(|name| row[name].clone());
    rows_of(output).into_iter().map(linked).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_their_rule_after_every_step(seed in any::<u64>()) {
        let shape = KernelShape { seed, steps: 6, max_depth: 4, reorg_percent: 30, restart_percent: 20, lag: 4 };
        let make = || (relation("liquidations").kernel)(&settings());
        drive(&shape, make, tables, |chain, outputs| {
            let linked: Vec<Vec<reference::Linked>> = outputs.iter().map(linked).collect();
            assert_eq!(linked, reference::links(chain, &settings()));
            for (block, output) in chain.iter().zip(outputs) {
                assert_eq!(found(output), reference::liquidations(block, &settings()), "block {}", block.number);
                let events = rows_of(&block.tables[0]);
                for (event, row) in events.iter().zip(rows_of(output)) {
                    assert!(event.iter().all(|(name, cell)| row[name] == *cell), "the event stays as it is");
                }
            }
        });
    }
}

/// Random histories hold links within a block, over blocks, and steps without any.
#[test]
fn histories_hold_every_link() {
    let mut counts = BTreeMap::new();
    let shape = KernelShape { seed: 7, steps: 40, max_depth: 1, reorg_percent: 0, restart_percent: 0, lag: 100 };
    let make = || (relation("liquidations").kernel)(&settings());
    drive(&shape, make, tables, |chain, outputs| {
        let height = chain.last().expect("a block").number;
        for (event, link) in
            rows_of(outputs.last().expect("a block")).iter().zip(linked(outputs.last().expect("a block")))
        {
            let Cell::Text(event) = &event["event"] else { panic!("an event has a name") };
            let distance =
                if let Cell::Int(block) = link[1] { Some(i64::try_from(height).expect("small") - block) } else { None };
            *counts.entry((event.clone(), distance)).or_insert(0) += 1;
        }
    });
    let all = [("kick", Some(0)), ("take", Some(0)), ("take", Some(3)), ("take", None), ("buy_collateral", Some(1))];
    assert!(all.iter().all(|(event, distance)| counts.contains_key(&((*event).to_owned(), *distance))), "{counts:?}");
}

#[test]
fn memory_is_what_may_still_be_joined() {
    let mut kernel = (relation("liquidations").kernel)(&settings());
    for number in 1..200 {
        let mut block = KernelBlock { number, hash: [1; 32], timestamp_ms: 0, tables: Vec::new() };
        let mut bark = place(0, 0);
        bark.extend([("event", Cell::Text("bark".into())), ("auction_id", Cell::Amount(u128::from(number)))]);
        block.tables = block_tables(&block, [&[bark], &[], &[], &[], &[]]);
        kernel.block(block.rows());
        kernel.finalize(number.saturating_sub(10));
        assert!(kernel.size().entries <= 13, "{} entries", kernel.size().entries);
    }
}

#[test]
fn a_purchase_from_an_auction_of_maker() {
    // Next to nothing, since rads do not fit the amounts of tests, buys 2 tokens at 60 dollars; gas is 20 dollars.
    let settings = {
        let mut settings = (*settings()).clone();
        settings.prices.insert(TABLED, 1_700_000_000_000, 60e-18);
        Arc::new(settings)
    };
    let run = |decimals: u32| {
        let mut take = place(0, 1);
        let rads = 10_u128.pow(33);
        take.extend([("event", Cell::Text("take".into())), ("debt_repaid", Cell::Amount(rads))]);
        take.insert("collateral_seized", Cell::Amount(2 * 10_u128.pow(18)));
        let bought = transfer((0, 3), TABLED, [9; 20], LIQUIDATOR, 2 * 10_u128.pow(decimals));
        let earlier = transfer((0, 0), TABLED, [9; 20], LIQUIDATOR, 2 * 10_u128.pow(decimals));
        let transaction =
            Row::from([("transaction_index", Cell::Int(0)), ("gas_used", Cell::Int(10)), ("gas_price", Cell::Wei(4))]);
        let price = Row::from([("token_address", address(WRAPPED)), ("usd_per_raw_unit", Cell::Float(0.5))]);
        let mut block = KernelBlock { number: 1, hash: [1; 32], timestamp_ms: 1_700_000_000_000, tables: Vec::new() };
        block.tables = block_tables(&block, [&[take], &[earlier, bought], &[transaction], &[price], &[]]);
        let mut kernel = (relation("liquidations").kernel)(&settings);
        found(&kernel.block(block.rows())).remove(0)
    };
    let (received, gas, _, profit, _) = run(18);
    assert_eq!((received, gas), (Some((TABLED.to_vec(), 2 * 10_u128.pow(18))), Cell::Amount(40)));
    let Cell::Float(profit) = profit else { panic!("prices are known") };
    assert!((profit - 100.0).abs() < 1e-6, "{profit}");
    assert_eq!(run(8).0, Some((TABLED.to_vec(), 200_000_000)));
    assert_eq!(run(7).0, None);
}

fn one_block(events: &[Row], transfers: &[Row]) -> Vec<reference::Found> {
    let mut block = KernelBlock { number: 1, hash: [1; 32], timestamp_ms: 1_700_000_060_000, tables: Vec::new() };
    let transaction = Row::from([
        ("transaction_index", Cell::Int(0)),
        ("gas_used", Cell::Int(10)),
        ("effective_gas_price", Cell::Wei(20)),
    ]);
    let price = Row::from([("token_address", address(WRAPPED)), ("usd_per_raw_unit", Cell::Float(0.5))]);
    block.tables = block_tables(&block, [events, transfers, &[transaction], &[price], &[]]);
    let mut kernel = (relation("liquidations").kernel)(&settings());
    found(&kernel.block(block.rows()))
}

fn event(log: i64, debt: ([u8; 20], u128), collateral: ([u8; 20], u128)) -> Row {
    let mut row = place(0, log);
    row.extend([("liquidator", address(LIQUIDATOR)), ("debt_token", address(debt.0))]);
    row.extend([("debt_repaid", Cell::Amount(debt.1)), ("collateral_token", address(collateral.0))]);
    row.insert("collateral_seized", Cell::Amount(collateral.1));
    row
}

#[test]
fn a_lending_pool_pays_the_collateral_itself() {
    // 1,000 dollars of debt for 2,100 units at half a dollar; gas costs 100 dollars.
    let moved =
        [transfer((0, 1), DOLLAR, LIQUIDATOR, [9; 20], 100_000), transfer((0, 2), WRAPPED, [9; 20], LIQUIDATOR, 2_100)];
    let found = one_block(&[event(3, (DOLLAR, 100_000), (WRAPPED, 2_100))], &moved);
    let (received, gas, bonus, profit, trigger) = &found[0];
    assert_eq!(received, &Some((WRAPPED.to_vec(), 2_100)));
    assert_eq!((gas, trigger), (&Cell::Amount(200), &Cell::Null));
    assert_eq!((bonus, profit), (&Cell::Float(10_000.0 * (1050.0 / 1000.0 - 1.0)), &Cell::Float(-50.0)));
}

#[test]
fn seized_deposits_are_worth_what_they_are_redeemed_for() {
    // Compound II: the protocol keeps a part of the deposits, the liquidator redeems the rest.
    let moved = [
        transfer((0, 1), DOLLAR, LIQUIDATOR, [9; 20], 100_000),
        transfer((0, 2), DEPOSIT, [8; 20], LIQUIDATOR, 972),
        transfer((0, 3), DEPOSIT, [8; 20], DEPOSIT, 28),
        transfer((0, 5), WRAPPED, DEPOSIT, LIQUIDATOR, 2_300),
        transfer((0, 6), DEPOSIT, LIQUIDATOR, DEPOSIT, 972),
    ];
    let found = one_block(&[event(4, (DOLLAR, 100_000), (DEPOSIT, 1_000))], &moved);
    assert_eq!(found[0].0, Some((WRAPPED.to_vec(), 2_300)));
    assert_eq!(found[0].3, Cell::Float(1150.0 - 1000.0 - 100.0));
    // Kept, they have no price.
    let found = one_block(&[event(4, (DOLLAR, 100_000), (DEPOSIT, 1_000))], &moved[..3]);
    assert_eq!((&found[0].0, &found[0].3), (&Some((DEPOSIT.to_vec(), 972)), &Cell::Null));
}
