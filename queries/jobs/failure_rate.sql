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

-- One story a contract, however often its rate crosses the line; taken back if a reorg takes it back. It is told
-- when it begins, when it gets worse, and when it is over; then fifteen minutes of silence.
CREATE ALERT failing_contracts FROM (
  SELECT to_address, window_start, total, failed FROM failure_rate WHERE total >= 20 AND failed * 20 > total
) WITH (
  key = 'to_address',
  severity = 'CASE WHEN failed * 2 > total THEN ''critical'' WHEN failed * 5 > total THEN ''high'' ELSE ''medium'' END',
  title = '{{ to_address|short }} fails',
  reason = '{{ failed }} of {{ total }} transactions failed since {{ window_start }}',
  why = '{{ (failed / total)|percent }} failed; above 20 % is high, above 50 % critical',
  cool_after = INTERVAL '10 minutes', resolve_after = INTERVAL '30 minutes'
);

-- To Slack instead:
--   CREATE SECRET ops_hook WITH (backend = 'env', key = 'SLACK_WEBHOOK_URL');
--   CREATE SINK ops FROM failing_contracts WITH (connector = 'slack', url = SECRET ops_hook, cooldown = INTERVAL '15 minutes');
CREATE SINK failing FROM failing_contracts WITH (connector = 'stdout', cooldown = INTERVAL '15 minutes');
