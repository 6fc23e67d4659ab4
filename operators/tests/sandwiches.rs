//! The relations `sandwiches` and `sandwich_legs`: what their columns say.

mod chain_rows;
#[path = "reference/constant_product.rs"]
mod constant_product;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chain_rows::{TradeRow, batch, costs, ints, line, text, trades};
use constant_product::{after, amount_out, outs};
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::sandwiches::{SANDWICH_LEGS, SANDWICHES};
use highwater_operators::mev::{BlockRelation, MevSettings};
use proptest::prelude::*;

const NATIVE: u8 = 10;
const COIN: u8 = 11;

fn run(relation: &BlockRelation, tables: &[RecordBatch]) -> RecordBatch {
    let settings = MevSettings { wrapped_native: [[NATIVE; 20]].into(), ..MevSettings::default() };
    let mut kernel = (relation.kernel)(&Arc::new(settings));
    let rows = BlockRows { number: 5, hash: [1; 32], timestamp_ms: 7, tables };
    let answer = kernel.block(rows);
    assert_eq!(answer.schema(), (relation.schema)());
    answer
}

/// Trades of a constant product pool: who, the coin sold, how much.
fn pool(mut reserves: (u128, u128), of: &[(u8, i64, u128)], fee_pips: u128) -> Vec<TradeRow> {
    let mut rows = Vec::new();
    for (transaction, (from, sold, amount)) in (0..).zip(of) {
        let out = amount_out(reserves, *sold, *amount, fee_pips);
        reserves = after(reserves, *sold, *amount, out);
        let (place, token) = ((*sold, 1 - sold), [NATIVE, COIN]);
        let tokens = if *sold == 0 { (token[0], token[1]) } else { (token[1], token[0]) };
        rows.push(TradeRow {
            transaction,
            log: transaction * 3,
            pool: 1,
            places: Some(place),
            tokens,
            amounts: (*amount, out),
            reserves: Some(reserves),
            from: *from,
            ..TradeRow::default()
        });
    }
    rows
}

fn whole(rows: &[TradeRow]) -> Vec<RecordBatch> {
    with_liquidations(rows, &[])
}

fn with_liquidations(rows: &[TradeRow], liquidations: &[i64]) -> Vec<RecordBatch> {
    let liquidations = batch(&["transaction_index"], vec![ints(liquidations.iter().copied().map(Some))]);
    let costs = costs(20, &[(2, 20, 9, 40)], Some(9), &[(NATIVE, 0.5)]);
    [trades(rows)].into_iter().chain(costs).chain([liquidations]).collect()
}

#[test]
fn the_columns_of_a_sandwich() {
    let bought = amount_out((1_000_000, 3_000_000), 0, 50_000, 3000);
    let rows = pool((1_000_000, 3_000_000), &[(20, 0, 50_000), (21, 0, 100_000), (20, 1, bought)], 3000);
    let found = run(&SANDWICHES, &whole(&rows));
    assert_eq!(found.num_rows(), 1);
    let said = |columns: &[&str]| line(&found, columns, 0);
    assert_eq!(said(&["chain", "chain_id", "block_number", "pool", "protocol"]), "test 1 5 1 uniswap");
    assert_eq!(said(&["attacker_eoa", "attacker_contract", "token_in", "token_out"]), "20 - 10 11");
    assert_eq!(said(&["front_txs", "victim_txs", "back_txs"]), "[0] [1] [2]");
    assert_eq!(said(&["front_transaction_indexes", "victim_log_indexes", "back_log_indexes"]), "[0] [3] [6]");
    let earned = rows[2].amounts.1 - 50_000;
    assert_eq!(said(&["front_in", "gross_profit", "victim_count"]), format!("50000 {earned} 1"));
    // Two transactions of 100 gas at 2 wei, a tip of 40 wei, 0.5 dollars a wei.
    assert_eq!(said(&["gas_cost_wei", "tip_wei", "net_profit"]), format!("400 40 {}", earned - 440));
    let usd: f64 = text(&found, "profit_usd", 0).parse().expect("a number");
    assert!((usd * 2.0 - (earned - 440) as f64).abs() < 1e-6);
    assert_eq!(said(&["balance_ratio", "imbalance", "match", "confidence", "rule_version"]), "1 none exact high 1");
    let alone = amount_out((1_000_000, 3_000_000), 0, 100_000, 3000);
    assert_eq!(said(&["victim_loss"]), (alone - rows[1].amounts.1).to_string());
    let evidence = text(&found, "evidence", 0);
    assert!(evidence.starts_with("[0x0707") && evidence.ends_with("02:6]"), "{evidence}");

    let legs = run(&SANDWICH_LEGS, &[trades(&rows)]);
    let columns = ["role", "transaction_index", "tx_from", "tx_to", "pool", "token_sold", "amount_sold"];
    let lines: Vec<String> = (0..legs.num_rows()).map(|row| line(&legs, &columns, row)).collect();
    let back = format!("back 2 20 - 1 11 {bought}");
    assert_eq!(lines, ["front 0 20 - 1 10 50000", "victim 1 21 - 1 10 100000", back.as_str()]);
    assert_eq!(text(&legs, "sandwich_id", 0), text(&found, "sandwich_id", 0));
}

