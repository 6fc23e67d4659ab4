CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE watchlist (address ADDRESS, label TEXT) WITH (connector = 'csv', path = 'watchlist.csv', reload = INTERVAL '5 seconds');
CREATE TABLE others (address ADDRESS, label TEXT) WITH (connector = 'csv', path = 'watchlist.csv', reload = '1 minute');
CREATE TABLE often (address ADDRESS) WITH (connector = 'csv', path = 'watchlist.csv', reload = 'often');
SET mev.labels = 'watchlist';
CREATE MATERIALIZED VIEW after_grouping AS
SELECT s.from_address, w.label
FROM (SELECT from_address, window_start, window_end, count(*) AS n FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '1 hour')
      GROUP BY from_address, window_start, window_end) s
JOIN watchlist w ON w.address = s.from_address;
CREATE MATERIALIZED VIEW both AS SELECT w.label FROM watchlist w JOIN others o ON o.address = w.address;
CREATE MATERIALIZED VIEW kept AS SELECT w.label, t.log_index FROM watchlist w LEFT JOIN eth.token_transfers t ON t.to_address = w.address;
CREATE MATERIALIZED VIEW further AS
SELECT t.log_index, w.label FROM eth.token_transfers t LEFT JOIN watchlist w ON w.address = t.to_address AND length(w.label) > t.log_index;
CREATE MATERIALIZED VIEW nowhere AS
SELECT transaction_hash FROM eth.transactions WHERE to_address NOT IN (SELECT address FROM watchlist);
CREATE MATERIALIZED VIEW active AS
SELECT address FROM watchlist WHERE address IN (SELECT from_address FROM eth.token_transfers);
