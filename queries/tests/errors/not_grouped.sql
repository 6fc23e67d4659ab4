CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT window_start, to_address, count(*) AS n
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes') GROUP BY window_start;
