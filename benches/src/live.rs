//! From the last byte of a block on the socket to its row at the sink: a node on loopback announces blocks of
//! real traffic one by one, and the job follows.
//!
//! The node runs in this process. Its HTTP goes through a relay, which notes when it has handed the last bytes
//! to the connector; announcements go directly. The next block is announced once the row of the last is there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use highwater_engine::clock::Stopwatch;
use highwater_testnode::{Block, Chain, Node};
use serde_json::{Value, json};

use crate::harness::{Knobs, run_sql_watched};
use crate::report;

/// Which blocks, and how many.
#[derive(Debug, Args)]
pub(crate) struct LiveArguments {
    /// Folder with `blocks.jsonl.gz` and `receipts.jsonl.gz`; its blocks are repeated under other hashes
    #[arg(long)]
    data: PathBuf,
    /// Blocks to follow
    #[arg(long, default_value_t = 500)]
    blocks: usize,
    /// Blocks before the first that counts
    #[arg(long, default_value_t = 20)]
    warm_up: usize,
    /// Pause between a row and the next block, in milliseconds
    #[arg(long, default_value_t = 20)]
    pause_ms: u64,
    /// Worker threads of the dataflow
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

/// Longest wait for a row.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job that reads transactions and logs, keeps windows, and decodes trades.
const VIEWS: &str = "
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed,
       max(effective_gas_price) AS dearest, count(DISTINCT from_address) AS senders
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW tokens AS
SELECT window_start, window_end, token_address, count(*) AS transfers
FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end, token_address;
";

pub(crate) fn run(arguments: &LiveArguments) -> anyhow::Result<()> {
    let (chain, transactions) = repeated(&arguments.data, arguments.blocks)?;
    let last = chain.blocks().last().context("the recording has no block")?.number;
    let node = Node::start(chain);
    let clock = Arc::new(Clock { started: Stopwatch::start(), last_byte: AtomicU64::new(0) });
    let relay = relay(node.http_url().trim_start_matches("http://").to_owned(), clock.clone())?;
    let out = tempfile::tempdir()?;
    let job = job(&relay, &node.ws_url(), last, out.path());
    let (rows, arrived) = channel();
    let watch = clock.clone();
    let knobs =
        Knobs { workers: arguments.workers, blocks_per_tick: 1, in_flight: 1, confirmations: None, to_block: None };
    let measured = std::thread::scope(|scope| {
        let (node, clock) = (&node, &clock);
        let steps = scope.spawn(move || step(node, &arrived, clock, arguments));
        // Ticks without a block bring no row. Nobody listens any more once the steps have failed.
        let ran = run_sql_watched(&job, Path::new("."), knobs, |report| {
            if report.progress.applied_blocks > 0 {
                let _ = rows.send(watch.now());
            }
        });
        drop(rows);
        let steps = steps.join().map_err(|_| anyhow::anyhow!("the thread that steps the node panicked"))?;
        ran.and(steps)
    })?;
    let quantile = |histogram: &Histogram<u64>, quantile| Value::from(histogram.value_at_quantile(quantile));
    report(&json!({
        "engine": "highwater",
        "query": "live",
        "blocks": measured.socket.len(),
        "transactions_per_block": transactions / arguments.blocks.max(1),
        "workers": arguments.workers,
        "last_byte_to_row_p50_us": quantile(&measured.socket, 0.5),
        "last_byte_to_row_p99_us": quantile(&measured.socket, 0.99),
        "last_byte_to_row_max_us": measured.socket.max(),
        "announced_to_row_p50_us": quantile(&measured.announced, 0.5),
        "announced_to_row_p99_us": quantile(&measured.announced, 0.99),
        "announced_to_row_max_us": measured.announced.max(),
    }))
}

fn job(http: &str, ws: &str, last: u64, out: &Path) -> String {
    let out = out.display();
    format!(
        "CREATE SOURCE eth WITH (connector = 'evm', url = 'http://{http} {ws}', confirmations = 64,
           poll_interval = '1 minute', request_timeout = '30 seconds', end_block = {last});
         {VIEWS}
         CREATE SINK minutes_out FROM minutes WITH (connector = 'file', path = '{out}/minutes.jsonl');
         CREATE SINK tokens_out FROM tokens WITH (connector = 'file', path = '{out}/tokens.jsonl');"
    )
}

