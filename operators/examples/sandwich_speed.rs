//! Thread CPU time of the sandwich rule for each swap, over blocks of 40 swaps like those of the peer benchmark:
//! a few busy pools and many quiet ones, two sandwiches in five blocks with up to three victims, decoys.
//!
//! `cargo run --release -p highwater-operators --example sandwich_speed`

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryBuilder, Int64Array, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use highwater_engine::clock::thread_cpu;
use highwater_engine::model::evm;
use highwater_operators::block_kernel::BlockRows;
use highwater_operators::mev::columns::{TRADE_COLUMNS, Trades};
use highwater_operators::mev::sandwich_rule::detect;
use highwater_operators::mev::sandwiches::SANDWICH_LEGS;
use highwater_operators::mev::{InputTable, MevSettings, RELATIONS};

const BLOCKS: u64 = 50_000;
const SWAPS: usize = 40;
const POOLS: u64 = 2_000;
const WALLETS: u64 = 100_000;
const BOTS: u64 = 200;

/// A swap: pool, sender, whether it sells coin 0.
type Swap = (u64, u64, bool);

#[expect(clippy::print_stdout, reason = "the example's result")]
fn main() {
    let mut random = Random(7);
    let blocks: Vec<RecordBatch> = (0..BLOCKS).map(|_| batch(&block(&mut random))).collect();
    let rows = BLOCKS as f64 * SWAPS as f64;
    let settings = Arc::new(MevSettings::default());

    let start = thread_cpu();
    let found: usize = blocks.iter().map(|block| detect(&Trades::of(block), &settings).len()).sum();
    let rule = (thread_cpu() - start).as_nanos() as f64 / rows;

    let mut kernel = (SANDWICH_LEGS.kernel)(&settings);
    let start = thread_cpu();
    let mut legs = 0;
    for (number, block) in (0..).zip(&blocks) {
        let tables = std::slice::from_ref(block);
        legs += kernel.block(BlockRows { number, hash: [1; 32], timestamp_ms: 0, tables }).num_rows();
    }
    let relation = (thread_cpu() - start).as_nanos() as f64 / rows;
    println!(
        "rule {rule:.0} cpu-ns/swap, {found} sandwiches; with rows of sandwich_legs {relation:.0} cpu-ns/swap, {legs} rows"
    );
    let (told, judged) = look_back(&blocks, &settings);
    println!(
        "previous_trades, which one worker makes in order: {:.0} cpu-ns/swap; arbitrages, which all share: {:.0}",
        told / rows,
        judged / rows
    );
}

/// CPU nanoseconds of the kernels of `previous_trades` and of `arbitrages`, which reads it.
fn look_back(blocks: &[RecordBatch], settings: &Arc<MevSettings>) -> (f64, f64) {
    let relation = |name: &str| RELATIONS.iter().find(|relation| relation.name == name).expect("it is listed");
    let picked = |batch: &RecordBatch, names: &[&str]| {
        let places: Vec<usize> = names.iter().map(|name| batch.schema().index_of(name).expect("a column")).collect();
        batch.project(&places).expect("columns of the batch")
    };
    let nothing = |input: &InputTable| {
        let known = RELATIONS.iter().find(|relation| relation.name == input.name);
        let schema = known.map(|known| (known.schema)()).or_else(|| evm::schema(input.name)).expect("a table");
        picked(&RecordBatch::new_empty(schema), input.columns)
    };
    let (previous, arbitrages) = (relation("previous_trades"), relation("arbitrages"));
    let mut tables: Vec<RecordBatch> = arbitrages.inputs.iter().map(nothing).collect();
    let place = arbitrages.inputs.iter().position(|input| input.name == previous.name).expect("an input");
    let inputs: Vec<RecordBatch> = blocks.iter().map(|block| picked(block, previous.inputs[0].columns)).collect();
    let (mut memory, mut rule) = ((previous.kernel)(settings), (arbitrages.kernel)(settings));
    let (mut told, mut judged) = (0.0, 0.0);
    for (number, (block, input)) in (0..).zip(blocks.iter().zip(&inputs)) {
        let start = thread_cpu();
        let rows =
            memory.block(BlockRows { number, hash: [1; 32], timestamp_ms: 0, tables: std::slice::from_ref(input) });
        memory.finalize(number.saturating_sub(64));
        let middle = thread_cpu();
        tables[place] = picked(&rows, arbitrages.inputs[place].columns);
        tables[0] = block.clone();
        rule.block(BlockRows { number, hash: [1; 32], timestamp_ms: 0, tables: &tables });
        told += (middle - start).as_nanos() as f64;
        judged += (thread_cpu() - middle).as_nanos() as f64;
    }
    (told, judged)
}

