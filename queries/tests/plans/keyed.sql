-- Sessions by sender: their rows, and what is computed of them in one step or in two; ASOF joins and components.

CREATE SOURCE eth WITH (connector = 'simulator', seed = 7);

CREATE MATERIALIZED VIEW by_sender AS
SELECT from_address, window_start, window_end, count(*) AS total, sum(gas_used) AS gas,
  count(*) FILTER (WHERE NOT success) AS failed
FROM SESSION(eth.transactions, block_timestamp, INTERVAL '10 minutes', from_address)
GROUP BY from_address, window_start, window_end;

-- The window decides a result.
CREATE MATERIALIZED VIEW rates AS
SELECT from_address, window_end, max(window_end - block_timestamp) AS longest
FROM SESSION(eth.transactions, block_timestamp, INTERVAL '10 minutes', from_address)
GROUP BY from_address, window_start, window_end;

-- A key more than the session has.
CREATE MATERIALIZED VIEW by_receiver AS
SELECT from_address, to_address, window_end, count(*) AS total
FROM SESSION(eth.transactions, block_timestamp, INTERVAL '10 minutes', from_address)
GROUP BY from_address, to_address, window_start, window_end;

CREATE MATERIALIZED VIEW all_rows AS
SELECT from_address, transaction_hash, window_end
FROM SESSION(eth.transactions, block_timestamp, INTERVAL '10 minutes', from_address);

CREATE SINK sessions FROM by_sender WITH (connector = 'parquet', path = 'out/sessions') EMIT ON WINDOW CLOSE;

-- Of what is joined and walked through only the columns that are read, but of equal times the greatest whole row counts.
CREATE MATERIALIZED VIEW priced AS
SELECT t.transaction_hash, b.gas_used
FROM eth.transactions t ASOF JOIN eth.blocks b MATCH_CONDITION (t.block_timestamp > b.block_timestamp) ON t.chain_id = b.chain_id;

CREATE MATERIALIZED VIEW clusters WITH (unbounded = 'yes') AS
SELECT node, component FROM CONNECTED_COMPONENTS(eth.transactions, from_address, to_address);
