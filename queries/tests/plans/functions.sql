-- Functions of the job stand for their bodies.
CREATE SOURCE eth WITH (connector = 'simulator');
CREATE FUNCTION large(amount, at_least UINT256) AS amount >= at_least;
CREATE FUNCTION ether(wei UINT256) RETURNS DOUBLE AS to_double(wei) / 1e18;
CREATE FUNCTION share(part, whole) AS CASE WHEN whole > 0 THEN part * 100 / whole ELSE 0 END;
CREATE FUNCTION failed(success) AS count(*) FILTER (WHERE NOT success);
CREATE FUNCTION failed_share(success) RETURNS BIGINT AS share(failed(success), count(*));
CREATE FUNCTION deep(x) AS -(x + 1);
CREATE OR REPLACE FUNCTION deep(x) AS -(x + 2);

CREATE MATERIALIZED VIEW whales AS
SELECT block_number, transaction_hash, ether(value), deep(gas_used - 1) * 2 AS deep
FROM eth.transactions WHERE large(value, 115792089237316195423570985008687907853269984665640564039457584007913129639935);

CREATE MATERIALIZED VIEW failing AS
SELECT window_start, failed_share(success => success) AS failed_percent
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start
HAVING failed_share(success) > 3;

EXPLAIN SELECT large(value, 5) FROM eth.transactions;
