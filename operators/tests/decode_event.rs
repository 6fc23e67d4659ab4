//! Decoding of events against an encoder written from the specification, and against bytes that nobody encoded.

#[path = "reference/abi.rs"]
mod abi;
mod chain_rows;
mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;

use abi::{Value, sequence};
use alloy_primitives::{I256, U256, keccak256};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use chain_rows::{fixed, ints};
use harness::Random;
use highwater_engine::metrics::Counter;
use highwater_engine::model::format::write_json_row;
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE};
use highwater_engine::model::{Delta, Diffs, Origin};
use highwater_engine::operator::{BatchOperator as _, Output};
use highwater_operators::decode_event::{DecodeEvent, DecodeEventSpec, EventColumn, EventRows, EventSignature};
use proptest::prelude::*;

/// A log as a node tells it.
#[derive(Clone, Debug)]
struct Log {
    address: [u8; 20],
    topics: Vec<[u8; 32]>,
    data: Vec<u8>,
}

fn logs_schema() -> SchemaRef {
    let mut fields = vec![Field::new("log_index", DataType::Int64, false), Field::new("address", ADDRESS_TYPE, false)];
    fields.extend((0..4).map(|topic| Field::new(format!("topic{topic}"), HASH_TYPE, true)));
    fields.push(Field::new("data", DataType::Binary, false));
    Arc::new(Schema::new(fields))
}

fn batch(logs: &[Log]) -> RecordBatch {
    let topic = |index: usize| fixed(logs.iter().map(move |log| log.topics.get(index).copied()));
    let mut columns: Vec<ArrayRef> =
        vec![ints((0..).take(logs.len()).map(Some)), fixed(logs.iter().map(|log| Some(log.address)))];
    columns.extend((0..4).map(topic));
    columns.push(Arc::new(BinaryArray::from_iter_values(logs.iter().map(|log| &log.data))));
    RecordBatch::try_new(logs_schema(), columns).expect("columns of one length")
}

struct Decoder {
    decoded: DecodeEvent,
    skipped: DecodeEvent,
    counter: Counter,
}

impl Decoder {
    fn new(signature: &str, addresses: &[[u8; 20]]) -> Decoder {
        let event = Arc::new(EventSignature::parse(signature).unwrap_or_else(|error| panic!("{signature}: {error}")));
        let counter = Counter::default();
        let make = |rows: EventRows| {
            let mut columns = vec![EventColumn::Log(0)];
            let mut fields = vec![Field::new("log_index", DataType::Int64, false)];
            match rows {
                EventRows::Skipped => {
                    columns.push(EventColumn::Reason);
                    fields.push(Field::new("reason", DataType::Utf8, false));
                }
                EventRows::Decoded => {
                    for (index, parameter) in event.parameters.iter().enumerate() {
                        columns.push(EventColumn::Parameter(index));
                        fields.push(parameter.field(&format!("arg{index}")));
                    }
                }
            }
            let spec = DecodeEventSpec {
                event: event.clone(),
                addresses: Arc::new(addresses.iter().copied().collect::<BTreeSet<_>>()),
                rows,
                input: logs_schema(),
                columns,
                output: Arc::new(Schema::new(fields)),
                skipped: counter.clone(),
            };
            DecodeEvent::new(spec).expect("the columns fit")
        };
        Decoder { decoded: make(EventRows::Decoded), skipped: make(EventRows::Skipped), counter }
    }

    fn run(&mut self, delta: &Delta) -> (Output, Output) {
        let (mut decoded, mut skipped) = (Output::default(), Output::default());
        self.decoded.on_delta(delta.clone(), &mut decoded);
        self.skipped.on_delta(delta.clone(), &mut skipped);
        (decoded, skipped)
    }

    /// The rows as JSON, and how often what was skipped.
    fn rows(&mut self, logs: &[Log]) -> (Vec<serde_json::Value>, Vec<String>) {
        let (decoded, skipped) = self.run(&Delta::of_block(batch(logs), 1, 7));
        assert!(decoded.errors.is_empty() && skipped.errors.is_empty());
        let reasons = skipped.deltas.iter().flat_map(|delta| {
            delta.batch.column(1).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        });
        (json_rows(&decoded), reasons.collect())
    }

