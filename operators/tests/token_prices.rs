//! Prices of tokens against their definition, over random histories.

mod harness;
#[path = "reference/token_prices.rs"]
mod reference;

use std::sync::Arc;

use highwater_operators::mev::{BlockRelation, MevSettings, RELATIONS};
use proptest::prelude::*;

use harness::Random;
use harness::kernel::{KernelBlock, KernelShape, drive};
use harness::tables::{Cell, Row, batch, input_schema, rows_of};

const TOKENS: [[u8; 20]; 6] = [[0; 20], [0xee; 20], [0xdd; 20], [0xd1; 20], [0x7a; 20], [0x11; 20]];

fn settings() -> Arc<MevSettings> {
    let mut settings = MevSettings::default();
    settings.wrapped_native.insert(TOKENS[1]);
    settings.stablecoins.extend([(TOKENS[2], 2), (TOKENS[3], 0)]);
    settings.prices.insert(TOKENS[4], 1_700_000_120_000, 2.5);
    Arc::new(settings)
}

fn relation(name: &str) -> &'static BlockRelation {
    RELATIONS.iter().find(|relation| relation.name == name).expect("the relation is listed")
}

fn trade(random: &mut Random, index: i64) -> Row {
    let mut token = || if random.chance(8) { Cell::Null } else { Cell::Bytes(random.pick(&TOKENS).to_vec()) };
    let (sold, bought) = (token(), token());
    let mut amount = || Cell::Amount(if random.chance(5) { 0 } else { u128::from(1 + random.below(1000)) });
    let (amount_sold, amount_bought) = (amount(), amount());
    let mut row = Row::from([
        ("log_index", Cell::Int(index)),
        ("token_sold", sold),
        ("token_bought", bought),
        ("amount_sold", amount_sold),
        ("amount_bought", amount_bought),
        ("trust", Cell::Text(random.pick(&["balanced", "balanced", "balanced", "verified"]).to_owned())),
    ]);
    if random.chance(85) {
        // Quarters add up exactly in any order.
        row.insert("amount_usd", Cell::Float(random.below(1000) as f64 / 4.0));
        row.insert("usd_basis", Cell::Text(random.pick(&["stable", "native", "table"]).to_owned()));
    }
    row
}

fn tables(random: &mut Random, block: &KernelBlock) -> Vec<arrow::record_batch::RecordBatch> {
    let count = i64::try_from(random.below(12)).expect("few");
    let trades: Vec<Row> = (0..count).map(|index| trade(random, index)).collect();
    let schema = (relation("dex_trades").schema)();
    vec![batch(&input_schema(&schema, &relation("token_prices").inputs[0]), block, &trades)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_their_definition_after_every_step(seed in any::<u64>()) {
        let shape = KernelShape { seed, steps: 8, max_depth: 4, reorg_percent: 30, restart_percent: 20, lag: 4 };
        let make = || (relation("token_prices").kernel)(&settings());
        drive(&shape, make, tables, |chain, outputs| {
            for (block, output) in chain.iter().zip(outputs) {
                let want = reference::token_prices(&rows_of(&block.tables[0]), block.timestamp_ms, &settings());
                let got: Vec<reference::Price> = rows_of(output).into_iter().map(price).collect();
                assert_eq!(got, want, "block {}", block.number);
            }
        });
    }
}

fn price(row: std::collections::BTreeMap<String, Cell>) -> reference::Price {
    let float = |name: &str| if let Cell::Float(value) = row[name] { value } else { panic!("{name}") };
    let (Cell::Bytes(token), Cell::Int(trades), Cell::Text(source)) =
        (&row["token_address"], &row["trades"], &row["source"])
    else {
        panic!("{row:?}")
    };
    let token = token.as_slice().try_into().expect("20 bytes");
    (token, float("usd_per_raw_unit"), float("volume_usd"), *trades, source.clone())
}
