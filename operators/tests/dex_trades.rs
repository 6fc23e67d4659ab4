//! Trades against their definition, over random histories.

mod harness;
#[path = "reference/dex_trades.rs"]
mod reference;

use std::sync::Arc;

use highwater_engine::model::evm;
use highwater_operators::block_kernel::BlockKernel;
use highwater_operators::mev::dex_trades::DexTrades;
use highwater_operators::mev::{BlockRelation, MevSettings, RELATIONS};
use proptest::prelude::*;

use harness::Random;
use harness::kernel::{KernelBlock, KernelShape, drive};
use harness::tables::{Cell, Row, batch, input_schema, rows_of};

type Address = [u8; 20];

const WRAPPED: Address = [0xee; 20];
const DOLLAR: Address = [0xdd; 20];
const OTHER_DOLLAR: Address = [0xd1; 20];
const TABLED: Address = [0x7a; 20];
const PLAIN: Address = [0x11; 20];
const FACTORY: Address = [0xfa; 20];

fn settings() -> Arc<MevSettings> {
    let mut settings = MevSettings::default();
    settings.wrapped_native.insert(WRAPPED);
    settings.stablecoins.extend([(DOLLAR, 2), (OTHER_DOLLAR, 0)]);
    settings.prices.insert(TABLED, 1_700_000_120_000, 2.5);
    settings.prices.insert(TABLED, 1_700_000_240_000, 0.5);
    Arc::new(settings)
}

fn relation() -> &'static BlockRelation {
    RELATIONS.iter().find(|relation| relation.name == "dex_trades").expect("the relation is listed")
}

/// A pool: its emitter, identifier and true coins. Two share an identifier under different emitters.
fn pools() -> Vec<(Address, Vec<u8>, Vec<Address>)> {
    vec![
        ([1; 20], vec![1; 20], vec![DOLLAR, WRAPPED]),
        ([2; 20], vec![2; 20], vec![WRAPPED, OTHER_DOLLAR]),
        (FACTORY, vec![3; 32], vec![[0; 20], DOLLAR]),
        ([4; 20], vec![3; 32], vec![PLAIN, TABLED]),
        ([5; 20], vec![5; 20], vec![PLAIN, WRAPPED, TABLED, DOLLAR]),
        ([6; 20], vec![1; 20], vec![DOLLAR, OTHER_DOLLAR]),
        ([7; 20], vec![7; 5], vec![DOLLAR, WRAPPED]),
    ]
}

fn swap(random: &mut Random, place: (i64, i64)) -> Row {
    let (venue, pool, coins) = random.pick(&pools());
    let sold = random.index(coins.len());
    let bought = if random.chance(95) { (sold + 1 + random.index(coins.len() - 1)) % coins.len() } else { sold };
    let index = |index: usize| Cell::Int(i64::try_from(index).expect("few"));
    let indexed = random.chance(85);
    let mut token = |index: usize| match random.below(10) {
        0..3 => Cell::Null,
        9 => Cell::Bytes(random.pick(&[DOLLAR, WRAPPED, PLAIN]).to_vec()),
        _ => Cell::Bytes(coins[index].to_vec()),
    };
    let (token_sold, token_bought) = (token(sold), token(bought));
    let mut amount = || if random.chance(5) { 0 } else { u128::from(1 + random.below(1_000_000)) };
    let (amount_sold, amount_bought) = (Cell::Amount(amount()), Cell::Amount(amount()));
    let mut row = Row::from([
        ("transaction_index", Cell::Int(place.0)),
        ("log_index", Cell::Int(place.1)),
        ("pool", Cell::Bytes(pool)),
        ("venue", Cell::Bytes(venue.to_vec())),
        ("token_sold", token_sold),
        ("token_bought", token_bought),
        ("amount_sold", amount_sold),
        ("amount_bought", amount_bought),
        (
            "trust",
            Cell::Text(
                random.pick(&["unverified", "unverified", "balanced", "balanced", "balanced", "verified"]).to_owned(),
            ),
        ),
    ]);
    if indexed {
        row.extend([("sold_index", index(sold)), ("bought_index", index(bought))]);
    }
    row
}

