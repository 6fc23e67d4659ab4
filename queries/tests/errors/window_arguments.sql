CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW a AS SELECT * FROM TUMBLE(eth.blocks, INTERVAL '5 minutes');
CREATE MATERIALIZED VIEW b AS SELECT * FROM TUMBLE(eth.blocks, block_number, INTERVAL '5 minutes');
CREATE MATERIALIZED VIEW c AS SELECT * FROM TUMBLE(eth.blocks, block_timestamp, 300);
CREATE MATERIALIZED VIEW d AS SELECT * FROM HOP(eth.blocks, block_timestamp, INTERVAL '1 hour', INTERVAL '5 minutes');
CREATE MATERIALIZED VIEW e AS SELECT * FROM TUMBEL(eth.blocks, block_timestamp, INTERVAL '1 hour');
