//! The relation `previous_trades`: each block tells the trades of the one below, whatever the history.

mod chain_rows;
mod harness;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chain_rows::{TradeRow, line, trades};
use highwater_operators::mev::{BlockRelation, MevSettings, RELATIONS};
use proptest::prelude::*;

use harness::Random;
use harness::kernel::{KernelBlock, KernelShape, drive};

fn relation() -> &'static BlockRelation {
    RELATIONS.iter().find(|relation| relation.name == "previous_trades").expect("the relation is listed")
}

/// A block of a few trades, some without any.
fn tables(random: &mut Random, _: &KernelBlock) -> Vec<RecordBatch> {
    let count = i64::try_from(random.below(5)).expect("few");
    let mut small = |limit: u64| u8::try_from(random.below(limit)).expect("few");
    let rows: Vec<TradeRow> = (0..count)
        .map(|log| TradeRow {
            transaction: log / 2 + 10 * i64::from(small(5)),
            log,
            pool: small(3) + 1,
            tokens: (small(3), small(3)),
            from: small(3) + 1,
            to: small(3),
            ..TradeRow::default()
        })
        .collect();
    let rows = trades(&rows);
    let places = relation().inputs[0].columns.iter().map(|name| rows.schema().index_of(name).expect("a column"));
    vec![rows.project(&places.collect::<Vec<_>>()).expect("columns of the table")]
}

fn told(rows: &RecordBatch) -> Vec<String> {
    let columns = &relation().inputs[0].columns[2..];
    (0..rows.num_rows()).map(|row| line(rows, columns, row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn are_those_of_the_block_below(seed in any::<u64>()) {
        let shape = KernelShape { seed, steps: 8, max_depth: 4, reorg_percent: 40, restart_percent: 20, lag: 3 };
        let make = || (relation().kernel)(&Arc::new(MevSettings::default()));
        drive(&shape, make, tables, |chain, outputs| {
            for (index, (block, output)) in chain.iter().zip(outputs).enumerate() {
                let below = index.checked_sub(1).map(|below| told(&chain[below].tables[0])).unwrap_or_default();
                let want = if block.tables[0].num_rows() == 0 { Vec::new() } else { below };
                assert_eq!(told(output), want, "block {}", block.number);
            }
        });
    }
}

#[test]
fn memory_is_the_open_blocks_and_one() {
    let mut kernel = (relation().kernel)(&Arc::new(MevSettings::default()));
    let rows = trades(&[TradeRow { pool: 1, from: 1, ..TradeRow::default() }]);
    let places = relation().inputs[0].columns.iter().map(|name| rows.schema().index_of(name).expect("a column"));
    let rows = rows.project(&places.collect::<Vec<_>>()).expect("columns of the table");
    for number in 1..100 {
        let block = KernelBlock { number, hash: [1; 32], timestamp_ms: 0, tables: vec![rows.clone()] };
        kernel.block(block.rows());
        kernel.finalize(number.saturating_sub(10));
        assert!(kernel.size().entries <= 11, "{} entries", kernel.size().entries);
    }
}
