//! `CREATE EVENT` and `CREATE FUNCTION` over recorded chains: what is decoded equals the tables that decoders of our
//! own make of the same logs, row by row, whatever the workers, the ticks and the reorgs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chain::{DEVNET, canonical, lines, orphaned};
use crate::command::{Desk, Ran, run, shared, text};
use crate::recorded::Recording;
use crate::rows::Row;

const TRANSFERS: &str = r#"
CREATE EVENT eth.transfer AS 'Transfer(address indexed from, address indexed to, uint256 value)';
CREATE FUNCTION large(amount) AS amount > 0;

CREATE SINK decoded FROM (
  SELECT block_number, block_hash, transaction_index, log_index, transaction_hash, address AS token_address,
         "from" AS from_address, "to" AS to_address, value AS amount
  FROM eth.transfer
) WITH (connector = 'stdout');
CREATE SINK built_in FROM (
  SELECT block_number, block_hash, transaction_index, log_index, transaction_hash, token_address,
         from_address, to_address, amount
  FROM eth.token_transfers WHERE token_standard = 'erc20'
) WITH (connector = 'stdout');
CREATE SINK by_token FROM (
  SELECT block_number, address, count(*) AS transfers, sum(value) AS total
  FROM eth.transfer WHERE large(value) GROUP BY block_number, address
) WITH (connector = 'stdout');
CREATE SINK by_token_built_in FROM (
  SELECT block_number, token_address AS address, count(*) AS transfers, sum(amount) AS total
  FROM eth.token_transfers WHERE token_standard = 'erc20' AND large(amount) GROUP BY block_number, token_address
) WITH (connector = 'stdout');
"#;

fn job(path: &str, more: &str, statements: &str) -> Desk {
    Desk::new(&format!("CREATE SOURCE eth WITH (connector = 'recording', path = '{path}'{more});{statements}"))
}

#[track_caller]
fn assert_equal(ran: &Ran, one: &str, other: &str) -> BTreeMap<Row, i64> {
    let (decoded, built_in) = (ran.contents(one), ran.contents(other));
    assert!(decoded == built_in, "{one} differs from {other}: {} and {} rows", decoded.len(), built_in.len());
    assert!(!decoded.is_empty(), "{one} has no rows");
    decoded
}

#[test]
fn decoded_transfers_are_those_of_the_table_across_reorgs() {
    let recording = Recording::devnet();
    let desk = job("all.ndjson", "", TRANSFERS);
    desk.write("all.ndjson", lines(&DEVNET));
    let expected = {
        let desk = job("canonical.ndjson", "", TRANSFERS);
        desk.write("canonical.ndjson", lines(&canonical(&recording.events, &orphaned(&recording.truth))));
        desk.run(&[]).succeeds().contents("decoded")
    };
    for (workers, blocks) in [("1", "1"), ("2", "1"), ("4", "7"), ("1", "100")] {
        let ran = desk.run(&["--workers", workers, "--blocks-per-tick", blocks]).succeeds();
        let rows = assert_equal(&ran, "decoded", "built_in");
        assert!(rows == expected, "{workers} workers, {blocks} blocks a tick: not the canonical chain's rows");
        assert_equal(&ran, "by_token", "by_token_built_in");
        assert_eq!(ran.summary()["skipped_logs"]["eth.transfer"], 2, "two collectibles moved");
        if blocks == "1" {
            let back = ran.lines_of("decoded").iter().filter(|line| line["op"] == "retract").count();
            assert!(back > 0, "a reorg takes rows back");
        }
    }
}

#[test]
fn real_transfers_are_those_of_the_table_and_others_are_counted() {
    let Some(path) = shared("data/evm/mainnet-17686110-17686121") else { return };
    let statements = format!(
        "{TRANSFERS}
        CREATE SINK skipped FROM (SELECT block_number, log_index, address, reason FROM eth.transfer_skipped)
        WITH (connector = 'stdout');
        CREATE SINK collectibles FROM (
          SELECT block_number, log_index, token_address AS address, 'wrong number of topics' AS reason
          FROM eth.token_transfers WHERE token_standard = 'erc721'
        ) WITH (connector = 'stdout');"
    );
    let ran = job(&text(&path), "", &statements).run(&["--workers", "2"]).succeeds();
    assert!(assert_equal(&ran, "decoded", "built_in").len() > 1000);
    assert_equal(&ran, "by_token", "by_token_built_in");
    let skipped = assert_equal(&ran, "skipped", "collectibles");
    assert_eq!(ran.summary()["skipped_logs"]["eth.transfer"], skipped.len());
}

