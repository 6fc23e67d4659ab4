CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT CAST(block_number AS bigit) AS x FROM eth.blocks;
