//! Thread CPU time of the connected components for one edge at 100,000 nodes: new edges and retracted ones in turn,
//! over a random graph, a random tree (every retraction splits it) and a ring (every other one searches half of it).
//!
//! `cargo run --release -p highwater-operators --example components_speed`

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::clock::thread_cpu;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::components::{Components, ComponentsSpec};

const NODES: u64 = 100_000;
const TICKS: usize = 10_000;

type Edge = (u64, u64);

fn main() {
    let mut random = Random(7);
    let graph = (0..150_000).map(|_| (random.below(NODES), random.below(NODES))).collect();
    measure("random graph, 150,000 edges", graph, &mut random, TICKS);
    let tree = (1..NODES).map(|node| (node, random.below(node))).collect();
    measure("random tree", tree, &mut random, TICKS);
    let ring = (0..NODES).map(|node| (node, (node + 1) % NODES)).collect();
    measure("ring", ring, &mut random, 20);
}

#[expect(clippy::print_stdout, reason = "the example's result")]
fn measure(name: &str, mut edges: Vec<Edge>, random: &mut Random, ticks: usize) {
    let spec = ComponentsSpec { input: schema(), ends: [0, 1], hub_limit: Some(1000) };
    let mut components = Components::new("view", spec).expect("valid components");
    let (build_us, rows) = tick(&mut components, &edges, 1);
    let size = components.size();
    println!("{name}: built in {:.0} ms, {rows} rows, {} bytes", build_us / 1000.0, size.bytes);
    let (mut new, mut retracted) = (Figures::default(), Figures::default());
    for _ in 0..ticks {
        let edge = (random.below(NODES), random.below(NODES));
        new.push(tick(&mut components, &[edge], 1));
        edges.push(edge);
        let place = usize::try_from(random.below(edges.len() as u64)).expect("below a usize");
        let gone = edges.swap_remove(place);
        retracted.push(tick(&mut components, &[gone], -1));
    }
    println!("  new edge: {}\n  retracted: {}", new.text(), retracted.text());
}

/// Microseconds and rows of ticks.
#[derive(Default)]
struct Figures {
    micros: Vec<f64>,
    rows: usize,
}

impl Figures {
    fn push(&mut self, (micros, rows): (f64, usize)) {
        self.micros.push(micros);
        self.rows += rows;
    }

    fn text(mut self) -> String {
        self.micros.sort_unstable_by(f64::total_cmp);
        let count = self.micros.len();
        let [p50, p99] = [50, 99].map(|percent| self.micros[(count * percent / 100).min(count - 1)]);
        let (max, rows) = (self.micros[count - 1], self.rows);
        format!("p50 {p50:.1} us, p99 {p99:.1} us, most {max:.1} us; {rows} rows in {count} ticks")
    }
}

/// One tick with these edges: CPU microseconds and rows given.
fn tick(components: &mut Components, edges: &[Edge], diff: i64) -> (f64, usize) {
    let delta = Delta::of_block(batch(edges), diff, 1);
    let hash = BlockHash([0; 32]);
    let progress = Progress::at(1, &BlockRef { number: 1, hash, parent: hash, timestamp_ms: 0 });
    let mut output = Output::default();
    let start = thread_cpu();
    components.on_tick(vec![delta], &progress, &mut output);
    let micros = (thread_cpu() - start).as_nanos() as f64 / 1000.0;
    (micros, output.deltas.iter().map(Delta::len).sum())
}

fn schema() -> SchemaRef {
    let address = || DataType::FixedSizeBinary(20);
    Arc::new(Schema::new(vec![Field::new("payer", address(), false), Field::new("payee", address(), false)]))
}

fn batch(edges: &[Edge]) -> RecordBatch {
    let column = |ends: Vec<u64>| -> ArrayRef {
        let mut addresses = FixedSizeBinaryBuilder::new(20);
        for end in ends {
            let mut address = [0; 20];
            // Addresses are as good as random.
            address[..8].copy_from_slice(&Random(end).next().to_be_bytes());
            addresses.append_value(address).expect("twenty bytes");
        }
        Arc::new(addresses.finish())
    };
    let (from, to) = edges.iter().copied().unzip();
    RecordBatch::try_new(schema(), vec![column(from), column(to)]).expect("columns fit")
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
