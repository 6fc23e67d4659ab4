CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v WITH (unbounded = 'yes') AS SELECT * FROM (
  SELECT block_number, row_number() OVER (ORDER BY gas_used DESC) AS n FROM eth.blocks) WHERE n <= 3;
