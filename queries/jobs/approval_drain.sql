-- Approval drains: somebody takes tokens out of several wallets that are not theirs, within ten minutes, and gives
-- nothing for them. So do phishing contracts once people have signed an approval (or a permit). A pool or a router
-- does not look like that: it gets something in the same transaction. Exchanges that sweep the deposit addresses of
-- their customers do: leave their hot wallets out with a table of your own.
--
--   highwater run queries/jobs/approval_drain.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

-- Who lost tokens in a transaction of somebody else and got none: one row a wallet and transaction.
CREATE MATERIALIZED VIEW taken AS
SELECT block_number, block_hash, block_timestamp, transaction_hash, taker, contract, wallet AS owner,
       count(DISTINCT token_address) FILTER (WHERE gives) AS tokens
FROM (
  SELECT block_number, block_hash, block_timestamp, transaction_hash, tx_from AS taker, tx_to AS contract,
         token_address, from_address AS wallet, true AS gives
  FROM eth.token_transfers WHERE token_standard = 'erc20' AND amount > 0
  UNION ALL
  SELECT block_number, block_hash, block_timestamp, transaction_hash, tx_from, tx_to,
         token_address, to_address, false
  FROM eth.token_transfers WHERE token_standard = 'erc20' AND amount > 0
)
WHERE wallet <> taker AND wallet <> contract AND wallet <> address('0x0000000000000000000000000000000000000000')
GROUP BY block_number, block_hash, block_timestamp, transaction_hash, taker, contract, wallet
HAVING bool_and(gives);

CREATE MATERIALIZED VIEW drains AS
SELECT taker, window_start, window_end,
       count(DISTINCT owner) AS owners, sum(tokens) AS balances, count(DISTINCT transaction_hash) AS transactions
FROM HOP(taken, block_timestamp, INTERVAL '1 minute', INTERVAL '10 minutes')
GROUP BY taker, window_start, window_end;

CREATE ALERT approval_drains FROM (SELECT * FROM drains WHERE owners >= 5) WITH (
  key = 'taker',
  severity = 'CASE WHEN owners >= 20 THEN ''critical'' ELSE ''high'' END',
  title = '{{ taker|short }} takes tokens of {{ owners }} wallets',
  reason = '{{ owners }} owners lost tokens in {{ transactions }} transaction{{ ''s'' if transactions > 1 }} of {{ taker }} in the ten minutes to {{ window_end }}',
  why = 'five owners are high, twenty critical',
  cool_after = INTERVAL '10 minutes', resolve_after = INTERVAL '1 hour'
);

CREATE SINK drains_out FROM approval_drains WITH (connector = 'stdout', cooldown = INTERVAL '1 hour');
CREATE SINK taken_parquet FROM taken WITH (connector = 'parquet', path = 'out/taken', mode = 'changelog') EMIT ON FINALITY;
