//! The reader agrees with serde about what is accepted and what it says, over real texts spoiled at random.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reader::{self, Json, Problem};
use super::{Block, Receipt, TraceItem};

/// What serde does not keep is dropped before values are compared.
trait Comparable {
    fn forget(&mut self) {}
}

impl Comparable for Block<'_> {
    fn forget(&mut self) {
        self.text = "";
    }
}

impl<T> Comparable for Vec<T> {}

fn agree<'a, T: Json<'a> + Deserialize<'a> + PartialEq + Debug + Comparable>(
    text: &'a str,
) -> Result<(), TestCaseError> {
    let mut ours = reader::from_str::<T>(text);
    if let Ok(ours) = &mut ours {
        ours.forget();
    }
    match (ours, serde_json::from_str::<T>(text)) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
        (Err(ours), Err(_)) => prop_assert!(ours.at <= text.len(), "{}", ours),
        (ours, theirs) => prop_assert!(false, "{:?} is not {:?} for {}", ours, theirs, text),
    }
    Ok(())
}

const HASH: &str = "0x310a2806f56c3da6d1172b86d527f93ea9396d55ca614a79ebfe6d2b6a25625a";

fn log() -> Value {
    json!({ "address": "0x6de037ef9ad2725eb40118bb1702ebb27e4aeb24", "topics": [HASH, HASH], "data": "0x", "logIndex": 7,
        "blockHash": HASH, "blockNumber": "0x10", "transactionHash": HASH, "transactionIndex": "0x0", "removed": false })
}

fn block() -> Value {
    let tx = json!({ "hash": HASH, "from": "0x01", "to": null, "input": "0xabcdef", "type": "0x2", "v": "0x1", "r": HASH,
        "accessList": [{ "address": "0x01", "storageKeys": [HASH] }], "chainId": "0x1", "blobVersionedHashes": [HASH] });
    json!({ "number": "0x10", "hash": HASH, "timestamp": 17, "extraData": "0x", "uncles": [], "transactions": [tx, tx],
        "withdrawals": [{ "index": "0x1", "amount": 3.5e-7 }], "baseFeePerGas": "0x7", "logsBloom": "0x00" })
}

fn receipts() -> Value {
    json!([{ "transactionHash": HASH, "status": "0x1", "logsBloom": "0x00", "logs": [log(), log(), log()], "type": "0x2" },
        { "transactionHash": HASH, "root": HASH, "contractAddress": null, "logs": [], "l1Fee": 12 }])
}

fn traces() -> Value {
    let call =
        json!({ "type": "CALL", "from": "0x01", "error": "out of \"gas\" \u{1f525}", "calls": [{ "output": "0x" }] });
    json!([{ "action": { "callType": "call", "value": "0x0" }, "result": null, "traceAddress": [0, 12], "subtraces": 3,
        "type": "call", "transactionPosition": 4 }, { "txHash": HASH, "result": call }])
}

/// Writes JSON text, spoiling it here and there as the random bytes say.
struct Writer<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    /// How many of 256 places are spoiled.
    rate: u8,
    text: String,
}

const SPACES: [&str; 4] = [" ", "\n\t", "\r\n  ", "  "];
const STRANGE_VALUES: [&str; 12] = [
    "null",
    "true",
    "-1",
    "1.5",
    "01",
    "\"x\"",
    "{}",
    "18446744073709551616",
    "4294967296",
    "-0",
    "1E+3",
    r#"{"a":[{"b":[[],"\ud83d"]}],"c":{"\u0068":-0.1e-9}}"#,
];
const STRANGE_TEXTS: [&str; 8] =
    ["\\n", "\\u0068", "\\ud83d\\ude00", "\\ud83d", "\\ude00\\ud83d", "\\x", "\u{1}", "\u{e9}\u{1f525}"];
