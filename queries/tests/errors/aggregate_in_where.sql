CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT chain FROM eth.transactions WHERE count(*) > 5 GROUP BY chain;
CREATE MATERIALIZED VIEW w AS SELECT sum(count(*)) AS n FROM eth.transactions;
