-- Minutes whose average gas price is more than 50 % above that of the hour before.
--
-- The trailing hour is a hopping window: every minute lies in the 60 hours that end after it. The
-- hour that ends with the minute is its baseline.
--
--   highwater run queries/jobs/gas_spike.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

-- One row for each trailing hour, with its last minute beside it.
CREATE MATERIALIZED VIEW gas_price_hour AS
SELECT window_start AS hour_start, window_end,
       avg(effective_gas_price) AS hour_avg,
       avg(effective_gas_price) FILTER (WHERE block_timestamp >= window_end - INTERVAL '1 minute') AS minute_avg,
       count(*) FILTER (WHERE block_timestamp >= window_end - INTERVAL '1 minute') AS minute_total
FROM HOP(eth.transactions, block_timestamp, INTERVAL '1 minute', INTERVAL '1 hour')
GROUP BY window_start, window_end;

CREATE SINK spikes FROM (
  SELECT window_end, minute_avg, hour_avg, minute_total, round(100 * (minute_avg / hour_avg - 1), 1) AS above_percent
  FROM gas_price_hour
  WHERE minute_total > 0 AND minute_avg > 1.5 * hour_avg
) WITH (connector = 'stdout') EMIT CHANGES;
