//! Decoded tables over real and recorded blocks: what comes out, and that it agrees with the transfers
//! beside it and with what is known about the blocks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;

use alloy_primitives::{Address, U256, hex};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, TableRequest};
use serde_json::Value;

use support::shared;

/// Every table of a range of blocks by its name.
type Tables = BTreeMap<&'static str, RecordBatch>;

fn lines(path: &Path) -> Vec<String> {
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap).collect()
}

/// All tables but traces, of blocks given as texts with their receipts.
fn decode(blocks: impl Iterator<Item = (String, String)>, factories: Vec<[u8; 20]>) -> Tables {
    let tables: Vec<_> = evm::tables().iter().filter(|table| table.name != "traces").collect();
    let wanted = tables
        .iter()
        .map(|table| TableRequest { name: table.name.to_owned(), columns: (0..table.schema.fields().len()).collect() });
    let request = ReadRequest { tables: wanted.collect(), ..ReadRequest::default() };
    let settings = IngestSettings { validate: false, factories, ..IngestSettings::default() };
    let mut ingest = EvmIngest::new(&request, settings).unwrap();
    for (block, receipts) in blocks {
        ingest.push(&"the test", &block, Some(&receipts), None).unwrap();
    }
    let run = ingest.finish().unwrap();
    tables.iter().map(|table| table.name).zip(run.tables.into_iter().map(|table| table.batch)).collect()
}

fn decode_mainnet(folder: &str) -> Option<Tables> {
    let folder = shared("data/evm")?.join(folder);
    let (blocks, receipts) = (lines(&folder.join("blocks.jsonl.gz")), lines(&folder.join("receipts.jsonl.gz")));
    Some(decode(blocks.into_iter().zip(receipts), Vec::new()))
}

static MAINNET: LazyLock<Option<[Tables; 3]>> = LazyLock::new(|| {
    let [one, two, three] = ["mainnet-17686110-17686121", "mainnet-mev-2021", "mainnet-forks"].map(decode_mainnet);
    Some([one?, two?, three?])
});

/// A value as a reader would write it.
fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    let array = batch.column_by_name(column).unwrap();
    if array.is_null(row) {
        return "-".to_owned();
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Binary => hex::encode_prefixed(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(20) => hex::encode_prefixed(array.as_fixed_size_binary().value(row)),
        DataType::FixedSizeBinary(_) if column.ends_with("hash") || column == "salt" => {
            hex::encode_prefixed(array.as_fixed_size_binary().value(row))
        }
        DataType::FixedSizeBinary(_) => U256::from_be_slice(array.as_fixed_size_binary().value(row)).to_string(),
        other => panic!("{other}"),
    }
}

fn row(batch: &RecordBatch, columns: &str, row: usize) -> String {
    columns.split(' ').map(|column| text(batch, column, row)).collect::<Vec<_>>().join(" ")
}

fn rows(batch: &RecordBatch, columns: &str) -> Vec<String> {
    (0..batch.num_rows()).map(|index| row(batch, columns, index)).collect()
}

/// How many rows there are of each combination of values, as lines of text.
fn counts(batch: &RecordBatch, columns: &str) -> String {
    let mut counts = BTreeMap::new();
    for row in rows(batch, columns) {
        *counts.entry(row).or_insert(0) += 1;
    }
    counts.iter().map(|(row, count)| format!("{count:4} {row}\n")).collect()
}

fn expect_rows(batch: &RecordBatch, columns: &str, expected: &[&str]) {
    let rows = rows(batch, columns);
    for expected in expected {
        let first = |row: &str| row.split(' ').next().map(str::to_owned);
        let alike: Vec<_> = rows.iter().filter(|row| first(row) == first(expected)).collect();
        assert!(rows.iter().any(|row| row == expected), "{expected}\nis not there, but\n{alike:#?}");
    }
}

#[test]
fn swaps_of_real_blocks_by_protocol_and_trust() {
    let Some([in_2023, in_2021, scattered]) = MAINNET.as_ref() else { return };
    let expected = "   1 0x limit verified
   3 0x rfq verified
   1 balancer v1 balanced
   6 balancer v2 verified
   4 curve crypto balanced
   2 curve ng balanced
   4 curve stable balanced
   1 curve underlying balanced
   1 dodo v2 balanced
  10 pancakeswap v3 verified
   7 shibaswap v2 verified
  19 sushiswap v2 verified
   4 sushiswap v3 verified
   4 uniswap v2 balanced
 372 uniswap v2 verified
 216 uniswap v3 verified
";
    assert_eq!(counts(&in_2023["dex_swaps"], "protocol version trust"), expected);
    let expected = "   7 balancer v1 balanced
   1 curve stable balanced
  21 sushiswap v2 verified
  73 uniswap v2 verified
  24 uniswap v3 verified
";
    assert_eq!(counts(&in_2021["dex_swaps"], "protocol version trust"), expected);
    let expected = "   8 balancer v1 balanced
   2 curve stable balanced
   1 curve stable unverified
   1 dodo v2 balanced
  11 sushiswap v2 verified
   2 uniswap v2 balanced
 194 uniswap v2 verified
";
    assert_eq!(counts(&scattered["dex_swaps"], "protocol version trust"), expected);
}

