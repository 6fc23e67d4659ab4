//! Thread CPU time of decoding 1,000,000 logs, of which half are of the event, in batches of 10,000: a transfer of a
//! token, a swap of seven values, and an event with an array of tuples that becomes JSON.
//!
//! `cargo run --release -p highwater-operators --example event_speed`

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::metrics::Counter;
use highwater_engine::model::Delta;
use highwater_engine::model::wide::HASH_TYPE;
use highwater_engine::operator::{BatchOperator as _, Output};
use highwater_operators::decode_event::{DecodeEvent, DecodeEventSpec, EventColumn, EventRows, EventSignature};

const LOGS: usize = 1_000_000;
const BATCH: usize = 10_000;

fn main() {
    report("transfer", "Transfer(address indexed from, address indexed to, uint256 value)", &[7]);
    let swap = "Swap(address indexed, address indexed, int256, int256, uint160, uint128, int24)";
    report("swap", swap, &[5, 6, 7, 8, 9]);
    report("json", "Orders((address token, uint256 amount)[] orders)", &[32, 3, 1, 2, 3, 4, 5, 6]);
}

fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

fn topics(words: impl Iterator<Item = Option<[u8; 32]>>) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(32);
    for word in words {
        match word {
            Some(word) => builder.append_value(word).expect("32 bytes"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

/// Every second log is of the event.
fn logs(event: &EventSignature, data: &[u64]) -> RecordBatch {
    let topic0 = event.topic0();
    let of_event = |row: usize| row.is_multiple_of(2);
    let data: Vec<u8> = data.iter().flat_map(|value| word(*value)).collect();
    let mut columns: Vec<ArrayRef> =
        vec![topics((0..BATCH).map(|row| if of_event(row) { topic0 } else { Some(word(1)) }))];
    columns.extend((1..4).map(|index| topics((0..BATCH).map(|_| (index < event.topics()).then(|| word(9))))));
    columns.push(Arc::new(BinaryArray::from_iter_values((0..BATCH).map(|_| &data))));
    RecordBatch::try_new(schema(), columns).expect("the columns fit")
}

fn schema() -> SchemaRef {
    let mut fields: Vec<Field> = (0..4).map(|topic| Field::new(format!("topic{topic}"), HASH_TYPE, true)).collect();
    fields.push(Field::new("data", DataType::Binary, false));
    Arc::new(Schema::new(fields))
}

#[expect(clippy::print_stdout, reason = "the example's result")]
fn report(name: &str, signature: &str, data: &[u64]) {
    let event = Arc::new(EventSignature::parse(signature).expect("an event"));
    let fields = event.parameters.iter().enumerate();
    let fields: Vec<Field> = fields.map(|(index, parameter)| parameter.field(&format!("arg{index}"))).collect();
    let spec = DecodeEventSpec {
        event: event.clone(),
        addresses: Arc::new(BTreeSet::new()),
        rows: EventRows::Decoded,
        input: schema(),
        columns: (0..fields.len()).map(EventColumn::Parameter).collect(),
        output: Arc::new(Schema::new(fields)),
        skipped: Counter::default(),
    };
    let mut decoder = DecodeEvent::new(spec).expect("the columns fit");
    let delta = Delta::of_block(logs(&event, data), 1, 1);
    let mut rows = 0;
    let start = cpu_ns();
    for _ in 0..LOGS / BATCH {
        let mut output = Output::default();
        decoder.on_delta(delta.clone(), &mut output);
        rows += output.deltas.iter().map(Delta::len).sum::<usize>();
    }
    let spent = cpu_ns() - start;
    assert_eq!(rows, LOGS / 2);
    let each = |count: usize| spent / i64::try_from(count).expect("small");
    println!("{name:>9}: {} cpu-ns/log, {} cpu-ns/row", each(LOGS), each(rows));
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