const STRANGE_MEMBERS: [&str; 5] =
    [r#""hash":"0x1""#, r#""news":[{"a":{}}]"#, r#""h\u0061sh":null"#, r#""type":"0x2""#, r#""\ud800":1"#];

impl Writer<'_> {
    fn choose<'b>(&mut self, list: &[&'b str]) -> Option<&'b str> {
        let (roll, index) = (self.next(), self.next());
        (roll < usize::from(self.rate)).then(|| list[index % list.len()])
    }

    fn next(&mut self) -> usize {
        usize::from(*self.choices.next().unwrap())
    }

    fn space(&mut self) {
        let space = self.choose(&SPACES).unwrap_or("");
        self.text.push_str(space);
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match (value, self.choose(&STRANGE_VALUES)) {
            (_, Some(strange)) => self.text.push_str(strange),
            (Value::Object(object), None) => self.object(object),
            (Value::Array(items), None) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.text.push_str(if index > 0 { "," } else { "" });
                    self.value(item);
                }
                self.text.push(']');
            }
            (Value::String(text), None) => self.string(&Value::from(text.as_str()).to_string()),
            (other, None) => self.text.push_str(&other.to_string()),
        }
        self.space();
    }

    fn object(&mut self, object: &Map<String, Value>) {
        self.text.push('{');
        let mut members: Vec<_> = object.iter().collect();
        let first = self.next() % members.len().max(1);
        members.rotate_left(first);
        for (index, (key, value)) in members.into_iter().enumerate() {
            self.text.push_str(if index > 0 { "," } else { "" });
            if let Some(strange) = self.choose(&STRANGE_MEMBERS) {
                self.text.push_str(strange);
                self.text.push(',');
            }
            self.space();
            self.string(&Value::from(key.as_str()).to_string());
            self.space();
            self.text.push(':');
            self.value(value);
        }
        self.text.push('}');
    }

    /// Writes a quoted string.
    fn string(&mut self, quoted: &str) {
        let strange = self.choose(&STRANGE_TEXTS).unwrap_or("");
        self.text.push_str(&quoted[..quoted.len() - 1]);
        self.text.push_str(strange);
        self.text.push('"');
    }
}

fn write(value: &Value, choices: &[u8], rate: u8) -> String {
    let mut writer = Writer { choices: choices.iter().cycle(), rate, text: String::new() };
    writer.value(value);
    writer.text
}

proptest! {
    #[test]
    fn spoiled_texts_are_read_as_serde_reads_them(
        choices in prop::collection::vec(any::<u8>(), 1..400),
        rate in prop_oneof![Just(0u8), 1u8..6, 1u8..60],
    ) {
        agree::<Block<'_>>(&write(&block(), &choices, rate))?;
        agree::<Vec<Receipt<'_>>>(&write(&receipts(), &choices, rate))?;
        agree::<Vec<TraceItem<'_>>>(&write(&traces(), &choices, rate))?;
    }

    #[test]
    fn any_byte_may_be_another(at in any::<prop::sample::Index>(), byte in 1u8..128, choices in any::<[u8; 32]>()) {
        for (text, read) in texts(&choices) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                read(&text)?;
            }
        }
    }
}

type Read = fn(&str) -> Result<(), TestCaseError>;

fn texts(choices: &[u8]) -> [(String, Read); 3] {
    [
        (write(&block(), choices, 3), |text| agree::<Block<'_>>(text)),
        (write(&receipts(), choices, 3), |text| agree::<Vec<Receipt<'_>>>(text)),
        (write(&traces(), choices, 3), |text| agree::<Vec<TraceItem<'_>>>(text)),
    ]
}

#[test]
fn a_text_cut_anywhere_is_refused() {
    for (text, read) in texts(&[255]) {
        read(&text).unwrap();
        for end in 0..text.len() {
            if text.is_char_boundary(end) {
                read(&text[..end]).unwrap();
            }
        }
        let cut = reader::from_str::<Block<'_>>(&text[..text.len() / 2]).unwrap_err();
        assert!(cut.at <= text.len() / 2);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"new":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    agree::<Block<'_>>(&nested(126)).unwrap();
    reader::from_str::<Block<'_>>(&nested(126)).unwrap();
    let error = reader::from_str::<Block<'_>>(&nested(1_000_000)).unwrap_err();
    assert_eq!((error.problem, error.at), (Problem::TooDeep, 134));
    let calls = |depth: usize| format!(r#"[{{"result":{}1{}}}]"#, r#"{"calls":["#.repeat(depth), "]}".repeat(depth));
    for depth in [1, 62, 63, 64, 1000] {
        agree::<Vec<TraceItem<'_>>>(&calls(depth).replace('1', "")).unwrap();
    }
}

#[test]
fn errors_say_what_and_where() {
    let says = |text: &str| reader::from_str::<Block<'_>>(text).unwrap_err().to_string();
    assert_eq!(says(r#"{"number": [1]}"#), "expected hex text, a whole number or null at byte 11");
    assert_eq!(says(r#"{"hash":"0x1","hash":"0x1"}"#), "a second hash at byte 21");
    assert_eq!(says(r#"{"hash":"0x1"} x"#), "expected the end of the text at byte 15");
    assert_eq!(says(r#"{"hash":"0x1"#), "the text ends too early at byte 12");
    assert_eq!(says("[]"), "expected an object at byte 0");
    assert_eq!(says(r#"{"hash":"0x\u0031"}"#), "expected hex text without escaped characters at byte 11");
}