fn announcement(random: &mut Random, place: (i64, i64)) -> Row {
    let (venue, pool, coins) = random.pick(&pools());
    let factory = if pool.len() == 32 { venue } else { FACTORY };
    let lies = random.chance(20);
    // A pool that is asked names any two of its coins.
    let called = random.chance(40);
    let first = if called { random.index(coins.len() - 1) } else { 0 };
    let index = |index: usize| Cell::Int(i64::try_from(index).expect("few"));
    Row::from([
        ("transaction_index", Cell::Int(place.0)),
        ("log_index", Cell::Int(place.1)),
        ("pool", Cell::Bytes(pool)),
        ("factory", Cell::Bytes(factory.to_vec())),
        ("listed", Cell::Bool(!lies && random.chance(35))),
        ("index0", index(first)),
        ("index1", index(first + 1)),
        ("token0", Cell::Bytes(if lies { DOLLAR } else { coins[first] }.to_vec())),
        ("token1", Cell::Bytes(if lies { WRAPPED } else { coins[first + 1] }.to_vec())),
        ("source", Cell::Text(if called { "call" } else { "event" }.to_owned())),
    ])
}

fn tables(random: &mut Random, block: &KernelBlock) -> Vec<arrow::record_batch::RecordBatch> {
    let (mut swaps, mut announcements) = (Vec::new(), Vec::new());
    for index in 0..i64::try_from(random.below(12)).expect("few") {
        let place = (index / 3, index);
        let announces = random.chance(12);
        if announces {
            announcements.push(announcement(random, place));
        }
        // What a pool was asked stands at the place of its swap.
        if !announces || random.chance(30) {
            swaps.push(swap(random, place));
        }
    }
    let inputs = relation().inputs.iter().zip([swaps, announcements]);
    let tables = inputs.map(|(input, rows)| {
        let schema = evm::schema(input.name).expect("a chain table");
        batch(&input_schema(&schema, input), block, &rows)
    });
    tables.collect()
}

fn make() -> Box<dyn BlockKernel> {
    (relation().kernel)(&settings())
}

fn said(output: &arrow::record_batch::RecordBatch) -> Vec<reference::Said> {
    let said = |mut row: std::collections::BTreeMap<String, Cell>| {
        let mut take = |name: &str| row.remove(name).expect("a column");
        let Cell::Text(trust) = take("trust") else { panic!("trust is not text") };
        reference::Said {
            sold: take("token_sold"),
            bought: take("token_bought"),
            trust,
            price: take("price"),
            usd: take("amount_usd"),
            basis: take("usd_basis"),
        }
    };
    rows_of(output).into_iter().map(said).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_its_definition_after_every_step(
        seed in any::<u64>(), max_depth in 1..=8_u64, reorg_percent in 0..70_u64, lag in 1..8_u64,
    ) {
        let shape = KernelShape { seed, steps: 14, max_depth, reorg_percent, restart_percent: 25, lag };
        drive(&shape, make, tables, |chain, outputs| {
            let want = reference::dex_trades(chain, &settings());
            for ((block, output), want) in chain.iter().zip(outputs).zip(want) {
                assert_eq!(said(output), want, "block {}", block.number);
            }
        });
    }
}

/// One block of these swaps and announcements, and what the kernel says.
fn one_block(kernel: &mut dyn BlockKernel, number: u64, swaps: &[Row], pools: &[Row]) -> Vec<reference::Said> {
    let timestamp_ms = 1_700_000_000_000 + 12_000 * i64::try_from(number).expect("small");
    let mut block = KernelBlock { number, hash: [1; 32], timestamp_ms, tables: Vec::new() };
    for (input, rows) in relation().inputs.iter().zip([swaps, pools]) {
        let schema = evm::schema(input.name).expect("a chain table");
        block.tables.push(batch(&input_schema(&schema, input), &block, rows));
    }
    said(&kernel.block(block.rows()))
}

fn pair_swap(place: i64, pool: u8, amounts: [u128; 2], trust: &str) -> Row {
    Row::from([
        ("transaction_index", Cell::Int(place)),
        ("log_index", Cell::Int(place)),
        ("pool", Cell::Bytes(vec![pool; 20])),
        ("venue", Cell::Bytes(vec![pool; 20])),
        ("sold_index", Cell::Int(0)),
        ("bought_index", Cell::Int(1)),
        ("token_sold", Cell::Bytes(DOLLAR.to_vec())),
        ("token_bought", Cell::Bytes(WRAPPED.to_vec())),
        ("amount_sold", Cell::Amount(amounts[0])),
        ("amount_bought", Cell::Amount(amounts[1])),
        ("trust", Cell::Text(trust.to_owned())),
    ])
}

