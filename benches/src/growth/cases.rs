//! A query for each operator that keeps state.

/// An operator and a query in which it does most of the work.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) query: &'static str,
    pub(super) emit: &'static str,
}

const fn case(name: &'static str, query: &'static str) -> Case {
    Case { name, query, emit: "EMIT CHANGES" }
}

/// Transactions, trades and transfers of the last ten minutes, fifty blocks; gas by address and window.
pub(super) const PRELUDE: &str = "
CREATE VIEW recent AS SELECT * FROM eth.txs WHERE block_timestamp > now() - INTERVAL '10 minutes';
CREATE VIEW recent_trades AS SELECT * FROM eth.trades WHERE block_timestamp > now() - INTERVAL '10 minutes';
CREATE VIEW recent_transfers AS SELECT from_address, to_address FROM eth.transfers
WHERE block_timestamp > now() - INTERVAL '10 minutes';
CREATE VIEW gas AS SELECT to_address, window_start, window_end, count(*) AS total, sum(gas_used) AS gas
FROM TUMBLE(eth.txs, block_timestamp, INTERVAL '5 minutes') GROUP BY to_address, window_start, window_end;
";

pub(super) const CASES: &[Case] = &[
    case(
        "aggregate by window",
        "SELECT to_address, window_start, window_end, count(*) AS total, sum(gas_used) AS gas, avg(gas_price) AS average,
  min(gas_price) AS lowest, max(gas_price) AS highest
FROM TUMBLE(eth.txs, block_timestamp, INTERVAL '5 minutes') GROUP BY to_address, window_start, window_end",
    ),
    case(
        "aggregate of live rows",
        "SELECT to_address, count(*) AS total, sum(gas_used) AS gas, avg(gas_price) AS average, min(gas_price) AS lowest,
  max(gas_price) AS highest FROM recent GROUP BY to_address",
    ),
    case(
        "top-k",
        "SELECT window_end, row_number() OVER (PARTITION BY window_end ORDER BY gas DESC, to_address) AS place,
  to_address, gas FROM gas QUALIFY place <= 10",
    ),
    case(
        "over",
        "SELECT window_end, to_address, block_number, tx_index, lag(gas_used) OVER longer AS previous,
  sum(gas_used) OVER longer AS so_far
FROM TUMBLE(eth.txs, block_timestamp, INTERVAL '5 minutes')
WINDOW longer AS (PARTITION BY window_end, to_address ORDER BY block_number, tx_index)",
    ),
    case(
        "join by block",
        "SELECT txs.block_number, txs.to_address, trades.pool FROM eth.txs JOIN eth.trades
ON txs.block_number = trades.block_number AND txs.tx_index = trades.tx_index",
    ),
    case(
        "join by window",
        "SELECT calm.to_address, calm.window_end, calm.total, failed.failures FROM gas calm JOIN (
  SELECT to_address, window_end, count(*) AS failures
  FROM TUMBLE(eth.txs, block_timestamp, INTERVAL '5 minutes') WHERE NOT success GROUP BY to_address, window_end
) failed ON calm.window_end = failed.window_end AND calm.to_address = failed.to_address",
    ),
    case(
        "join of live rows",
        "SELECT there.pool, there.block_number, back.block_number AS back FROM recent_trades there
JOIN recent_trades back ON there.pool = back.pool AND there.token_sold = back.token_bought",
    ),
    case(
        "outer join of live rows with a condition",
        "SELECT there.pool, there.block_number, back.block_number AS back FROM recent_trades there
LEFT JOIN recent_trades back ON there.pool = back.pool AND there.block_number < back.block_number",
    ),
    case(
        "asof join",
        "SELECT now.pool, now.block_number, now.amount_sold, previous.amount_sold AS previous
FROM eth.trades now ASOF JOIN eth.trades previous
MATCH_CONDITION (now.block_timestamp > previous.block_timestamp) ON now.pool = previous.pool",
    ),
    // The table changes every 25 blocks.
    case(
        "lookup join",
        "SELECT trades.block_number, trades.pool, labels.label FROM eth.trades JOIN labels ON trades.pool = labels.pool",
    ),
    // Short pauses, so that sessions of busy addresses end: each row of a session is given again when its end moves.
    case(
        "session",
        "SELECT tx_index, window_end FROM SESSION(eth.txs, block_timestamp, INTERVAL '20 seconds', to_address)",
    ),
    // Pauses that busy addresses never make: their sessions get longer with every block.
    case(
        "session aggregate",
        "SELECT to_address, window_start, window_end, count(*) AS total, sum(gas_used) AS gas
FROM SESSION(eth.txs, block_timestamp, INTERVAL '1 day', to_address) GROUP BY to_address, window_start, window_end",
    ),
    case("distinct", "SELECT DISTINCT to_address FROM recent"),
    case("except all", "SELECT to_address FROM recent EXCEPT ALL SELECT to_address FROM recent WHERE success"),
    case("intersect", "SELECT to_address FROM recent INTERSECT SELECT to_address FROM recent WHERE NOT success"),
    case("temporal filter", "SELECT * FROM recent"),
    case("components", "SELECT node, component FROM CONNECTED_COMPONENTS(recent_transfers, from_address, to_address)"),
    case(
        "recursion",
        "WITH MUTUALLY RECURSIVE
  both (a TEXT, b TEXT) AS (
    SELECT from_address, to_address FROM recent_transfers UNION SELECT to_address, from_address FROM recent_transfers),
  label (node TEXT, component TEXT) AS (
    SELECT node, min(component) FROM (
      SELECT a AS node, a AS component FROM both
      UNION ALL SELECT both.b, label.component FROM label JOIN both ON label.node = both.a
    ) candidates GROUP BY node)
SELECT node, component FROM label",
    ),
    Case {
        name: "gate of window close",
        query: "SELECT to_address, window_end, total, gas FROM gas",
        emit: "EMIT ON WINDOW CLOSE",
    },
    Case {
        name: "gate of finality",
        query: "SELECT to_address, window_end, total, gas FROM gas",
        emit: "EMIT ON FINALITY",
    },
];
