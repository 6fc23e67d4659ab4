CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW strict AS
SELECT transaction_hash, block_timestamp FROM eth.transactions WHERE block_timestamp > now() - INTERVAL '5 minutes' AND NOT success;
CREATE MATERIALIZED VIEW inclusive AS
SELECT transaction_hash FROM eth.transactions WHERE now() - INTERVAL '5 minutes' <= block_timestamp;
CREATE MATERIALIZED VIEW delayed AS
SELECT transaction_hash FROM eth.transactions WHERE block_timestamp <= now() - INTERVAL '1 minute';
CREATE MATERIALIZED VIEW between_two AS
SELECT transaction_hash FROM eth.transactions
WHERE block_timestamp BETWEEN now() - INTERVAL '1 hour' AND now() - INTERVAL '1 minute';
CREATE MATERIALIZED VIEW two_limits AS
SELECT window_start, window_end, count(*) AS n FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute') GROUP BY window_start, window_end
HAVING window_end > now() - INTERVAL '15 minutes' AND window_start + INTERVAL '30 days' > now();
CREATE MATERIALIZED VIEW senders AS
SELECT DISTINCT from_address FROM eth.transactions WHERE block_timestamp > now() - INTERVAL '1 day';