    /// Why one log is skipped; nothing if it is decoded.
    fn reason(&mut self, log: Log) -> String {
        let (rows, reasons) = self.rows(&[log]);
        assert_eq!(rows.len() + reasons.len(), 1);
        reasons.into_iter().next().unwrap_or_default()
    }
}

fn json_rows(output: &Output) -> Vec<serde_json::Value> {
    let rows = output.deltas.iter().flat_map(|delta| {
        (0..delta.len()).map(|row| {
            let mut text = String::new();
            write_json_row(&mut text, &delta.batch, row);
            serde_json::from_str(&text).expect("rows are JSON")
        })
    });
    rows.collect()
}

/// A random value; arrays and tuples at most `depth` deep.
fn value(random: &mut Random, depth: u64) -> Value {
    let bytes = |random: &mut Random, len: usize| (0..len).map(|_| random.next().to_be_bytes()[7]).collect::<Vec<u8>>();
    match random.below(if depth == 0 { 7 } else { 10 }) {
        0 => Value::Address([random.next().to_be_bytes()[7]; 20]),
        1 => Value::Bool(random.chance(50)),
        2 => {
            let bits = 8 * (1 + random.index(32));
            let word: [u8; 32] = bytes(random, 32).try_into().expect("32 bytes");
            let number = if random.chance(20) { U256::MAX } else { U256::from_be_bytes(word) };
            Value::Uint(bits, number >> (256 - bits))
        }
        3 => {
            let bits = 8 * (1 + random.index(32));
            let word: [u8; 32] = bytes(random, 32).try_into().expect("32 bytes");
            let number = random.pick(&[I256::MIN, I256::MAX, I256::from_be_bytes(word), I256::MINUS_ONE]);
            Value::Int(bits, number.asr(256 - bits))
        }
        4 => {
            let width = 1 + random.index(32);
            Value::Fixed(bytes(random, width))
        }
        5 => {
            let len = random.index(80);
            Value::Bytes(bytes(random, len))
        }
        6 => Value::Text(
            random.pick(&["", "a\"\\\n\u{1}", "naïve ☃", "the text of a name that is longer than a word"]).to_owned(),
        ),
        7 => {
            let first = value(random, depth - 1);
            let items: Vec<Value> = (0..random.index(4)).map(|_| alike(random, &first)).collect();
            Value::List(items, Box::new(first), false)
        }
        8 => {
            let first = value(random, depth - 1);
            let items: Vec<Value> = (0..=random.index(3)).map(|_| alike(random, &first)).collect();
            Value::List(items, Box::new(first), true)
        }
        _ => {
            let named = random.chance(50);
            let parts = (0..=random.index(3)).map(|part| {
                let name = if named { format!("part{part}") } else { String::new() };
                (name, value(random, depth - 1))
            });
            Value::Tuple(parts.collect())
        }
    }
}

/// A value of the same type.
fn alike(random: &mut Random, like: &Value) -> Value {
    match like {
        Value::Address(_) => Value::Address([random.next().to_be_bytes()[7]; 20]),
        Value::Bool(_) => Value::Bool(random.chance(50)),
        Value::Uint(bits, _) => Value::Uint(*bits, U256::from(random.next()) >> (64_usize.saturating_sub(*bits))),
        Value::Bytes(_) => Value::Bytes(vec![7; random.index(70)]),
        Value::Text(_) => Value::Text("x".repeat(random.index(70))),
        Value::List(items, element, false) => {
            let len = random.index(items.len() + 2);
            Value::List((0..len).map(|_| alike(random, element)).collect(), element.clone(), false)
        }
        Value::List(items, element, true) => {
            Value::List(items.iter().map(|item| alike(random, item)).collect(), element.clone(), true)
        }
        Value::Tuple(parts) => {
            Value::Tuple(parts.iter().map(|(name, part)| (name.clone(), alike(random, part))).collect())
        }
        other => other.clone(),
    }
}

/// An event with random parameters, and values for them.
struct Example {
    signature: String,
    anonymous: bool,
    canonical: String,
    values: Vec<(bool, Value)>,
}

