-- Alerts, block by block and at window close, and what sinks tell of them.
CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE mutes (group_key TEXT, muted_until TIMESTAMP) AS VALUES ('0xab', '2030-01-01T00:00:00Z');
CREATE MATERIALIZED VIEW rate AS
SELECT to_address, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes') GROUP BY to_address, window_end;
CREATE ALERT failing FROM (SELECT * FROM rate WHERE failed * 20 > total) WITH (
  key = 'to_address', severity = 'CASE WHEN failed * 2 > total THEN ''critical'' ELSE ''high'' END', score = '5.0 * failed / total');
CREATE ALERT windows FROM rate WITH (key = 'lower(''ALL'')', group_by = 'to_address, total > 5', dedup_key = 'to_address') EMIT ON WINDOW CLOSE;
CREATE SINK ops FROM failing WITH (
  connector = 'stdout', cooldown = INTERVAL '15 minutes', rate_limit = '5 per hour', mutes = 'mutes', min_severity = 'high');
CREATE SINK sure FROM windows WITH (connector = 'stdout', send = 'fire') EMIT ON FINALITY;
CREATE SINK stories FROM failing WITH (connector = 'parquet', path = 'stories');
CREATE MATERIALIZED VIEW open_stories AS SELECT alert, story_id, severity FROM alert_groups WHERE status <> 'resolved';
CREATE SINK all_told FROM (SELECT sink, kind, suppressed_by FROM deliveries) WITH (connector = 'stdout');
