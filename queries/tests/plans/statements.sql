/* Odd but right ways to write things. */
create source eth with (connector = 'simulator', seed = 1000,);
CREATE TABLE limits (token ADDRESS NOT NULL, "Least" UINT256) AS VALUES ('0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48', 100000000000000000000);
CREATE VIEW v AS SELECT 1 AS x;
CREATE OR REPLACE MATERIALIZED VIEW v WITH (retain = INTERVAL '5 minutes') AS
SELECT window_end, count(*) AS n FROM TUMBLE((SELECT * FROM eth.blocks WHERE gas_used > 5), block_timestamp, INTERVAL '90' SECOND) AS w
GROUP BY w.window_end ON ERROR STOP;
CREATE MATERIALIZED VIEW number_of_blocks AS SELECT count(*) AS n FROM eth.blocks;
CREATE MATERIALIZED VIEW ones AS SELECT 1 AS one FROM eth.blocks;
CREATE MATERIALIZED VIEW swapped AS
SELECT l."Least", x.block_number, x.amount - l."Least" AS above FROM limits l JOIN eth.token_transfers x ON x.token_address = l.token AND x.amount > l."Least";
CREATE MATERIALIZED VIEW computed_key AS
SELECT x.transaction_index FROM eth.transactions x JOIN (SELECT column1 AS a, column2 AS b FROM (VALUES (1, 2), (3, 4))) p ON x.transaction_index % 10 = p.a + 1;
CREATE MATERIALIZED VIEW crossed AS SELECT b.block_number, l.token FROM eth.blocks b CROSS JOIN limits l;
CREATE MATERIALIZED VIEW excluded AS
SELECT transaction_hash FROM eth.transactions WHERE to_address NOT IN (SELECT token FROM limits);
CREATE MATERIALIZED VIEW either AS
SELECT block_number, 'blocks' AS kind FROM eth.blocks UNION ALL SELECT block_number, 'logs' FROM eth.logs UNION ALL SELECT block_number, 'traces' FROM eth.traces;
CREATE MATERIALIZED VIEW second_largest WITH (unbounded = true) AS
SELECT chain, value FROM eth.transactions QUALIFY row_number() OVER (PARTITION BY chain ORDER BY value DESC) BETWEEN 2 AND 3;
