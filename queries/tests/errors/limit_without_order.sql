CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks LIMIT 10;
