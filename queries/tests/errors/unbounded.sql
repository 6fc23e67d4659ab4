CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS
SELECT from_address, count(*) AS n FROM eth.transactions GROUP BY from_address;
CREATE MATERIALIZED VIEW w AS SELECT DISTINCT from_address FROM eth.transactions;
CREATE MATERIALIZED VIEW u AS SELECT transaction_hash, value FROM eth.transactions ORDER BY value DESC LIMIT 5;

-- One group, whose state is every wallet, every value.
CREATE MATERIALIZED VIEW wallets AS SELECT count(DISTINCT from_address) AS wallets FROM eth.transactions;

CREATE MATERIALIZED VIEW usual AS SELECT success, median(gas_used) AS gas_used FROM eth.transactions GROUP BY success;