#[test]
fn what_is_not_known_is_null() {
    let mut rows = pool((1_000_000, 3_000_000), &[(20, 0, 50_000), (21, 0, 100_000), (20, 1, 142_000)], 3000);
    rows[1].amounts.1 -= 10_000;
    rows.iter_mut().for_each(|row| row.tokens.0 = 0);
    let liquidations = batch(&["transaction_index"], vec![ints([])]);
    let costs = costs(2, &[], None, &[]);
    let tables: Vec<RecordBatch> = [trades(&rows)].into_iter().chain(costs).chain([liquidations]).collect();
    let found = run(&SANDWICHES, &tables);
    let columns =
        ["token_in", "gas_cost_wei", "tip_wei", "net_profit", "victim_loss", "victim_loss_bound", "profit_usd"];
    assert_eq!(line(&found, &columns, 0), "- - - - - - -");
}

#[test]
fn concentrated_liquidity_has_a_bound() {
    let x96 = |root: u128| Some(root << 96);
    let row = |transaction, from, sold: i64, amounts, price| TradeRow {
        transaction,
        log: transaction,
        pool: 1,
        places: Some((sold, 1 - sold)),
        tokens: (10, 11),
        amounts,
        sqrt_price_x96: price,
        liquidity: Some(1_000_000),
        from,
        ..TradeRow::default()
    };
    // Coin 1 in: the price of coin 0 goes from 4 to 9, so the victim pays at most 9 / 4 of what it would have.
    let rows = [
        row(0, 22, 0, (1, 1), x96(2)),
        row(1, 20, 1, (1_000_000, 300_000), x96(3)),
        row(2, 21, 1, (1000, 90), x96(4)),
        row(3, 20, 0, (300_000, 1_000_000), x96(2)),
    ];
    assert_eq!(line(&run(&SANDWICHES, &whole(&rows)), &["victim_loss", "victim_loss_bound"], 0), "- 1250");
    // Without an earlier trade the price before follows from what came out: 1/2 - 1/3 of the liquidity.
    let mut alone = rows[1..].to_vec();
    alone[0].amounts.1 = 166_666;
    alone[2].amounts.0 = 166_666;
    let bound: u128 = text(&run(&SANDWICHES, &whole(&alone)), "victim_loss_bound", 0).parse().expect("a number");
    assert!((1249..=1250).contains(&bound), "{bound}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// The loss is what running the pool again without the attacker gives.
    #[test]
    fn the_loss_of_victims(
        reserves in (1_000_000_000_000..1_000_000_000_000_000_u128, 1_000_000_000_000..1_000_000_000_000_000_u128),
        front in 1..80_u128,
        others in proptest::collection::vec((21..24_u8, 0..2_i64, 1..80_u128), 1..6),
        fee_pips in prop_oneof![Just(3000_u128), Just(2500), Just(10_000)],
    ) {
        let depth = |sold: i64| if sold == 0 { reserves.0 } else { reserves.1 };
        let mut of = vec![(20, 0, reserves.0 * front / 1000)];
        of.extend(others.iter().map(|(from, sold, part)| (*from, *sold, depth(*sold) * part / 1000)));
        let bought = amount_out(reserves, 0, of[0].2, fee_pips);
        of.push((20, 1, bought));
        let rows = pool(reserves, &of, fee_pips);
        let found = run(&SANDWICHES, &whole(&rows));
        let victims: Vec<usize> = (1..of.len() - 1).filter(|index| of[*index].1 == 0).collect();
        if victims.is_empty() {
            prop_assert_eq!(found.num_rows(), 0);
            return Ok(());
        }
        let last = *victims.last().expect("not empty");
        let between: Vec<(i64, u128)> = of[1..=last].iter().map(|(_, sold, amount)| (*sold, *amount)).collect();
        let alone = outs(reserves, &between, fee_pips);
        let lost = |index: &usize| {
            i128::try_from(alone[*index - 1]).expect("small") - i128::try_from(rows[*index].amounts.1).expect("small")
        };
        let expected: i128 = victims.iter().map(lost).sum();
        prop_assert_eq!(text(&found, "victim_loss", 0), expected.to_string());
    }
}

#[test]
fn a_sandwich_that_liquidates_is_a_liquidation() {
    let bought = amount_out((1_000_000, 3_000_000), 0, 50_000, 3000);
    let rows = pool((1_000_000, 3_000_000), &[(20, 0, 50_000), (21, 0, 100_000), (20, 1, bought)], 3000);
    for (liquidates, superseded) in [(0, "liquidation"), (1, "-"), (2, "liquidation")] {
        let found = run(&SANDWICHES, &with_liquidations(&rows, &[liquidates]));
        assert_eq!(text(&found, "superseded_by", 0), superseded, "transaction {liquidates}");
    }
}