#[test]
fn real_swaps_are_those_of_the_table() {
    let Some(path) = shared("data/evm/mainnet-17686110-17686121") else { return };
    let statements = "
        CREATE EVENT eth.v3_swap AS 'Swap(address indexed sender, address indexed recipient, int256 amount0,
            int256 amount1, uint160 sqrtPriceX96, uint128 liquidity, int24 tick)';
        CREATE EVENT eth.v2_swap AS 'Swap(address indexed sender, uint256 amount0In, uint256 amount1In,
            uint256 amount0Out, uint256 amount1Out, address indexed to)';
        CREATE FUNCTION sold(one, other) AS CASE WHEN one > 0 THEN one ELSE other END;
        CREATE SINK v3 FROM (
          SELECT block_number, log_index, transaction_hash, address AS venue, sender, recipient,
                 sqrtPriceX96 AS sqrt_price_x96, liquidity, tick, uint256(sold(amount0, amount1)) AS amount_sold,
                 uint256(sold(-amount0, -amount1)) AS amount_bought
          FROM eth.v3_swap
        ) WITH (connector = 'stdout');
        CREATE SINK v3_built_in FROM (
          SELECT block_number, log_index, transaction_hash, venue, sender, recipient, sqrt_price_x96, liquidity, tick,
                 amount_sold, amount_bought
          FROM eth.dex_swaps WHERE version = 'v3' AND protocol <> 'pancakeswap'
        ) WITH (connector = 'stdout');
        CREATE SINK v2 FROM (
          SELECT block_number, log_index, transaction_hash, address AS venue, sender, \"to\" AS recipient,
                 sold(amount0In, amount1In) AS amount_sold, sold(amount0Out, amount1Out) AS amount_bought
          FROM eth.v2_swap
          WHERE (amount0In = 0) <> (amount1In = 0) AND (amount0Out = 0) <> (amount1Out = 0)
        ) WITH (connector = 'stdout');
        CREATE SINK v2_built_in FROM (
          SELECT block_number, log_index, transaction_hash, venue, sender, recipient, amount_sold, amount_bought
          FROM eth.dex_swaps WHERE version = 'v2'
        ) WITH (connector = 'stdout');";
    let ran = job(&text(&path), "", statements).run(&[]).succeeds();
    assert!(assert_equal(&ran, "v3", "v3_built_in").len() > 100);
    // Of swaps with coins on both sides the table tells the difference; all others are the same.
    let (decoded, built_in) = (ran.contents("v2"), ran.contents("v2_built_in"));
    assert!(decoded.len() > 100 && decoded.keys().all(|row| built_in.contains_key(row)));
    let others = built_in.len() - decoded.len();
    assert!(others * 10 < built_in.len(), "{others} of {} swaps are not plain", built_in.len());
}

#[test]
fn functions_and_events_are_checked_and_explained() {
    let desk = job("chain.ndjson", "", "
        CREATE EVENT eth.paused AS 'Paused(address account)' WITH (address = '0xdac17f958d2ee523a2206206994597c13d831ec7');
        CREATE FUNCTION next(number BIGINT) AS number + 1;
        CREATE MATERIALIZED VIEW pauses AS SELECT next(block_number) AS after, account FROM eth.paused;");
    desk.write("chain.ndjson", lines(&DEVNET));
    assert!(run(&["check", &desk.job]).succeeds().stdout.contains(": fine (1 view"));
    let explained = run(&["explain", &desk.job]).succeeds().stdout;
    let wanted = "DecodeEvent eth.paused Paused(address) of 0xdac17f958d2ee523a2206206994597c13d831ec7";
    assert!(explained.contains(wanted), "{explained}");
    assert!(explained.contains("block_number + 1 AS after"), "{explained}");
    let wrong: Value = desk.run(&[]).succeeds().summary();
    assert_eq!(wrong["skipped_logs"]["eth.paused"], 0);
}
