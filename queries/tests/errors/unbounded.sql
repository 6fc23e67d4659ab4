CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS
SELECT from_address, count(*) AS n FROM eth.transactions GROUP BY from_address;
CREATE MATERIALIZED VIEW w AS SELECT DISTINCT from_address FROM eth.transactions;
CREATE MATERIALIZED VIEW u AS SELECT transaction_hash, value FROM eth.transactions ORDER BY value DESC LIMIT 5;
