-- What watched addresses do: token transfers and transactions, with an alert a label. The list is read again
-- while the job runs; write the new file beside it and rename it. An address that is added counts from the next
-- block on; `highwater replay` with the list as it is now fills in what was before.
--
--   highwater run queries/jobs/watchlist_activity.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE TABLE watchlist (address ADDRESS NOT NULL, label TEXT NOT NULL, severity TEXT NOT NULL)
WITH (connector = 'csv', path = 'data/devnet/watchlist.csv', reload = INTERVAL '5 seconds');

CREATE VIEW touches AS
SELECT block_number, block_timestamp, transaction_hash, log_index, 'sends tokens' AS what,
       from_address AS address, to_address AS counterparty, token_address, amount
FROM eth.token_transfers
UNION ALL
SELECT block_number, block_timestamp, transaction_hash, log_index, 'gets tokens',
       to_address, from_address, token_address, amount
FROM eth.token_transfers
UNION ALL
SELECT block_number, block_timestamp, transaction_hash, NULL, 'sends a transaction',
       from_address, to_address, NULL, value
FROM eth.transactions
UNION ALL
SELECT block_number, block_timestamp, transaction_hash, NULL, 'gets a transaction',
       to_address, from_address, NULL, value
FROM eth.transactions;

CREATE MATERIALIZED VIEW activity AS
SELECT t.block_number, t.block_timestamp, t.transaction_hash, t.log_index, w.label, w.severity, t.address, t.what,
       t.counterparty, t.token_address, t.amount
FROM touches t JOIN watchlist w ON w.address = t.address
WHERE t.block_number > 40;                  -- the first 40 blocks of this chain only hand tokens out

CREATE ALERT watched FROM activity WITH (
  key = 'label', severity = 'severity',
  title = '{{ label }} {{ what }}', body = '{{ address }} in block {{ block_number }}',
  resolve_after = INTERVAL '2 minutes'
);

CREATE SINK activity_out FROM activity WITH (connector = 'parquet', path = 'out/watchlist_activity', mode = 'changelog') EMIT ON FINALITY;
CREATE SINK watched_out FROM watched WITH (connector = 'stdout');
