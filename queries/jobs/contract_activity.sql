-- What each contract does in an hour: calls, callers, failures, gas, logs.
--
-- A call is a transaction with input: a plain transfer of ether has none, and its receiver need not be a
-- contract.
--
--   highwater run queries/jobs/contract_activity.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE MATERIALIZED VIEW contract_calls AS
SELECT to_address AS contract, window_start, window_end,
       count(*) AS calls,
       count(DISTINCT from_address) AS callers,
       count(DISTINCT selector) AS methods,
       count(*) FILTER (WHERE NOT success) AS failed,
       sum(gas_used) AS gas_used,
       sum(value) AS value_wei,
       max(block_number) AS last_block
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 hour')
WHERE to_address IS NOT NULL AND selector IS NOT NULL
GROUP BY to_address, window_start, window_end
ORDER BY calls DESC;

CREATE MATERIALIZED VIEW contract_events AS
SELECT address AS contract, topic0, window_start, window_end, count(*) AS events
FROM TUMBLE(eth.logs, block_timestamp, INTERVAL '1 hour')
GROUP BY address, topic0, window_start, window_end
ORDER BY events DESC;

CREATE SINK calls FROM contract_calls WITH (connector = 'stdout');
CREATE SINK calls_parquet FROM contract_calls WITH (connector = 'parquet', path = 'out/contract_calls');
CREATE SINK events_parquet FROM contract_events WITH (connector = 'parquet', path = 'out/contract_events');
