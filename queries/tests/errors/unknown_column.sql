CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS
SELECT
  block_number, gas_usd
FROM eth.transactions;
CREATE MATERIALIZED VIEW w AS SELECT t.vallue FROM eth.transactions t WHERE t.success;
CREATE MATERIALIZED VIEW u AS SELECT window_start, count(*) AS n FROM TUMBLE(eth.blocks, block_time, INTERVAL '5 minutes') GROUP BY window_start;