fn native_swap(place: i64, amount: u128) -> Row {
    let mut row = pair_swap(place, 99, [amount, 1], "balanced");
    row.insert("token_sold", Cell::Bytes(WRAPPED.to_vec()));
    row.insert("token_bought", Cell::Bytes(PLAIN.to_vec()));
    row
}

#[test]
fn one_pool_that_lies_does_not_move_the_price() {
    let mut kernel = DexTrades::new(&settings());
    // Cents for units: ten pools at two dollars a unit, then one at a million, many times in a block.
    let honest: Vec<Row> = (0..10)
        .map(|index| pair_swap(index, 30 + u8::try_from(index).expect("few"), [20_000, 100], "balanced"))
        .collect();
    one_block(&mut kernel, 1, &honest, &[]);
    let mut lies: Vec<Row> = (0..20).map(|index| pair_swap(index, 200, [100_000_000, 1], "balanced")).collect();
    lies.push(native_swap(20, 7));
    let said = one_block(&mut kernel, 2, &lies, &[]);
    assert_eq!(said[20].usd, Cell::Float(14.0));
    assert_eq!(said[20].basis, Cell::Text("native".to_owned()));
}

#[test]
fn a_price_a_day_old_is_none() {
    let mut kernel = DexTrades::new(&settings());
    one_block(&mut kernel, 1, &[pair_swap(0, 30, [20_000, 100], "balanced")], &[]);
    let said = one_block(&mut kernel, 7201, &[native_swap(0, 7)], &[]);
    assert_eq!(said[0].usd, Cell::Float(14.0));
    let said = one_block(&mut kernel, 7202, &[native_swap(0, 7)], &[]);
    assert_eq!(said[0].usd, Cell::Null);
}

#[test]
fn a_stranger_names_coins_and_lends_no_trust() {
    let announcement = |place: i64, pool: u8, listed: bool, coins: [Address; 2]| {
        let source = if pool == 33 { "call" } else { "event" };
        Row::from([
            ("transaction_index", Cell::Int(place)),
            ("log_index", Cell::Int(place)),
            ("pool", Cell::Bytes(vec![pool; 20])),
            ("factory", Cell::Bytes(FACTORY.to_vec())),
            ("listed", Cell::Bool(listed)),
            ("index0", Cell::Int(0)),
            ("index1", Cell::Int(1)),
            ("token0", Cell::Bytes(coins[0].to_vec())),
            ("token1", Cell::Bytes(coins[1].to_vec())),
            ("source", Cell::Text(source.to_owned())),
        ])
    };
    let nameless = |place: i64, pool: u8| {
        let mut row = pair_swap(place, pool, [20_000, 100], "unverified");
        row.extend([("token_sold", Cell::Null), ("token_bought", Cell::Null)]);
        row
    };
    let mut kernel = DexTrades::new(&settings());
    let pools = [
        announcement(1, 30, false, [DOLLAR, WRAPPED]),
        announcement(2, 31, true, [DOLLAR, WRAPPED]),
        announcement(5, 32, true, [DOLLAR, WRAPPED]),
    ];
    let said = one_block(&mut kernel, 1, &[nameless(0, 31), nameless(3, 30), nameless(4, 31), nameless(6, 32)], &pools);
    let said: Vec<_> = said.iter().map(|said| (said.sold != Cell::Null, said.trust.as_str(), &said.usd)).collect();
    let dollars = Cell::Float(200.0);
    assert_eq!(
        said,
        [
            (false, "unverified", &Cell::Null), // Announced only after it.
            (true, "unverified", &Cell::Null),
            (true, "verified", &dollars),
            (true, "verified", &dollars),
        ]
    );
    // What moved money weighs more than the stranger's word, whatever it said.
    let mut swap = pair_swap(0, 30, [20_000, 100], "balanced");
    swap.insert("token_sold", Cell::Bytes(PLAIN.to_vec()));
    let said = one_block(&mut kernel, 2, &[swap, nameless(1, 30)], &[]);
    assert_eq!((&said[1].sold, said[1].trust.as_str()), (&Cell::Bytes(PLAIN.to_vec()), "balanced"));
}
