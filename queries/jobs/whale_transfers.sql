-- Large token transfers, with symbol and amount in whole tokens. The thresholds are reference data:
-- one row a token. The amounts are exact: 256-bit integers.
--
--   highwater run queries/jobs/whale_transfers.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE TABLE tokens (token ADDRESS, symbol TEXT, decimals BIGINT, threshold UINT256)
WITH (connector = 'csv', path = 'data/devnet/tokens.csv');

CREATE MATERIALIZED VIEW whale_transfers AS
SELECT t.block_number, t.block_timestamp, t.transaction_hash, t.log_index, k.symbol,
       t.from_address, t.to_address, t.amount, format_units(t.amount, k.decimals) AS tokens
FROM eth.token_transfers t
JOIN tokens k ON k.token = t.token_address
WHERE t.amount >= k.threshold
  AND t.block_number > 40;                  -- the first 40 blocks of this chain only hand tokens out

-- One story a sender: whoever moves a fortune in ten transfers is one message, not ten.
CREATE ALERT whales FROM whale_transfers WITH (
  key = 'from_address',
  severity = 'medium',
  title = '{{ from_address|short }} moves {{ symbol }}',
  reason = '{{ tokens }} {{ symbol }} to {{ to_address|short }}',
  body = '{{ occurrences }} large transfer{{ ''s'' if occurrences > 1 }} since {{ opened_at }}',
  cool_after = INTERVAL '5 minutes', resolve_after = INTERVAL '20 minutes'
);

CREATE SINK whale_watch FROM whales WITH (connector = 'stdout');
CREATE SINK whales_parquet FROM whale_transfers WITH (connector = 'parquet', path = 'out/whale_transfers', mode = 'changelog') EMIT ON FINALITY;