impl Example {
    fn new(random: &mut Random) -> Example {
        let anonymous = random.chance(20);
        let mut left = if anonymous { 4 } else { 3 };
        let values: Vec<(bool, Value)> = (0..random.index(6))
            .map(|_| {
                let indexed = left > 0 && random.chance(40);
                left -= usize::from(indexed);
                (indexed, value(random, 3))
            })
            .collect();
        let parameters =
            values.iter().map(|(indexed, value)| format!("{}{}", value.kind(), if *indexed { " indexed" } else { "" }));
        let parameters: Vec<String> = parameters.collect();
        let suffix = if anonymous { " anonymous" } else { "" };
        let signature = format!("Example({}){suffix}", parameters.join(", "));
        let plain: Vec<String> = values.iter().map(|(_, value)| canonical(value)).collect();
        Example { signature, anonymous, canonical: format!("Example({})", plain.join(",")), values }
    }

    /// Other values of the same types.
    fn again(&self, random: &mut Random) -> Vec<(bool, Value)> {
        self.values.iter().map(|(indexed, value)| (*indexed, alike(random, value))).collect()
    }

    fn log(&self, values: &[(bool, Value)]) -> Log {
        let mut topics = Vec::new();
        if !self.anonymous {
            topics.push(keccak256(&self.canonical).0);
        }
        topics.extend(values.iter().filter(|(indexed, _)| *indexed).map(|(_, value)| topic(value)));
        let data = values.iter().filter(|(indexed, _)| !indexed).map(|(_, value)| value);
        Log { address: [9; 20], topics, data: sequence(data) }
    }
}

fn canonical(value: &Value) -> String {
    match value {
        Value::List(items, _, true) => format!("{}[{}]", canonical(&items[0]), items.len()),
        Value::List(_, element, false) => format!("{}[]", canonical(element)),
        Value::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(|(_, part)| canonical(part)).collect();
            format!("({})", parts.join(","))
        }
        other => other.kind(),
    }
}

fn is_word(value: &Value) -> bool {
    !matches!(value, Value::Bytes(_) | Value::Text(_) | Value::List(..) | Value::Tuple(_))
}

fn topic(value: &Value) -> [u8; 32] {
    match is_word(value) {
        true => value.encode().try_into().expect("one word"),
        // Any hash will do: what was hashed cannot be known.
        false => keccak256(value.encode()).0,
    }
}

/// What the column of a parameter shows.
fn shown(indexed: bool, value: &Value) -> serde_json::Value {
    match value {
        value if indexed && !is_word(value) => serde_json::json!(keccak256(value.encode()).to_string()),
        Value::List(..) | Value::Tuple(_) => serde_json::Value::String(value.json().to_string()),
        value => value.json(),
    }
}

/// JSON inside text, whatever the order of its keys.
fn normal(row: &serde_json::Value) -> serde_json::Value {
    let fields = row.as_object().expect("a row").iter().map(|(name, field)| {
        let inner = field.as_str().filter(|text| text.starts_with(['[', '{']));
        (name.clone(), inner.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| field.clone()))
    });
    fields.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What was encoded is decoded, with logs of other events between.
    #[test]
    fn what_was_encoded_is_decoded(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let example = Example::new(&mut random);
        let mut decoder = Decoder::new(&example.signature, &[]);
        let (mut logs, mut expected) = (Vec::new(), Vec::new());
        for index in 0..6_usize {
            let values = if index == 0 { example.values.clone() } else { example.again(&mut random) };
            let mut row = serde_json::Map::from_iter([("log_index".to_owned(), logs.len().into())]);
            for (position, (indexed, value)) in values.iter().enumerate() {
                row.insert(format!("arg{position}"), shown(*indexed, value));
            }
            expected.push(normal(&row.into()));
            logs.push(example.log(&values));
            logs.push(Log { address: [1; 20], topics: vec![[3; 32]; index % 5], data: vec![1] });
        }
        let (rows, skipped) = decoder.rows(&logs);
        let rows: Vec<serde_json::Value> = rows.iter().map(normal).collect();
        prop_assert_eq!(rows, expected, "{}", &example.signature);
        prop_assert!(skipped.is_empty() || example.anonymous, "{:?}", skipped);
    }

    /// Damaged logs are rows, skipped logs or errors, never panics, and a reverted block gives the same.
    #[test]
    fn damaged_logs_do_no_harm(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let example = Example::new(&mut random);
        let mut decoder = Decoder::new(&example.signature, &[]);
        let logs: Vec<Log> = (0..20).map(|_| {
            let mut log = example.log(&example.again(&mut random));
            damage(&mut random, &mut log);
            log
        }).collect();
        let topics = logs.iter().filter(|log| !example.anonymous || log.topics.len() == example.log(&example.values).topics.len());
        let candidates = topics.count();
        let (decoded, skipped) = decoder.run(&Delta::of_block(batch(&logs), 1, 7));
        let count = |deltas: &[Delta]| deltas.iter().map(Delta::len).sum::<usize>();
        prop_assert_eq!(count(&decoded.deltas) + count(&decoded.errors) + count(&skipped.deltas), candidates);
        prop_assert_eq!(usize::try_from(decoder.counter.get()).expect("small"), count(&skipped.deltas));
        let (again, _) = decoder.run(&Delta::of_block(batch(&logs), -1, 7));
        prop_assert_eq!(json_rows(&again), json_rows(&decoded));
        prop_assert!(again.deltas.iter().all(|delta| matches!(delta.diffs, Diffs::Uniform(-1)) && delta.origin == Origin::Block(7)));
        prop_assert_eq!(usize::try_from(decoder.counter.get()).expect("small"), count(&skipped.deltas), "what goes is not counted");
    }
}

