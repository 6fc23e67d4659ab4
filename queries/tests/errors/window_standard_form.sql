CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT * FROM TUMBLE(TABLE transactions, DESCRIPTOR(block_timestamp), INTERVAL '5 minutes');
