CREATE SOURCE eth WITH (connector = 'simulator');

CREATE MATERIALIZED VIEW transfers_per_transaction AS
SELECT block_number, transaction_hash, count(*) AS transfers, sum(amount) AS total
FROM eth.token_transfers WHERE amount > 1000000000000000000000 GROUP BY block_number, transaction_hash;

CREATE MATERIALIZED VIEW per_block AS
SELECT block_number, count(*) AS n FROM (SELECT block_number, gas_used FROM eth.transactions WHERE success) t GROUP BY block_number;

CREATE MATERIALIZED VIEW plain AS
SELECT block_number, transaction_hash, value / 2 AS half, CASE WHEN success THEN gas_used ELSE 0 END AS gas
FROM eth.transactions WHERE success OR gas_used > 1000000;

-- No group of a transaction of a trace: rewards have none.
CREATE MATERIALIZED VIEW traces WITH (unbounded = 'yes') AS
SELECT transaction_hash, count(*) AS n FROM eth.traces GROUP BY transaction_hash;

CREATE SINK final FROM plain WITH (connector = 'stdout') EMIT ON FINALITY;
