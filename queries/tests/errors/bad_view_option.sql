CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v WITH (unbouded = 'yes') AS SELECT block_number FROM eth.blocks;
CREATE MATERIALIZED VIEW w WITH (unbounded = 'perhaps') AS SELECT block_number FROM eth.blocks;
CREATE MATERIALIZED VIEW u WITH (on_error = 'ignore') AS SELECT block_number FROM eth.blocks;
