CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE t (a BIGINT) AS VALUES (1);
CREATE MATERIALIZED VIEW v AS SELECT t.a, b.block_number FROM t LEFT JOIN eth.blocks b ON t.a = b.block_number;
