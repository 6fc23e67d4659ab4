CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT block_number FROM eth.blocks;
CREATE SINK a FROM v WITH (connector = 'parqet', path = 'x');
CREATE SINK b FROM v WITH (connector = 'parquet');
CREATE SINK c FROM v WITH (connector = 'parquet', path = 'x', mode = 'snapshots');
CREATE SINK d FROM vv WITH (connector = 'stdout');
CREATE SINK e FROM v WITH (connector = 'parquet', path = SECRET tokn);
CREATE SINK f FROM v;