/// The times of all blocks, in microseconds.
struct Measured {
    socket: Histogram<u64>,
    announced: Histogram<u64>,
}

/// Announces block after block, each when the row of the one before is there.
fn step(node: &Node, arrived: &Receiver<u64>, clock: &Clock, arguments: &LiveArguments) -> anyhow::Result<Measured> {
    let mut measured = Measured { socket: Histogram::new(3)?, announced: Histogram::new(3)? };
    let wait = || arrived.recv_timeout(PATIENCE).context("no row came");
    wait()?;
    node.wait_for_subscriptions(1);
    for block in 0.. {
        std::thread::sleep(Duration::from_millis(arguments.pause_ms));
        let announced = clock.now();
        if node.step(1) == 0 {
            break;
        }
        let row = wait()?;
        if block >= arguments.warm_up {
            let last_byte = clock.last_byte.load(Ordering::Acquire);
            ensure!(announced < last_byte && last_byte < row, "a block came another way than through the relay");
            measured.socket.record(row - last_byte)?;
            measured.announced.record(row - announced)?;
        }
    }
    Ok(measured)
}

/// The clock of the run, and when the relay last handed bytes on, in microseconds.
struct Clock {
    started: Stopwatch,
    last_byte: AtomicU64,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Relays connections to `to`; its own address.
fn relay(to: String, clock: Arc<Clock>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(node) = TcpStream::connect(&to) else { return };
            let (Ok(to_node), Ok(to_client)) = (node.try_clone(), client.try_clone()) else { return };
            for stream in [&to_node, &to_client] {
                // Without it the relay would wait where the node does not.
                drop(stream.set_nodelay(true));
            }
            let clock = clock.clone();
            std::thread::spawn(move || pass_on(client, to_node, || {}));
            std::thread::spawn(move || {
                pass_on(node, to_client, || clock.last_byte.store(clock.now(), Ordering::Release))
            });
        }
    });
    Ok(address)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, passing: impl Fn()) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        // Before the bytes go: afterwards this thread may wait for its turn while the block is worked on.
        passing();
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(to.shutdown(std::net::Shutdown::Both));
}

/// A chain of `count` blocks and the first, made of the blocks of a recording again and again; with the number of
/// all their transactions.
fn repeated(data: &Path, count: usize) -> anyhow::Result<(Chain, usize)> {
    let recorded = Chain::folder(data);
    let first = recorded.blocks().first().context("the recording has no block")?.clone();
    let mut blocks = vec![first.clone()];
    let mut transactions = 0;
    for (index, original) in (1..=count).zip(recorded.blocks().iter().cycle().skip(1)) {
        let (parent, number) = blocks.last().map(|below| (below.hash, below.number + 1)).expect("the first is there");
        let mut hash = original.hash;
        hash.0[..8].copy_from_slice(&u64::try_from(index)?.to_be_bytes());
        let rename = |text: String| {
            let text = text.replace(&original.hash.to_string(), &hash.to_string());
            let text = text.replace(&original.parent.to_string(), &parent.to_string());
            text.replace(&format!("\"{:#x}\"", original.number), &format!("\"{number:#x}\""))
        };
        let body: Value = serde_json::from_str(&rename(original.body().to_string()))?;
        let receipts: Vec<Value> =
            serde_json::from_str(&rename(Value::from(original.receipts().to_vec()).to_string()))?;
        transactions += receipts.len();
        blocks.push(Arc::new(Block::new(&body, &receipts)));
    }
    let steps: Vec<_> = blocks.iter().skip(1).map(|block| block.hash).collect();
    Ok((Chain::new(1, blocks, first.hash, &steps), transactions))
}
