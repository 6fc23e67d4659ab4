CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks;
CREATE SINK g FROM v WITH (connector = 'stdout') EMIT ON FINALTY;
