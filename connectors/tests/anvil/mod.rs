//! Anvil as a real node: started, told what to mine, stopped in every rude way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Emits an ERC-20 `Transfer` of the amount in the call data from the caller to itself; fails if that is zero.
///
/// ```text
/// init     PUSH1 0x38 DUP1 PUSH1 0x0b PUSH1 0 CODECOPY PUSH1 0 RETURN
/// runtime  PUSH1 0 CALLDATALOAD DUP1 PUSH1 0x0b JUMPI PUSH1 0 DUP1 REVERT
///          JUMPDEST PUSH1 0 MSTORE ADDRESS CALLER PUSH32 <topic> PUSH1 0x20 PUSH1 0 LOG3 STOP
/// ```
const INIT_CODE: &str = "0x603880600b6000396000f360003580600b57600080fd5b6000523033\
    7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef60206000a300";

/// The program to run. `None` if the environment names none; in CI it must.
#[expect(clippy::print_stdout, reason = "whoever runs the tests must see that these were left out")]
pub(crate) fn program() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where anvil is installed is told by the environment")]
    let (given, in_ci) = (std::env::var("HIGHWATER_ANVIL"), std::env::var("CI").is_ok());
    if let Ok(path) = given {
        return Some(path.into());
    }
    assert!(!in_ci, "HIGHWATER_ANVIL is not set; see connectors/tests/anvil/install");
    println!("left out: HIGHWATER_ANVIL is not set; see connectors/tests/anvil/install");
    None
}

/// A running node with a contract deployed in block 1. It is killed when it is dropped.
pub(crate) struct Anvil {
    program: PathBuf,
    process: Child,
    port: u16,
    account: Value,
    contract: Value,
    /// Time of block 0. A restart needs it, for what it loads does not hold that block.
    start_time: u64,
    /// Makes every transaction, and with it every block, another one.
    amount: u64,
}

impl Anvil {
    pub(crate) fn start(program: &Path) -> Anvil {
        let start_time = 1_700_000_000;
        let (process, port) = spawn(program, 0, start_time, None);
        let (program, account, contract) = (program.to_owned(), Value::Null, Value::Null);
        let mut anvil = Anvil { program, process, port, account, contract, start_time, amount: 0 };
        anvil.deploy();
        anvil
    }

    fn deploy(&mut self) {
        self.account = self.call("eth_accounts", &json!([]))[0].take();
        self.send(json!({"data": INIT_CODE}));
        self.call("evm_mine", &json!([]));
        self.contract = self.call("eth_getBlockReceipts", &json!(["0x1"]))[0]["contractAddress"].take();
        assert!(self.contract.is_string());
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The result of a call.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut reply: Value = serde_json::from_str(&post(self.port, &body)).unwrap();
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    fn send(&self, mut transaction: Value) {
        transaction["from"] = self.account.clone();
        transaction["gas"] = json!("0x100000");
        self.call("eth_sendTransaction", &json!([transaction]));
    }

    /// Mines blocks with up to two transfers and a failed call each.
    pub(crate) fn mine(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.amount += 1;
            let amounts = [self.amount, self.amount + 1_000_000, 0];
            for amount in &amounts[..usize::try_from(self.amount % 4).unwrap()] {
                self.send(json!({"to": self.contract, "data": format!("{amount:#066x}")}));
            }
            // What makes blocks without traffic differ is their time.
            self.call("evm_increaseTime", &json!([self.amount]));
            self.call("evm_mine", &json!([]));
        }
    }

    pub(crate) fn snapshot(&self) -> Value {
        self.call("evm_snapshot", &json!([]))
    }

    /// Takes back what was mined since the snapshot.
    pub(crate) fn revert(&self, snapshot: &Value) {
        assert_eq!(self.call("evm_revert", &json!([snapshot])), true);
    }

    /// Puts `depth` other blocks in the place of the last ones, in one change.
    pub(crate) fn reorg(&mut self, depth: u64) {
        self.amount += 1;
        let data = format!("{:#066x}", self.amount);
        let transaction = json!({"from": self.account, "to": self.contract, "gas": "0x100000", "data": data});
        self.call("anvil_reorg", &json!([depth, [[transaction, 0]]]));
    }

    /// Takes back the last `depth` blocks.
    pub(crate) fn rollback(&self, depth: u64) {
        self.call("anvil_rollback", &json!([depth]));
    }

    /// All the node knows, in a file that a restart can load.
    pub(crate) fn dump(&self, path: &Path) {
        let dump = self.call("anvil_dumpState", &json!([]));
        let packed = alloy_primitives::hex::decode(dump.as_str().unwrap()).unwrap();
        let mut text = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut text).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts again on the same port with what was dumped.
    pub(crate) fn restart(&mut self, state: &Path) {
        self.process = spawn(&self.program, self.port, self.start_time, Some(state)).0;
    }

    /// Starts again on the same port with another chain from block 0 on.
    pub(crate) fn restart_afresh(&mut self) {
        self.start_time += 1;
        self.process = spawn(&self.program, self.port, self.start_time, None).0;
        self.deploy();
    }

    /// Lets the process stand still: connections are accepted by the system and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The canonical chain: blocks, and the receipts of each.
    pub(crate) fn chain(&self) -> Vec<(Value, Value)> {
        let head = self.call("eth_blockNumber", &json!([]));
        let head = u64::from_str_radix(head.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let block = |number: u64| {
            let number = format!("{number:#x}");
            let block = self.call("eth_getBlockByNumber", &json!([number, true]));
            (block, self.call("eth_getBlockReceipts", &json!([number])))
        };
        (0..=head).map(block).collect()
    }

    /// The hash of the head.
    pub(crate) fn head(&self) -> [u8; 32] {
        let block = self.call("eth_getBlockByNumber", &json!(["latest", false]));
        alloy_primitives::hex::decode_to_array(block["hash"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Starts the program and waits until it listens. With port 0 the system chooses.
fn spawn(program: &Path, port: u16, start_time: u64, state: Option<&Path>) -> (Child, u16) {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--no-mining", "--order", "fifo", "--chain-id", "31337"]);
    command.args(["--timestamp", &start_time.to_string(), "--hardfork", "prague"]);
    if let Some(state) = state {
        command.arg("--load-state").arg(state);
    }
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next().expect("anvil ended before it listened").unwrap();
        if let Some(address) = line.strip_prefix("Listening on 127.0.0.1:") {
            break address.parse().unwrap();
        }
    };
    // It logs every call, and would stand still if nobody read that.
    std::thread::spawn(move || lines.for_each(drop));
    (process, port)
}

fn post(port: u16, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // In one piece: several small writes would each wait for the answer to the one before.
    let request = format!(
        "POST / HTTP/1.1\r\nHost: anvil\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
