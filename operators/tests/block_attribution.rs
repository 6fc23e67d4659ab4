//! Attribution of blocks against its definition, over random blocks.

mod harness;
#[path = "reference/block_attribution.rs"]
mod reference;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::model::evm;
use highwater_operators::mev::{BlockRelation, Label, MevSettings, RELATIONS};
use proptest::prelude::*;

use harness::Random;
use harness::kernel::{KernelBlock, KernelShape, drive};
use harness::tables::{Cell, Row, batch, input_schema, rows_of};

const BUILDER: [u8; 20] = [0xb0; 20];
const PARTIES: [[u8; 20]; 3] = [BUILDER, [2; 20], [3; 20]];

fn settings() -> Arc<MevSettings> {
    let mut settings = MevSettings::default();
    let label = Label { name: "A builder".to_owned(), kind: "builder".to_owned() };
    settings.labels.insert(BUILDER, label);
    Arc::new(settings)
}

fn relation() -> &'static BlockRelation {
    RELATIONS.iter().find(|relation| relation.name == "block_attribution").expect("the relation is listed")
}

fn payment(random: &mut Random) -> Row {
    let party = |random: &mut Random| Cell::Bytes(random.pick(&PARTIES).to_vec());
    let to = if random.chance(90) { party(random) } else { Cell::Null };
    let value = Cell::Amount(u128::from(random.below(5)));
    Row::from([("from_address", party(random)), ("to_address", to), ("value", value)])
}

fn transaction(random: &mut Random, index: i64, complete: bool) -> Row {
    let mut row = payment(random);
    row.extend([("transaction_index", Cell::Int(index)), ("success", Cell::Bool(random.chance(80)))]);
    if random.chance(10) {
        row.insert("success", Cell::Null);
    }
    if complete || random.chance(80) {
        row.insert("gas_used", Cell::Int(21_000));
        row.insert(random.pick(&["gas_price", "effective_gas_price"]), Cell::Wei(i128::from(random.below(20))));
    }
    row
}

fn trace(random: &mut Random) -> Row {
    let mut row = payment(random);
    let text = |value: &str| Cell::Text(value.to_owned());
    row.extend([
        ("trace_address", text(random.pick(&["", "0", "1_0"]))),
        ("trace_type", text(random.pick(&["call", "call", "create", "suicide", "reward"]))),
        ("call_type", text(random.pick(&["call", "call", "delegatecall", "callcode", "staticcall"]))),
        ("success", Cell::Bool(random.chance(80))),
    ]);
    if random.chance(20) {
        row.insert("call_type", Cell::Null);
    }
    row
}

fn tables(random: &mut Random, block: &KernelBlock) -> Vec<RecordBatch> {
    let extra: [&[u8]; 5] = [b"", b"beaverbuild.org", b"ok\0\0", b"\x1b[2J", &[0xff, 0xfe]];
    let mut row = Row::from([
        ("miner", Cell::Bytes(BUILDER.to_vec())),
        ("gas_used", Cell::Int(i64::try_from(random.below(30_000_000)).expect("small"))),
        ("extra_data", Cell::Bytes(random.pick(&extra).to_vec())),
    ]);
    if random.chance(80) {
        row.insert("base_fee_per_gas", Cell::Int(i64::try_from(random.below(15)).expect("small")));
    }
    let complete = random.chance(70);
    let count = i64::try_from(random.below(6)).expect("few");
    let transactions: Vec<Row> = (0..count).map(|index| transaction(random, index, complete)).collect();
    let traced = if random.chance(70) { random.below(10) } else { 0 };
    let traces: Vec<Row> = (0..traced).map(|_| trace(random)).collect();
    let inputs = relation().inputs.iter().zip([vec![row], transactions, traces]);
    let tables = inputs.map(|(input, rows)| {
        let schema = evm::schema(input.name).expect("a chain table");
        batch(&input_schema(&schema, input), block, &rows)
    });
    tables.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_its_definition_after_every_step(seed in any::<u64>()) {
        let shape = KernelShape { seed, steps: 8, max_depth: 4, reorg_percent: 30, restart_percent: 20, lag: 4 };
        let make = || (relation().kernel)(&settings());
        drive(&shape, make, tables, |chain, outputs| {
            for (block, output) in chain.iter().zip(outputs) {
                let got: Vec<reference::Paid> = rows_of(output)
                    .iter()
                    .map(|row| {
                        assert_eq!(row["builder_name"], Cell::Text("A builder".to_owned()));
                        let cell = |name: &str| row[name].clone();
                        let (fees, burnt, tips) = (cell("priority_fees_wei"), cell("burnt_wei"), cell("tips_wei"));
                        let (payment, proposer) = (cell("proposer_payment_wei"), cell("proposer"));
                        (fees, burnt, tips, cell("internal_tips_wei"), payment, proposer, cell("extra_data"))
                    })
                    .collect();
                assert_eq!(got, reference::block_attribution(block), "block {}", block.number);
            }
        });
    }
}
