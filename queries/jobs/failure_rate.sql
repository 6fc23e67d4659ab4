-- Contracts whose transactions fail: more than 5 % of at least 20 in five minutes.
--
--   highwater run queries/jobs/failure_rate.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE MATERIALIZED VIEW failure_rate AS
SELECT to_address, window_start, window_end,
       count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
GROUP BY to_address, window_start, window_end;

CREATE SINK failure_rate_parquet FROM failure_rate WITH (connector = 'parquet', path = 'out/failure_rate');

-- The condition for an alert: a row that appears is the alert, a row that is retracted its correction.
CREATE SINK failing FROM (
  SELECT to_address, window_start, window_end, total, failed,
         round(100.0 * failed / total, 1) AS failed_percent
  FROM failure_rate
  WHERE total >= 20 AND failed * 20 > total
) WITH (connector = 'stdout') EMIT CHANGES;
