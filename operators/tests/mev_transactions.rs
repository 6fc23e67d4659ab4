//! The relation `mev_transactions` against its definition, over random findings of the other relations.

mod chain_rows;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use chain_rows::{batch, fixed, ints, line, texts, transaction_hash};
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::MevSettings;
use highwater_operators::mev::precedence::MEV_TRANSACTIONS;
use proptest::prelude::*;

/// What the other relations found in block 5; identifiers are small numbers.
#[derive(Clone, Debug, Default)]
struct Findings {
    /// Transaction, sandwich, role.
    legs: Vec<(i64, i64, &'static str)>,
    /// Transaction, arbitrage.
    arbitrages: Vec<(i64, i64)>,
    /// Position, transaction of the burn, block and transaction of the mint.
    positions: Vec<(i64, i64, i64, i64)>,
    liquidations: Vec<i64>,
}

fn table(input: usize, rows: usize, columns: Vec<ArrayRef>) -> RecordBatch {
    let chain = [texts((0..rows).map(|_| "test")), ints((0..rows).map(|_| Some(1)))];
    batch(MEV_TRANSACTIONS.inputs[input].columns, chain.into_iter().chain(columns).collect())
}

fn run(findings: &Findings) -> RecordBatch {
    let hashes = |values: Vec<i64>| fixed(values.into_iter().map(|value| Some(transaction_hash(value))));
    let numbers = |values: Vec<i64>| ints(values.into_iter().map(Some));
    let Findings { legs, arbitrages, positions, liquidations } = findings;
    let of_legs: Vec<i64> = legs.iter().map(|leg| leg.0).collect();
    let of_arbitrages: Vec<i64> = arbitrages.iter().map(|arbitrage| arbitrage.0).collect();
    let burns: Vec<i64> = positions.iter().map(|position| position.1).collect();
    let mints: Vec<i64> = positions.iter().map(|position| position.3).collect();
    let legs = vec![
        numbers(of_legs.clone()),
        hashes(of_legs),
        hashes(legs.iter().map(|leg| leg.1).collect()),
        texts(legs.iter().map(|leg| leg.2)),
    ];
    let arbitrages = vec![
        numbers(of_arbitrages.clone()),
        hashes(of_arbitrages),
        hashes(arbitrages.iter().map(|one| one.1).collect()),
    ];
    let positions = vec![
        numbers(burns.clone()),
        hashes(burns),
        hashes(positions.iter().map(|position| position.0).collect()),
        numbers(mints.clone()),
        hashes(mints),
        numbers(positions.iter().map(|position| position.2).collect()),
    ];
    let liquidations = vec![numbers(liquidations.clone()), hashes(liquidations.clone())];
    let tables: Vec<RecordBatch> = [legs, arbitrages, positions, liquidations]
        .into_iter()
        .enumerate()
        .map(|(input, columns)| table(input, columns[0].len(), columns))
        .collect();
    let mut kernel = (MEV_TRANSACTIONS.kernel)(&Arc::new(MevSettings::default()));
    let answer = kernel.block(BlockRows { number: 5, hash: [1; 32], timestamp_ms: 7, tables: &tables });
    assert_eq!(answer.schema(), (MEV_TRANSACTIONS.schema)());
    answer
}

fn lines(rows: &RecordBatch) -> Vec<String> {
    let columns = ["transaction_index", "transaction_hash", "kind", "kinds", "mev_id"];
    (0..rows.num_rows()).map(|row| line(rows, &columns, row)).collect()
}

/// The kinds of every transaction, one rule after the other.
fn definition(findings: &Findings) -> Vec<String> {
    let sandwiches = |transaction: i64| -> Vec<i64> {
        let legs = findings.legs.iter().filter(|leg| leg.0 == transaction && leg.2 != "victim");
        legs.map(|leg| leg.1).collect()
    };
    let positions = |transaction: i64| -> Vec<i64> {
        let here = |position: &&(i64, i64, i64, i64)| position.1 == transaction;
        let burnt = findings.positions.iter().filter(here);
        let minted = findings.positions.iter().filter(|position| position.2 == 5 && position.3 == transaction);
        burnt.chain(minted).map(|position| position.0).collect()
    };
    let both = |transaction: i64| !sandwiches(transaction).is_empty() && !positions(transaction).is_empty();
    let composed =
        |id: &i64| (0..8).any(|other| both(other) && (sandwiches(other).contains(id) || positions(other).contains(id)));
    let of = |transaction: i64| {
        let (sandwiches, positions) = (sandwiches(transaction), positions(transaction));
        let mut kinds: Vec<(&str, String)> = Vec::new();
        if findings.liquidations.contains(&transaction) {
            kinds.push(("liquidation", "-".to_owned()));
        }
        let mut add = |kind, id: Option<&i64>| kinds.extend(id.map(|id| (kind, id.to_string())));
        add("jit_sandwich", sandwiches.iter().chain(&positions).find(|id| composed(id)));
        add("sandwich", sandwiches.first());
        add("jit", positions.first());
        add("arbitrage", findings.arbitrages.iter().find(|one| one.0 == transaction).map(|one| &one.1));
        let (kind, id) = kinds.first()?;
        let all = kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(" ");
        Some(format!("{transaction} {transaction} {kind} [{all}] {id}"))
    };
    (0..8).filter_map(of).collect()
}

fn findings() -> impl Strategy<Value = Findings> {
    let role = prop_oneof![Just("front"), Just("victim"), Just("back")];
    let leg = (0..8_i64, 100..103_i64, role);
    let position = (200..203_i64, 0..8_i64, prop_oneof![3 => Just(5_i64), 1 => Just(4)], 0..8_i64);
    (
        proptest::collection::vec(leg, 0..8),
        proptest::collection::vec((0..8_i64, 300..303_i64), 0..4),
        proptest::collection::vec(position, 0..3),
        proptest::collection::vec(0..8_i64, 0..3),
    )
        .prop_map(|(legs, arbitrages, positions, liquidations)| Findings {
            legs,
            arbitrages,
            positions,
            liquidations,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn equals_the_definition(findings in findings()) {
        prop_assert_eq!(lines(&run(&findings)), definition(&findings));
    }
}

#[test]
fn a_sandwich_that_adds_liquidity_is_one_thing() {
    let findings = Findings {
        legs: vec![(0, 100, "front"), (1, 100, "victim"), (2, 100, "back"), (4, 101, "front"), (6, 101, "back")],
        positions: vec![(200, 2, 5, 0), (201, 7, 4, 1)],
        arbitrages: vec![(1, 300), (3, 301), (7, 302)],
        liquidations: vec![3],
    };
    let wanted = [
        "0 0 jit_sandwich [jit_sandwich sandwich jit] 100",
        "1 1 arbitrage [arbitrage] 300",
        "2 2 jit_sandwich [jit_sandwich sandwich jit] 100",
        "3 3 liquidation [liquidation arbitrage] -",
        "4 4 sandwich [sandwich] 101",
        "6 6 sandwich [sandwich] 101",
        "7 7 jit [jit arbitrage] 201",
    ];
    assert_eq!(lines(&run(&findings)), wanted);
}
