//! The bodies of the fuzz targets, over real blocks spoiled at random.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, missing_docs, reason = "a library of its own there")]
mod bodies;
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use proptest::sample::Index;

/// Small blocks of events, with receipts and without traces.
static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let Some(path) = support::shared("e2e/recorded/run40/blocks.ndjson.gz") else { return Vec::new() };
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap);
    let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
    let blocks = events.filter(|event| event["block"].is_object() && event["receipts"].is_array());
    blocks.take(12).map(|event| format!("{}\n{}\n[]", event["block"], event["receipts"])).collect()
});

#[derive(Clone, Debug)]
enum Spoil {
    Byte(Index, u8),
    Cut(Index, Index),
    Copy(Index, Index, Index),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
        (at(), at()).prop_map(|(from, to)| Spoil::Cut(from, to)),
        (at(), at(), at()).prop_map(|(from, to, at)| Spoil::Copy(from, to, at)),
    ]
}

fn apply(spoil: &Spoil, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let range = |from: &Index, to: &Index, len| {
        let (from, to) = (from.index(len), to.index(len));
        from.min(to)..from.max(to).min(from.min(to) + 200)
    };
    match spoil {
        Spoil::Byte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Spoil::Cut(from, to) => drop(bytes.drain(range(from, to, bytes.len()))),
        Spoil::Copy(from, to, at) => {
            let copied = bytes[range(from, to, bytes.len())].to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..at, copied);
        }
    }
}

proptest! {
    #[test]
    fn json_ingest(seed: Index, spoils in prop::collection::vec(spoil(), 0..6), bytes: Vec<u8>) {
        bodies::json_ingest(&bytes);
        if !SEEDS.is_empty() {
            let mut text = SEEDS[seed.index(SEEDS.len())].clone().into_bytes();
            spoils.iter().for_each(|spoil| apply(spoil, &mut text));
            bodies::json_ingest(&text);
        }
    }
}