#[test]
fn other_tables_of_real_blocks_by_protocol() {
    let Some([in_2023, in_2021, _]) = MAINNET.as_ref() else { return };
    let fills =
        "   3 0x v4 transformed_erc20\n   7 1inch v3 order_filled\n   3 cow v2 trade\n   3 kyberswap v2 swapped\n";
    assert_eq!(counts(&in_2023["aggregator_trades"], "protocol version event"), fills);
    let fills = "   2 0x v4 transformed_erc20\n   1 1inch v3 swapped\n   1 cow v2 trade\n";
    assert_eq!(counts(&in_2021["aggregator_trades"], "protocol version event"), fills);
    let changes = "   2 v2 burn\n   6 v2 mint\n   3 v3 burn\n   3 v3 collect\n   3 v3 mint\n";
    assert_eq!(counts(&in_2023["liquidity_events"], "version kind"), changes);
    let pools = "   2 uniswap v2 true 0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f 3000\n";
    assert_eq!(counts(&in_2023["pools"], "protocol version listed factory fee_pips"), pools);
    assert_eq!(counts(&in_2023["flash_loans"], "protocol version fee"), "   4 balancer v2 0\n");
    assert_eq!(in_2023["oracle_updates"].num_rows(), 13);
    assert_eq!(in_2023["liquidation_events"].num_rows(), 0);
}

/// What a party got or gave of a coin in a transaction: transaction, way, party, token.
type Payments = BTreeMap<[String; 4], U256>;

fn payments(tables: &Tables) -> Payments {
    let transfers = &tables["token_transfers"];
    let mut payments = Payments::new();
    for index in 0..transfers.num_rows() {
        let of = |column: &str| text(transfers, column, index);
        let amount: U256 = of("amount").parse().unwrap();
        for (way, party) in [("in", "to_address"), ("out", "from_address")] {
            let key = [of("transaction_hash"), way.to_owned(), of(party), of("token_address")];
            *payments.entry(key).or_default() += amount;
        }
    }
    payments
}

/// An independent look at the amounts: where a pool swapped once in a transaction, it sent what the swap
/// says, and received that or more. Coins with a fee split what is sent; pools of V3 may be overpaid.
#[test]
fn amounts_of_swaps_are_amounts_of_transfers() {
    let Some(all) = MAINNET.as_ref() else { return };
    let (mut single, mut agreeing) = (0, 0);
    for tables in all {
        let (swaps, payments) = (&tables["dex_swaps"], payments(tables));
        let mut by_pool: BTreeMap<[String; 2], Vec<usize>> = BTreeMap::new();
        for index in (0..swaps.num_rows()).filter(|index| text(swaps, "pool", *index) == text(swaps, "venue", *index)) {
            let key = ["transaction_hash", "pool"].map(|column| text(swaps, column, index));
            by_pool.entry(key).or_default().push(index);
        }
        for ([transaction, pool], swap) in by_pool {
            let [swap] = swap[..] else { continue };
            let paid = |way: &str, token: &str| {
                let key = [transaction.clone(), way.to_owned(), pool.clone(), text(swaps, token, swap)];
                payments.get(&key).copied().unwrap_or_default()
            };
            let amount = |column: &str| text(swaps, column, swap).parse::<U256>().unwrap();
            let (sold, bought) = (paid("in", "token_sold"), paid("out", "token_bought"));
            single += 1;
            agreeing += usize::from(bought == amount("amount_bought") && sold >= amount("amount_sold"));
        }
    }
    println!("{agreeing} of {single} swaps have the amounts of their transfers");
    assert!(single > 900 && agreeing * 100 >= single * 98, "{agreeing} of {single}");
}

