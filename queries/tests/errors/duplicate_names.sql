CREATE SOURCE eth WITH (connector = 'simulator');
CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks;
CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks;
CREATE MATERIALIZED VIEW w AS SELECT block_number AS a, gas_used AS a FROM eth.blocks;
