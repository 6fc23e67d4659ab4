CREATE SOURCE eth WITH (connector = 'simulator');
CREATE VIEW v AS SELECT 'abc FROM eth.blocks;
