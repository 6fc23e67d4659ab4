//! Recorded chains, to run over and to damage.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::command::here;

/// The lines of the recording that is shipped: 95 blocks, six reorgs.
pub(crate) static DEVNET: LazyLock<Vec<Value>> =
    LazyLock::new(|| read_lines(&here("jobs/data/devnet/blocks.ndjson.gz")));

/// Reads a compressed file of JSON lines.
pub(crate) fn read_lines(path: &Path) -> Vec<Value> {
    gunzip(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The text of a compressed file.
pub(crate) fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// JSON lines as text.
pub(crate) fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

/// The hashes of the blocks that a recording's truth says were orphaned.
pub(crate) fn orphaned(truth: &Value) -> BTreeSet<String> {
    let blocks = truth["reorgs"].as_array().unwrap().iter().flat_map(|reorg| reorg["orphaned"].as_array().unwrap());
    blocks.map(|block| block["hash"].as_str().unwrap().to_owned()).collect()
}

/// The canonical chain alone: each block once, each the parent of the next.
pub(crate) fn canonical(events: &[Value], orphaned: &BTreeSet<String>) -> Vec<Value> {
    let mut chain: Vec<Value> = Vec::new();
    for event in events.iter().filter(|event| event["block"].is_object()) {
        let block = &event["block"];
        if orphaned.contains(block["hash"].as_str().unwrap()) {
            continue;
        }
        if let Some(last) = chain.last() {
            assert_eq!(block["parentHash"], last["block"]["hash"], "the canonical chain has no gap");
        }
        let mut event = event.clone();
        event["event"] = "head".into();
        chain.push(event);
    }
    chain
}

/// A hexadecimal quantity.
pub(crate) fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// What of a compressed file can be read while it is being written.
pub(crate) fn whole_text(path: &Path) -> String {
    let mut bytes = Vec::new();
    // The last member may be half there; what came before it was read.
    let _ = MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
