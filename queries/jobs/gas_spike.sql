-- Minutes whose average gas price is more than 50 % above that of the hour before.
--
-- A hopping window of 61 minutes that moves by one minute: its last minute against the hour before it.
-- A minute counts from five transactions on, so that one dear transaction is no spike, and once it is over, so
-- that a minute that only begins dear is none either.
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

CREATE ALERT gas_spikes FROM (
  SELECT window_start, window_end, minute_avg, hour_avg, minute_total,
         round(100 * (minute_avg / hour_avg - 1), 1) AS above_percent
  FROM (SELECT hour_start AS window_start, window_end, minute_avg, hour_avg, minute_total FROM gas_price_minute)
  WHERE minute_total >= 5 AND minute_avg > 1.5 * hour_avg
) WITH (
  key = '''gas price''',
  severity = 'CASE WHEN above_percent > 300 THEN ''critical'' WHEN above_percent > 100 THEN ''high'' ELSE ''medium'' END',
  title = 'gas costs {{ above_percent }} % more than in the hour before',
  reason = '{{ (minute_avg / 1000000000)|round(2) }} gwei in the minute to {{ window_end }}, {{ (hour_avg / 1000000000)|round(2) }} in the hour before',
  cool_after = INTERVAL '3 minutes', resolve_after = INTERVAL '10 minutes'
) EMIT ON WINDOW CLOSE;

CREATE SINK spikes FROM gas_spikes WITH (connector = 'stdout', send = 'fire,escalate,update,resolve', group_interval = INTERVAL '5 minutes');
