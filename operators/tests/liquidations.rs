//! Liquidations against their rule, over random blocks and over the shapes of the protocols.

mod harness;
#[path = "reference/liquidations.rs"]
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::model::evm;
use highwater_operators::mev::{BlockRelation, MevSettings, RELATIONS};
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
            0..2 => events.push(random_event(random, at)),
            2 => {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_their_rule_after_every_step(seed in any::<u64>()) {
        let shape = KernelShape { seed, steps: 6, max_depth: 4, reorg_percent: 30, restart_percent: 20, lag: 4 };
        let make = || (relation("liquidations").kernel)(&settings());
        drive(&shape, make, tables, |chain, outputs| {
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
