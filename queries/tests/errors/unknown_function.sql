CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT keccack256(input) AS h FROM eth.transactions;