/// Cuts, lengthens or overwrites a log, most often where offsets and lengths are.
fn damage(random: &mut Random, log: &mut Log) {
    for _ in 0..=random.below(3) {
        let words = log.data.len() / 32;
        match random.below(6) {
            0 => log.data.truncate(random.index(log.data.len() + 1)),
            1 => log.data.extend(vec![random.next().to_be_bytes()[7]; random.index(70)]),
            2 if words > 0 => {
                let at = 32 * random.index(words);
                let small = random.below(2 * log.data.len() as u64 + 3);
                let word = random.pick(&[U256::MAX, U256::from(small), U256::from(small & !31), U256::from(u64::MAX)]);
                log.data[at..at + 32].copy_from_slice(&word.to_be_bytes::<32>());
            }
            3 if !log.data.is_empty() => {
                let at = random.index(log.data.len());
                log.data[at] ^= 1 << random.below(8);
            }
            4 if log.topics.len() > 1 => {
                let at = 1 + random.index(log.topics.len() - 1);
                log.topics[at][random.index(32)] ^= 1 << random.below(8);
            }
            5 if log.topics.len() < 4 && random.chance(20) => log.topics.push([0; 32]),
            _ => {}
        }
    }
}

fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

fn one(signature: &str, topics: &[[u8; 32]], data: &[[u8; 32]]) -> String {
    let event = EventSignature::parse(signature).expect("an event");
    let topics = event.topic0().into_iter().chain(topics.iter().copied()).collect();
    Decoder::new(signature, &[]).reason(Log { address: [9; 20], topics, data: data.concat() })
}

#[test]
fn bits_that_a_type_does_not_have_are_foreign() {
    let foreign = "a value does not fit its type";
    let mut dirty = word(5);
    dirty[11] = 1;
    for (kind, good, bad) in [
        ("address", word(5), dirty),
        ("bool", word(1), word(2)),
        ("uint8", word(255), word(256)),
        ("uint64", word(u64::MAX), U256::from(1_u128 << 64).to_be_bytes()),
        ("int8", I256::try_from(-128).expect("small").to_be_bytes(), word(128)),
        ("int64", I256::MINUS_ONE.to_be_bytes(), word(u64::MAX)),
        ("bytes4", [[1; 4].as_slice(), &[0; 28]].concat().try_into().expect("32 bytes"), [1; 32]),
        ("function", [[1; 24].as_slice(), &[0; 8]].concat().try_into().expect("32 bytes"), [1; 32]),
    ] {
        assert_eq!(one(&format!("A({kind})"), &[], &[good]), "", "{kind}");
        assert_eq!(one(&format!("A({kind})"), &[], &[bad]), foreign, "{kind}");
        assert_eq!(one(&format!("A({kind} indexed)"), &[good], &[]), "", "{kind}");
        assert_eq!(one(&format!("A({kind} indexed)"), &[bad], &[]), foreign, "{kind}");
        assert_eq!(one(&format!("A(({kind}, {kind}[2])[])"), &[], &[word(32), word(1), good, good, bad]), foreign);
    }
    assert_eq!(one("A(bytes32 indexed, uint256)", &[[0xff; 32]], &[[0xff; 32]]), "");
}

