-- Candles of every pool: open, high, low and close of each five minutes.
--
-- The price of a trade does not depend on its direction: it is that of the pool's first coin in its second
-- one. Open and close are the prices at the first and the last position of the window: the least and the
-- greatest of texts that begin with the position, block and log, in digits of one length. A reorg takes
-- trades back, and with them the candle they made.
--
--   highwater run queries/jobs/dex_ohlc.sql

SET mev.wrapped_native = '0x5fbdb2315678afecb367f032d93f642f64180aa3';
SET mev.stablecoins = '0xe7f1725e7734ce288f8367e1bb143e90bb3f0512:6, 0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0:18';

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE TABLE tokens (token ADDRESS, symbol TEXT, decimals BIGINT, threshold UINT256)
WITH (connector = 'csv', path = 'data/devnet/tokens.csv');

-- The first coin of each trade's pair: by its index in the pool, else by its address.
CREATE VIEW oriented AS
SELECT block_number, block_timestamp, log_index, protocol, version, pool, price, amount_usd,
       CASE WHEN coalesce(sold_index < bought_index, token_sold < token_bought) THEN token_sold ELSE token_bought END AS base,
       CASE WHEN coalesce(sold_index < bought_index, token_sold < token_bought) THEN token_bought ELSE token_sold END AS quote
FROM eth.dex_trades
WHERE price IS NOT NULL AND trust <> 'unverified';

-- In whole tokens.
CREATE VIEW priced AS
SELECT t.block_timestamp, t.protocol, t.version, t.pool, t.amount_usd, b.symbol AS base, q.symbol AS quote,
       t.price * power(10.0, b.decimals - q.decimals) AS price,
       lpad(to_text(t.block_number), 12, '0') || lpad(to_text(t.log_index), 6, '0') AS position
FROM oriented t
JOIN tokens b ON b.token = t.base
JOIN tokens q ON q.token = t.quote;

CREATE MATERIALIZED VIEW dex_ohlc AS
SELECT pool, protocol, version, base, quote, window_start, window_end,
       CAST(split_part(min(position || ':' || CAST(price AS VARCHAR)), ':', 2) AS DOUBLE) AS open,
       max(price) AS high,
       min(price) AS low,
       CAST(split_part(max(position || ':' || CAST(price AS VARCHAR)), ':', 2) AS DOUBLE) AS close,
       sum(amount_usd) AS volume_usd,
       count(*) AS trades
FROM TUMBLE(priced, block_timestamp, INTERVAL '5 minutes')
GROUP BY pool, protocol, version, base, quote, window_start, window_end
ORDER BY window_start, volume_usd DESC;

CREATE SINK candles FROM dex_ohlc WITH (connector = 'stdout');
CREATE SINK candles_parquet FROM dex_ohlc WITH (connector = 'parquet', path = 'out/dex_ohlc');
