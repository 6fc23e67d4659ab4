CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT value + success AS x FROM eth.transactions;
CREATE MATERIALIZED VIEW w AS SELECT block_number FROM eth.transactions WHERE gas_used;
CREATE MATERIALIZED VIEW u AS SELECT length(block_number, 1, 2) AS x FROM eth.blocks;