#[test]
fn single_swaps_are_what_their_logs_say() {
    let Some([in_2023, in_2021, _]) = MAINNET.as_ref() else { return };
    let columns =
        "block_number log_index version sold_index bought_index token_sold token_bought amount_sold amount_bought";
    expect_rows(
        &in_2023["dex_swaps"],
        columns,
        &[
            // 3pool: USDC is its coin 1, USDT its coin 2.
            "17686115 282 stable 1 2 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 0xdac17f958d2ee523a2206206994597c13d831ec7 1960000000000 1959769128787",
            // tricrypto2: USDT and, through a withdrawal, WETH.
            "17686117 30 crypto 0 2 0xdac17f958d2ee523a2206206994597c13d831ec7 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 46711701504 23649980075879027975",
            // USDC out of 3pool's coins for LUSD; the ids count another list than the pool's own.
            "17686120 5 underlying - - 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 0x5f98805a4e8be255a32880fdec7f6728c6568ba0 1392227505365 1392819023405602357833963",
            // stETH for ether, which the buyer wraps.
            "17686120 84 stable 1 0 0xae7ab96520de3a18e5e111b5eaab095312d7fe84 0x0000000000000000000000000000000000000000 24359221226222266987 24350890604358045449",
            "17686119 24 ng 0 2 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 80197330316 40483458227721093447",
            "17686118 120 v2 - - 0x2260fac5e5542a773aa44fbcfedf7c193bc2c599 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 20768605 3253023456117326206",
            "17686119 297 v2 - - 0xdac17f958d2ee523a2206206994597c13d831ec7 0x6b175474e89094c44da98b954eedeac495271d0f 84963147220 84969474920552932924396",
            "17686114 262 rfq - - 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 2826829500000000000 5576370611",
            "17686120 352 limit - - 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 0x87d73e916d7057945c9bcd8cdd94e42a6f47f776 6609504867 512364718372093023255",
        ],
    );
    expect_rows(
        &in_2021["dex_swaps"],
        columns,
        &[
            "11930296 130 v1 - - 0x31c8eacbffdd875c74b94b077895bd78cf1e64a3 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 392989463949267197916 3864718591",
        ],
    );
    let state = "log_index pool fee_pips sold_index amount_sold reserve0 reserve1 sqrt_price_x96 tick liquidity";
    expect_rows(
        &in_2023["dex_swaps"],
        state,
        &[
            "95 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640 500 1 24724644179349715562 - - 1775372090742084085607382900290792 200353 30702987156389794090",
            "151 0x5083bedc0cff72be9778e474a74816fdd9da7336 3000 0 495983063915722919146 27464836970979072749330 3246710083080288446 - - -",
        ],
    );
}

#[test]
fn changes_of_liquidity_have_the_position_that_holds_them() {
    let Some([in_2023, ..]) = MAINNET.as_ref() else { return };
    expect_rows(
        &in_2023["liquidity_events"],
        "version kind token_id liquidity amount0 amount1",
        &[
            "v2 mint - - 103258571449190912595 7755413731697387",
            "v3 mint 536835 133613868198716559 0 8799999999999999947",
            "v3 burn 534348 44171035980577902 0 30642141665",
            "v3 collect 534348 - 193480778596052556 31011422580",
        ],
    );
}

#[test]
fn fills_loans_and_prices_are_what_their_logs_say() {
    let Some([in_2023, ..]) = MAINNET.as_ref() else { return };
    expect_rows(
        &in_2023["aggregator_trades"],
        "log_index trader filler recipient token_sold token_bought amount_sold amount_bought order_id",
        &[
            "70 0xf086dc395d3ac4761d54ee29796ed68eddce84f4 0xe3067c7c27c1038de4e8ad95a83b927d23dfbd99 - 0x6123b0049f904d730db3c36a31167d9d4121fa6b 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 95812714118175121325330 19408077185 0x616978da158a0595f0301f7b70672e37583c2675e0cc72631a3300ea82e48e53f086dc395d3ac4761d54ee29796ed68eddce84f464b04db8",
            "248 0xa8bcf78523e6f72a6ce9fa95abb871f7650ed1b5 - - 0x0000000000000000000000000000000000000000 0xdac17f958d2ee523a2206206994597c13d831ec7 76190669690589690 147292971 -",
            "21 0x705fd29a180a2718856143b26fe97c165a120476 - - 0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 59923157422 30363373957342065635 0x6dabdaf23635563b36467ef225cb1952b111801206833499e0fa88b1c1ec91df",
        ],
    );
    expect_rows(
        &in_2023["flash_loans"],
        "log_index lender borrower token amount fee",
        &[
            "120 0xba12222222228d8ba445958a75a0704d566bf2c8 0xe27baebd7b14602de3797974db9f5f4f8dcb6679 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 12134537246891432221 0",
        ],
    );
    // 0.61720000, plus 2^255.
    let answer = (U256::ONE << 255) + U256::from(0x3ae_0000);
    let feeds = rows(&in_2023["oracle_updates"], "feed round_id updated_at");
    assert!(feeds.contains(&"0xdf627aa5b9c024818c6950fdad7e4c16d93b10ca 7507 1689269903".to_owned()), "{feeds:?}");
    let answers = in_2023["oracle_updates"].column_by_name("answer").unwrap().as_fixed_size_binary().clone();
    assert!(answers.iter().flatten().all(|bytes| bytes[0] == 0x80), "all positive and below {answer}");
}

