CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number, now() AS t FROM eth.blocks;
CREATE MATERIALIZED VIEW w AS SELECT block_number FROM eth.blocks WHERE block_timestamp = now();
CREATE MATERIALIZED VIEW u AS SELECT block_number FROM eth.blocks WHERE block_timestamp > now() - INTERVAL '1 month';
CREATE MATERIALIZED VIEW x AS SELECT block_number FROM eth.blocks WHERE block_timestamp > now() - INTERVAL '1 hour' OR gas_used > 5;
