CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW a AS SELECT stddev(gas_used) OVER (PARTITION BY block_hash ORDER BY nonce) AS n FROM eth.transactions;
CREATE MATERIALIZED VIEW b AS SELECT count(DISTINCT nonce) OVER (PARTITION BY block_hash) AS n FROM eth.transactions;
CREATE MATERIALIZED VIEW c WITH (unbounded = 'yes') AS
WITH RECURSIVE r AS (SELECT block_number AS x FROM eth.blocks UNION SELECT n FROM (SELECT x + 1 AS n, row_number() OVER (ORDER BY x) AS i FROM r) q WHERE i < 5) SELECT * FROM r;
CREATE MATERIALIZED VIEW e AS SELECT approx_percentile_cont_with_weight(gas_used, 1, 0.5) AS m FROM eth.transactions;
CREATE MATERIALIZED VIEW f AS SELECT * FROM SESSION(eth.blocks, block_timestamp, '5 minutes');
CREATE MATERIALIZED VIEW g AS SELECT mode(DISTINCT gas_used) AS m FROM eth.transactions;
