-- Minutes whose average gas price is more than 50 % above that of the hour before.
--
-- A hopping window of 61 minutes that moves by one minute: its last minute against the hour before it.
-- A minute counts from five transactions on, so that one dear transaction is no spike. While a minute
-- fills up, its row is corrected with each block; a row that stays is the alert.
--
--   highwater run queries/jobs/gas_spike.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE MATERIALIZED VIEW gas_price_minute AS
SELECT window_start AS hour_start, window_end,
       avg(effective_gas_price) FILTER (WHERE block_timestamp < window_end - INTERVAL '1 minute') AS hour_avg,
       avg(effective_gas_price) FILTER (WHERE block_timestamp >= window_end - INTERVAL '1 minute') AS minute_avg,
       count(*) FILTER (WHERE block_timestamp >= window_end - INTERVAL '1 minute') AS minute_total
FROM HOP(eth.transactions, block_timestamp, INTERVAL '1 minute', INTERVAL '61 minutes')
GROUP BY window_start, window_end;

CREATE SINK spikes FROM (
  SELECT window_end - INTERVAL '1 minute' AS minute, minute_avg, hour_avg, minute_total,
         round(100 * (minute_avg / hour_avg - 1), 1) AS above_percent, window_end
  FROM gas_price_minute
  WHERE minute_total >= 5 AND minute_avg > 1.5 * hour_avg
) WITH (connector = 'stdout') EMIT CHANGES;
