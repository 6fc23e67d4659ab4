-- The job of the README: a windowed aggregate, a filter over it, two sinks.
CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz');

CREATE MATERIALIZED VIEW failure_rate AS
SELECT to_address, window_start, window_end,
       count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
GROUP BY to_address, window_start, window_end;

CREATE SINK failure_rate_parquet FROM failure_rate
WITH (connector = 'parquet', path = 'out/failure_rate', mode = 'snapshot');
CREATE SINK failing FROM (SELECT * FROM failure_rate WHERE total >= 20 AND failed * 20 > total)
WITH (connector = 'stdout') EMIT CHANGES;
EXPLAIN failure_rate;
EXPLAIN STATE failure_rate;
