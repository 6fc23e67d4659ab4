-- Quickstart: three views over a recorded EVM chain with real Uniswap trades, failed transactions and
-- six reorgs. Everything is in this folder: no network, no service.
--
--   cargo run -- run queries/jobs/quickstart.sql

CREATE SOURCE eth WITH (
  connector = 'recording',
  path = 'data/devnet/blocks.ndjson.gz',
  confirmations = 12                        -- a block is final when 12 blocks are on top of it
);

-- How the chain does, minute by minute. A reorg corrects the minutes it touches.
CREATE MATERIALIZED VIEW metrics_minute AS
SELECT window_start AS minute,
       count(*) AS total,
       count(*) FILTER (WHERE success) AS successful,
       count(*) FILTER (WHERE NOT success) AS failed,
       avg(effective_gas_price) AS avg_gas_price,
       avg(gas_used) AS avg_gas_used,
       window_end
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end
ORDER BY minute;

-- Which contracts fail.
CREATE MATERIALIZED VIEW failure_rate AS
SELECT to_address, window_start, window_end,
       count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
GROUP BY to_address, window_start, window_end;

-- The three busiest tokens of each five minutes.
CREATE MATERIALIZED VIEW top_tokens AS
SELECT window_start, token_address, transfers, senders, window_end
FROM (
  SELECT window_start, window_end, token_address,
         count(*) AS transfers, count(DISTINCT from_address) AS senders
  FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '5 minutes')
  GROUP BY window_start, window_end, token_address
)
QUALIFY row_number() OVER (PARTITION BY window_start, window_end ORDER BY transfers DESC, token_address) <= 3
ORDER BY window_start, transfers DESC;

CREATE SINK metrics FROM metrics_minute WITH (connector = 'stdout');

CREATE SINK failing FROM (SELECT * FROM failure_rate WHERE total >= 20 AND failed * 20 > total)
WITH (connector = 'stdout') EMIT CHANGES;

CREATE SINK tokens FROM top_tokens WITH (connector = 'stdout');

CREATE SINK metrics_parquet FROM metrics_minute
WITH (connector = 'parquet', path = 'out/metrics_minute', mode = 'snapshot');

CREATE SINK failure_rate_parquet FROM failure_rate
WITH (connector = 'parquet', path = 'out/failure_rate', mode = 'snapshot');

-- Every change with its tick and sign: the reorgs are in here.
CREATE SINK top_tokens_changes FROM top_tokens
WITH (connector = 'parquet', path = 'out/top_tokens', mode = 'changelog');