/// Swaps of a block in order.
fn block(random: &mut Random) -> Vec<Swap> {
    let mut swaps: Vec<(u64, Swap)> = Vec::with_capacity(SWAPS + 8);
    if random.below(5) < 2 {
        let (pool, bot, sells) = (random.pool(), WALLETS + random.below(BOTS), random.below(2) == 0);
        let start = random.below(600);
        swaps.push((start, (pool, bot, sells)));
        for victim in 0..=random.below(3) {
            swaps.push((start + 10 * (victim + 1), (pool, random.below(WALLETS), sells)));
        }
        swaps.push((start + 50, (pool, bot, !sells)));
    }
    if random.below(5) < 2 {
        let (pool, bot, at) = (random.pool(), WALLETS + random.below(BOTS), random.below(900));
        swaps.extend([(at, (pool, bot, true)), (at + 1, (pool, bot, false))]);
    }
    while swaps.len() < SWAPS {
        let swap = (random.pool(), random.below(WALLETS), random.below(2) == 0);
        swaps.push((random.below(1000), swap));
    }
    swaps.sort_by_key(|(place, _)| *place);
    swaps.into_iter().map(|(_, swap)| swap).collect()
}

fn batch(swaps: &[Swap]) -> RecordBatch {
    let count = swaps.len();
    let ints = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let addresses = |of: &dyn Fn(&Swap) -> u64| fixed(20, swaps.iter().map(|swap| address(of(swap)).to_vec()));
    let amount = || fixed(32, swaps.iter().map(|_| U256::from(1000).to_be_bytes::<32>().to_vec()));
    let places: Vec<i64> = (0..).take(count).collect();
    let pools: Vec<[u8; 20]> = swaps.iter().map(|swap| address(swap.0)).collect();
    let columns = TRADE_COLUMNS.iter().map(|name| -> ArrayRef {
        match *name {
            "chain" | "protocol" => Arc::new(StringArray::from_iter_values(swaps.iter().map(|_| "test"))),
            "chain_id" => ints(vec![1; count]),
            "transaction_index" | "log_index" => ints(places.clone()),
            "transaction_hash" => fixed(32, swaps.iter().map(|_| vec![3; 32])),
            "pool" => Arc::new(BinaryArray::from_iter_values(&pools)),
            "venue" => addresses(&|swap| swap.0),
            "sold_index" => ints(swaps.iter().map(|swap| i64::from(!swap.2)).collect()),
            "bought_index" => ints(swaps.iter().map(|swap| i64::from(swap.2)).collect()),
            "token_sold" => addresses(&|swap| swap.0 * 2 + u64::from(swap.2)),
            "token_bought" => addresses(&|swap| swap.0 * 2 + u64::from(!swap.2)),
            "amount_sold" | "amount_bought" => amount(),
            "tx_from" => addresses(&|swap| swap.1),
            "tick" | "fee_pips" => new_null_array(&DataType::Int64, count),
            "sender" | "recipient" | "tx_to" => new_null_array(&DataType::FixedSizeBinary(20), count),
            _ => new_null_array(&DataType::FixedSizeBinary(32), count),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let fields = TRADE_COLUMNS.iter().zip(&columns).map(|(name, of)| Field::new(*name, of.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).expect("columns of one length")
}

fn fixed(width: i32, values: impl Iterator<Item = Vec<u8>>) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(width);
    values.for_each(|value| builder.append_value(value).expect("one width"));
    Arc::new(builder.finish())
}

/// An address spread over all bytes.
fn address(number: u64) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
    bytes[8..16].copy_from_slice(&mix(number ^ 0xabcd).to_be_bytes());
    bytes
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) >> 11) % limit
    }

    /// A pool, low numbers far more often: the density falls as one over the number.
    fn pool(&mut self) -> u64 {
        let spread = (POOLS as f64).powf(self.below(1 << 20) as f64 / (1 << 20) as f64);
        (1..POOLS).find(|pool| *pool as f64 + 1.0 > spread).unwrap_or(POOLS)
    }
}
