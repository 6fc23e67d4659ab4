CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS
SELECT l.log_index FROM eth.logs l JOIN eth.transactions t ON t.transaction_hash = l.transaction_hash;
CREATE MATERIALIZED VIEW w AS
SELECT block_number FROM eth.blocks WHERE block_number IN (SELECT block_number FROM eth.logs);
