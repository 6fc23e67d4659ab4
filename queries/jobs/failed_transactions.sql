-- Why transactions fail, by contract and method.
--
-- Receipts tell that a transaction failed, not why; the gas tells a part:
--
--   out of gas      all but two hundredths of the limit are gone: a call that runs out of gas takes it all,
--                   and one that runs out inside a call leaves its caller one 64th (EIP-150)
--   refused at once little more than the gas that every transaction costs: 21,000, and up to 16 a byte of
--                   input (EIP-2028); deadlines, paused contracts, missing rights
--   reverted        it worked for a while: slippage, balances, conditions that no longer hold
--   not created     a contract that could not be created
--
--   highwater run queries/jobs/failed_transactions.sql

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

CREATE VIEW failed AS
SELECT block_timestamp, to_address AS contract, selector, from_address, gas_used, gas_limit,
       gas_used * effective_gas_price AS fee_wei,
       CASE
         WHEN to_address IS NULL THEN 'not created'
         WHEN gas_used * 100 >= gas_limit * 98 THEN 'out of gas'
         WHEN gas_used < 21000 + 8 * (length(hex(input)) - 2) + 5000 THEN 'refused at once'
         ELSE 'reverted'
       END AS class
FROM eth.transactions
WHERE NOT success;

CREATE MATERIALIZED VIEW failed_transactions AS
SELECT contract, selector, class, window_start, window_end,
       count(*) AS failed,
       count(DISTINCT from_address) AS senders,
       sum(gas_used) AS gas_used,
       sum(fee_wei) AS fees_wei
FROM TUMBLE(failed, block_timestamp, INTERVAL '1 hour')
GROUP BY contract, selector, class, window_start, window_end
ORDER BY window_start, failed DESC, contract, selector, class;

-- Senders who fail again and again: more than three times in ten minutes.
CREATE MATERIALIZED VIEW stubborn AS
SELECT from_address, window_start, window_end, count(*) AS failed, sum(fee_wei) AS fees_wei
FROM TUMBLE(failed, block_timestamp, INTERVAL '10 minutes')
GROUP BY from_address, window_start, window_end
HAVING count(*) > 3
ORDER BY window_start, failed DESC;

CREATE SINK failures FROM failed_transactions WITH (connector = 'stdout');
CREATE SINK stubborn_senders FROM stubborn WITH (connector = 'stdout') EMIT CHANGES;
CREATE SINK failures_parquet FROM failed_transactions WITH (connector = 'parquet', path = 'out/failed_transactions');
