CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW a WITH (unbounded = 'yes') AS SELECT b.block_number FROM eth.blocks b LEFT JOIN eth.transactions t ON t.block_number = b.block_number AND EXISTS (SELECT 1 FROM eth.logs l WHERE l.block_number = b.block_number AND l.transaction_hash = t.transaction_hash);
CREATE MATERIALIZED VIEW c WITH (unbounded = 'yes') AS SELECT b.block_number, x.v FROM eth.blocks b, LATERAL (VALUES (b.block_number), (b.gas_used)) x(v);
CREATE MATERIALIZED VIEW d WITH (unbounded = 'yes') AS SELECT b.block_number, (SELECT t.value FROM eth.transactions t WHERE t.block_number = b.block_number LIMIT 1) AS v FROM eth.blocks b;
CREATE MATERIALIZED VIEW e WITH (unbounded = 'yes') AS SELECT b.block_number, row_number() OVER (ORDER BY (SELECT max(t.value) FROM eth.transactions t WHERE t.block_number = b.block_number)) AS v FROM eth.blocks b;
CREATE MATERIALIZED VIEW f WITH (unbounded = 'yes') AS SELECT b.block_number FROM eth.blocks b RIGHT JOIN LATERAL (SELECT t.value FROM eth.transactions t WHERE t.block_number = b.block_number) x ON true;
