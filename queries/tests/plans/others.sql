SET workers = 2;
CREATE SECRET token WITH (backend = 'env', key = 'TOKEN');
CREATE SOURCE eth WITH (connector = 'simulator');
CREATE SOURCE base WITH (connector = 'simulator', seed = 2);
CREATE VIEW both_chains (chain, number, at) AS
SELECT chain, block_number, block_timestamp FROM eth.blocks UNION ALL SELECT chain, block_number, block_timestamp FROM base.blocks;
CREATE MATERIALIZED VIEW per_chain WITH (unbounded = 'yes') AS SELECT chain, count(*) AS blocks, max(number) AS head FROM both_chains GROUP BY chain;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(gas_used) AS gas FROM eth.transactions;
CREATE MATERIALIZED VIEW heads WITH (on_error = 'stop', retain = '30 days') AS
WITH recent AS (SELECT * FROM both_chains WHERE at > now() - INTERVAL '10 minutes')
SELECT chain, number, length(chain) AS letters FROM recent ORDER BY number DESC, chain;
CREATE MATERIALIZED VIEW distinct_chains AS SELECT chain FROM eth.blocks UNION SELECT chain FROM base.blocks;
CREATE SINK mistakes FROM totals_errors WITH (connector = 'parquet', path = SECRET token);
CREATE SINK counted FROM (SELECT error, count(*) AS n FROM heads_errors GROUP BY error) WITH (connector = 'stdout', unbounded = 'yes');
CREATE SINK chains FROM both_chains WITH (connector = 'stdout');
EXPLAIN SELECT hex(transaction_hash) AS h, format_units(value, 18) AS ether FROM eth.transactions WHERE value > 100000000000000000000;
EXPLAIN STATE SELECT from_address, count(*) FROM eth.transactions GROUP BY from_address;

-- What a query says twice is kept once.
CREATE MATERIALIZED VIEW said_twice WITH (unbounded = 'yes') AS
WITH senders AS (SELECT from_address, count(*) AS n FROM eth.transactions GROUP BY from_address)
SELECT from_address, n FROM senders WHERE n = (SELECT max(n) FROM senders);
