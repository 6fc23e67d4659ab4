CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW a AS SELECT chain, success, count(*) AS n FROM eth.transactions GROUP BY ROLLUP (chain, success);
CREATE MATERIALIZED VIEW b AS SELECT sum(gas_used) OVER (ORDER BY block_number) AS n FROM eth.transactions;
CREATE MATERIALIZED VIEW c AS SELECT block_number FROM eth.blocks WHERE gas_used > (SELECT avg(gas_used) FROM eth.blocks);
CREATE MATERIALIZED VIEW d AS WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 3) SELECT * FROM r;
CREATE MATERIALIZED VIEW e AS SELECT approx_percentile_cont_with_weight(gas_used, 1, 0.5) AS m FROM eth.transactions;
CREATE MATERIALIZED VIEW f AS SELECT * FROM SESSION(eth.blocks, block_timestamp, INTERVAL '5 minutes');
CREATE MATERIALIZED VIEW g AS SELECT mode(DISTINCT gas_used) AS m FROM eth.transactions;