#[test]
fn shapes_that_do_not_fit_are_foreign() {
    let signature = "Transfer(address indexed from, address indexed to, uint256 value)";
    assert_eq!(one(signature, &[word(1), word(2)], &[word(3)]), "");
    assert_eq!(one(signature, &[word(1), word(2), word(3)], &[]), "wrong number of topics");
    assert_eq!(one(signature, &[], &[word(1), word(2), word(3)]), "wrong number of topics");
    assert_eq!(one(signature, &[word(1), word(2)], &[]), "wrong length of data");
    assert_eq!(one(signature, &[word(1), word(2)], &[word(3), word(4)]), "wrong length of data");
    let bounds = "an offset or a length does not fit the data";
    assert_eq!(one("A(bytes)", &[], &[word(32), word(0)]), "");
    assert_eq!(one("A(bytes)", &[], &[word(32), word(1)]), bounds);
    assert_eq!(one("A(bytes)", &[], &[word(64), word(0)]), bounds);
    assert_eq!(one("A(bytes)", &[], &[[0xff; 32], word(0)]), bounds);
    assert_eq!(one("A(uint256[])", &[], &[word(32), word(2), word(5)]), bounds);
    assert_eq!(one("A(uint256[])", &[], &[word(32), [0xff; 32], word(5)]), bounds);
    assert_eq!(one("A(bytes, bytes)", &[], &[word(64), word(64), word(0), word(0)]), "");
}

/// Offsets that all point to the same place stand for more values than there are atoms.
#[test]
fn a_few_bytes_do_not_become_many_values() {
    let offsets: Vec<[u8; 32]> = vec![word(0); 100];
    let mut data = vec![word(32), word(100)];
    data.extend(offsets);
    assert_eq!(one("A(uint256[][][][][][][][][][][][])", &[], &data), "an offset or a length does not fit the data");
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    let mut decoder = Decoder::new("A(uint256 x, string[] name)", &[]);
    let topic0 = keccak256("A(uint256,string[])").0;
    let log = |byte: u8| {
        let mut text = [0; 32];
        text[0] = byte;
        let data = [word(1), word(64), word(1), word(32), word(1), text].concat();
        Log { address: [9; 20], topics: vec![topic0], data }
    };
    let (output, skipped) = decoder.run(&Delta::of_block(batch(&[log(b'a'), log(0xff)]), -1, 3));
    assert_eq!(json_rows(&output).len(), 1);
    assert!(skipped.deltas.is_empty());
    let [errors] = output.errors.as_slice() else { panic!("one error row") };
    assert_eq!(errors.batch.column(0).as_string::<i32>().value(0), "a string of the event A is not UTF-8");
    assert_eq!((errors.len(), errors.diffs.at(0)), (1, -1));
}

#[test]
fn contracts_can_be_named_and_changes_differ() {
    let mut decoder = Decoder::new("A(uint8 indexed)", &[[1; 20], [3; 20]]);
    let topic0 = keccak256("A(uint8)").0;
    let logs: Vec<Log> =
        (0..5).map(|n| Log { address: [n; 20], topics: vec![topic0, word(u64::from(n))], data: Vec::new() }).collect();
    let delta = Delta { batch: batch(&logs), diffs: Diffs::Rows(vec![1, -1, 1, 2, 1].into()), origin: Origin::Derived };
    let (output, _) = decoder.run(&delta);
    let [rows] = output.deltas.as_slice() else { panic!("one delta") };
    assert_eq!(
        json_rows(&output),
        [serde_json::json!({"log_index": 1, "arg0": 1}), serde_json::json!({"log_index": 3, "arg0": 3})]
    );
    assert_eq!([rows.diffs.at(0), rows.diffs.at(1)], [-1, 2]);
    assert_eq!(rows.batch.column(1).null_count(), 0);
}
