CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE watchlist (address ADDRESS NOT NULL, label TEXT, score INT, until TIMESTAMP(3) WITH TIME ZONE)
WITH (connector = 'csv', path = 'watchlist.csv', reload = INTERVAL '5 seconds');
CREATE TABLE tokens (token ADDRESS, symbol VARCHAR) AS VALUES ('0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48', 'USDC');
CREATE TABLE once (address ADDRESS) WITH (connector = 'csv', path = 'watchlist.csv');

CREATE VIEW high AS SELECT address, upper(label) AS label FROM watchlist WHERE score > 5;

CREATE MATERIALIZED VIEW sent AS
SELECT t.block_number, t.log_index, h.label, k.symbol, t.amount
FROM eth.token_transfers t JOIN high h ON h.address = t.from_address JOIN tokens k ON k.token = t.token_address
WHERE t.amount > 5;

CREATE MATERIALIZED VIEW optional AS
SELECT w.label, x.transaction_hash FROM watchlist w RIGHT JOIN eth.transactions x ON w.address = x.to_address AND w.score > 2;

CREATE MATERIALIZED VIEW listed AS
SELECT block_number, log_index FROM eth.token_transfers WHERE to_address IN (SELECT address FROM watchlist);

CREATE MATERIALIZED VIEW strangers AS
SELECT block_number, transaction_hash FROM eth.transactions x
WHERE NOT EXISTS (SELECT 1 FROM watchlist w WHERE w.address = x.to_address);

CREATE MATERIALIZED VIEW above AS
SELECT t.block_number, t.log_index, w.label FROM eth.token_transfers t JOIN watchlist w ON t.from_address = w.address AND t.log_index > w.score;

CREATE MATERIALIZED VIEW by_label AS
SELECT label, window_start, window_end, count(*) AS n
FROM TUMBLE((SELECT t.block_timestamp, w.label FROM eth.token_transfers t JOIN watchlist w ON w.address = t.to_address), block_timestamp, INTERVAL '1 hour')
GROUP BY label, window_start, window_end;

CREATE MATERIALIZED VIEW transfers AS SELECT block_number, log_index, to_address FROM eth.token_transfers;
CREATE MATERIALIZED VIEW known AS SELECT address, label FROM watchlist WHERE until > now();
CREATE MATERIALIZED VIEW of_views AS
SELECT t.block_number, k.label FROM transfers t JOIN known k ON k.address = t.to_address;

CREATE MATERIALIZED VIEW limits AS SELECT t.block_number, w.label FROM eth.token_transfers t CROSS JOIN watchlist w WHERE t.log_index > w.score;
CREATE MATERIALIZED VIEW labels AS SELECT label, count(*) AS addresses FROM watchlist GROUP BY label;
CREATE MATERIALIZED VIEW in_tokens AS SELECT w.label, k.symbol FROM watchlist w JOIN tokens k ON k.token = w.address;
CREATE MATERIALIZED VIEW fixed AS SELECT o.address FROM once o;
EXPLAIN STATE sent;
