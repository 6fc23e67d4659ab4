CRATE SOURCE eth WITH (connector = 'simulator');
CREATE SOUCE eth WITH (connector = 'simulator');
CREATE SOURCE eth WITH (connector = simulator);
CREATE SOURCE eth (a INT) WITH (connector = 'simulator');
SELECT 1;
CREATE VIEW v AS SELECT 1 CREATE VIEW w AS SELECT 2;
