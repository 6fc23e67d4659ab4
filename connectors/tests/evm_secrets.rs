//! Keys in URLs are nowhere to be seen: not in errors, logs of any level, metrics or rows, whatever goes wrong.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use highwater_engine::error::chain;
use highwater_testnode::{Effect, When};
use live::{Live, node, usual};

const PATH_KEY: &str = "0123456789abcdefpathkey";
const QUERY_KEY: &str = "querykey0123456789";
const USER_KEY: &str = "userkey9876543210";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn with_keys(url: &str) -> String {
    let (scheme, address) = url.split_once("://").unwrap();
    format!("{scheme}://user:{USER_KEY}@{address}/v2/{PATH_KEY}?apikey={QUERY_KEY}")
}

#[test]
fn keys_are_shown_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    everything.with_writer(move || writer.clone()).init();

    let node = node(20, 60);
    node.fault(When::any_call().chance(50, 1), Effect::Status(401, None));
    node.fault(When::any_call().chance(50, 2), Effect::Reset);
    node.fault(When::call("eth_getBlockReceipts").chance(50, 3), Effect::Body("no JSON"));
    node.fault(When::call("eth_getBlockByNumber").chance(50, 4), Effect::OtherBlock);
    node.fault(When::call("eth_getBlockByHash").nth(2), Effect::Error(-32_000, "bad key 0123456789abcdefpathkey"));
    node.fault(When::head().every(5), Effect::DropSocket);
    let url = format!("{} {}", with_keys(&node.http_url()), with_keys(&node.ws_url()));
    let live = Live::with(&usual(&url, &[]), &["blocks", "rpc_samples"], |_| {});
    for _ in 0..40 {
        node.step(1);
        live.wait_for_chain_of(&node);
    }
    let rows = live.look(|seen| seen.rows.values().cloned().collect::<Vec<_>>());
    let mut shown = format!("{rows:?}") + &live.metrics();
    node.stop();
    let idles = live.look(|seen| seen.idles);
    live.wait("a while", |seen| seen.idles > idles + 3, |_| {});
    drop(live);
    let gone = Live::start(&usual(&url, &[("request_timeout", "200 ms")]));
    let error = gone.wait_for_error();
    shown += &format!("{} {error:?}", chain(&error));
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in shown.lines() {
        for key in [PATH_KEY, QUERY_KEY, USER_KEY] {
            assert!(!line.contains(key), "{line}");
        }
    }
    assert!(shown.contains("an endpoint gave an answer that cannot be used"));
    assert!(shown.lines().count() > 100);
}