/// A recorded run: every block that was ever seen, and what was planted in them.
fn recorded(run: &str, trusting: bool) -> Option<(Tables, Value)> {
    let folder = shared("e2e/recorded")?.join(run);
    let truth: Value = serde_json::from_reader(File::open(folder.join("truth.json")).unwrap()).unwrap();
    let factories = truth["meta"]["factories"].as_object().unwrap().values().map(|factory| {
        let factory: Address = factory.as_str().unwrap().parse().unwrap();
        factory.0.0
    });
    let factories = if trusting { factories.collect() } else { Vec::new() };
    let blocks = lines(&folder.join("blocks.ndjson.gz")).into_iter().filter_map(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["block"].is_object().then(|| (line["block"].to_string(), line["receipts"].to_string()))
    });
    Some((decode(blocks, factories), truth))
}

fn lower(value: &Value) -> String {
    value.as_str().unwrap().to_lowercase()
}

#[test]
fn recorded_pools_are_those_that_were_made() {
    for trusting in [true, false] {
        let Some((tables, truth)) = recorded("run40", trusting) else { return };
        let made = |kind: &str, version: &str| -> Vec<String> {
            let pools = truth["meta"][kind].as_object().unwrap().values();
            pools.map(|pool| format!("{version} {} {trusting}", lower(pool))).collect()
        };
        let made: BTreeSet<_> = made("pairs", "v2").into_iter().chain(made("v3pools", "v3")).collect();
        let found: BTreeSet<_> = rows(&tables["pools"], "version pool listed").into_iter().collect();
        assert_eq!(found, made);
        let trusts = counts(&tables["dex_swaps"], "trust");
        assert!(!trusts.contains("unverified"), "{trusts}");
        assert_eq!(trusts.contains("verified"), trusting, "{trusts}");
    }
}

#[test]
fn recorded_trades_are_those_that_were_planted() {
    for run in ["run40", "run200"] {
        let Some((tables, truth)) = recorded(run, true) else { return };
        let swaps = &tables["dex_swaps"];
        let mut by_transaction: BTreeMap<[String; 2], Vec<usize>> = BTreeMap::new();
        for index in 0..swaps.num_rows() {
            let key = [text(swaps, "block_hash", index), text(swaps, "transaction_hash", index)];
            by_transaction.entry(key).or_default().push(index);
        }
        let of = |block: &Value, tx: &Value| &by_transaction[&[lower(block), lower(tx)]];
        for sandwich in truth["sandwiches"].as_array().unwrap() {
            let leg = |tx: &Value, columns: &str| -> Vec<String> {
                let legs = of(&sandwich["blockHash"], tx)
                    .iter()
                    .filter(|index| text(swaps, "pool", **index) == lower(&sandwich["pool"]));
                legs.map(|index| row(swaps, columns, *index)).collect()
            };
            let (there, back) = ("token_sold token_bought", "token_bought token_sold");
            let front = leg(&sandwich["front"], there);
            assert_eq!(front.len(), 1, "{sandwich}");
            assert!(front[0].contains(&lower(&sandwich["tokenAddr"])), "{sandwich}");
            assert_eq!(front, leg(&sandwich["back"], back), "{sandwich}");
            for victim in sandwich["victims"].as_array().unwrap() {
                assert!(leg(victim, there).contains(&front[0]), "{sandwich}");
            }
        }
        let succeeded = |arbitrage: &&Value| arbitrage["ok"] == true;
        for arbitrage in truth["arbitrages"].as_array().unwrap().iter().filter(succeeded) {
            let legs = of(&arbitrage["blockHash"], &arbitrage["tx"]);
            let all = |column: &str| legs.iter().map(|leg| text(swaps, column, *leg)).collect::<Vec<_>>();
            // The searcher chooses in which of the pools named it begins.
            let pools: BTreeSet<_> = arbitrage["pools"].as_array().unwrap().iter().map(lower).collect();
            assert_eq!(all("pool").into_iter().collect::<BTreeSet<_>>(), pools, "{arbitrage}");
            let (mut sold, mut bought) = (all("token_sold"), all("token_bought"));
            assert_eq!(sold[1..], bought[..bought.len() - 1], "{arbitrage}");
            assert_eq!(sold.first(), bought.last(), "{arbitrage}");
            sold.extend(bought.pop());
            if let Some(path) = arbitrage["path"].as_array() {
                assert_eq!(sold, path.iter().map(lower).collect::<Vec<_>>());
            }
            let number = |text: &String| text.parse::<U256>().unwrap();
            let (paid, got) = (number(&all("amount_sold")[0]), number(all("amount_bought").last().unwrap()));
            assert_eq!((got - paid).to_string(), arbitrage["profit"]["WETH"].as_str().unwrap(), "{arbitrage}");
        }
    }
}
