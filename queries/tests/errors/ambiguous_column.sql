CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE t (chain TEXT, name TEXT) AS VALUES ('ethereum', 'Ethereum');
CREATE MATERIALIZED VIEW v AS SELECT chain FROM eth.blocks b JOIN t ON b.chain = t.chain;
