-- Transaction metrics of each minute: counts, gas, prices.
--
--   highwater run queries/jobs/metrics_minute.sql
--   highwater run queries/jobs/metrics_minute.sql --set eth.path=FOLDER

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE MATERIALIZED VIEW metrics_minute AS
SELECT window_start AS minute,
       count(*) AS total,
       count(*) FILTER (WHERE success) AS successful,
       count(*) FILTER (WHERE NOT success) AS failed,
       count(DISTINCT from_address) AS senders,
       sum(gas_used) AS gas_used,
       avg(gas_used) AS avg_gas_used,
       avg(effective_gas_price) AS avg_gas_price,
       min(effective_gas_price) AS min_gas_price,
       max(effective_gas_price) AS max_gas_price,
       window_end
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end
ORDER BY minute;

CREATE SINK metrics FROM metrics_minute WITH (connector = 'stdout');
CREATE SINK metrics_parquet FROM metrics_minute WITH (connector = 'parquet', path = 'out/metrics_minute');
