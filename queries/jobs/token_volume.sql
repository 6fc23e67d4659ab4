-- What each token trades for in an hour, in dollars, and at what price.
--
-- A trade counts for both of its tokens. Its value is that of the side whose worth is known: a coin worth
-- one dollar, or the native coin at the price that the chain's own trades tell. Trades that nobody vouches
-- for have none and do not count.
--
--   highwater run queries/jobs/token_volume.sql

SET mev.wrapped_native = '0x5fbdb2315678afecb367f032d93f642f64180aa3';
SET mev.stablecoins = '0xe7f1725e7734ce288f8367e1bb143e90bb3f0512:6, 0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0:18';

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE TABLE tokens (token ADDRESS, symbol TEXT, decimals BIGINT, threshold UINT256)
WITH (connector = 'csv', path = 'data/devnet/tokens.csv');

CREATE VIEW sides AS
SELECT block_timestamp, token_sold AS token, amount_sold AS amount, tx_from, amount_usd
FROM eth.dex_trades WHERE amount_usd IS NOT NULL AND token_sold IS NOT NULL
UNION ALL
SELECT block_timestamp, token_bought AS token, amount_bought AS amount, tx_from, amount_usd
FROM eth.dex_trades WHERE amount_usd IS NOT NULL AND token_bought IS NOT NULL;

CREATE MATERIALIZED VIEW token_volume AS
SELECT token, window_start, window_end,
       count(*) AS trades,
       count(DISTINCT tx_from) AS traders,
       sum(amount) AS amount,
       sum(amount_usd) AS volume_usd
FROM TUMBLE(sides, block_timestamp, INTERVAL '1 hour')
GROUP BY token, window_start, window_end
ORDER BY window_start, volume_usd DESC;

CREATE SINK volume FROM (
  SELECT k.symbol, v.window_start, v.window_end, v.trades, v.traders,
         round(v.volume_usd, 2) AS volume_usd,
         v.volume_usd / (to_double(v.amount) / power(10.0, k.decimals)) AS price_usd
  FROM token_volume v
  JOIN tokens k ON k.token = v.token
) WITH (connector = 'stdout');

CREATE SINK volume_parquet FROM token_volume WITH (connector = 'parquet', path = 'out/token_volume');
