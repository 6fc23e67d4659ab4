CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number,, gas_used FROM eth.blocks;
