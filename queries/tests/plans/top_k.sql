CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW token_counts AS
SELECT token_address, window_start, window_end, count(*) AS transfers
FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '5 minutes') GROUP BY token_address, window_start, window_end;

CREATE MATERIALIZED VIEW top_per_window AS
SELECT token_address, window_start, window_end, transfers FROM (
  SELECT *, row_number() OVER (PARTITION BY window_start, window_end ORDER BY transfers DESC, token_address) AS n FROM token_counts
) WHERE n <= 3;

CREATE MATERIALIZED VIEW first_per_window AS
SELECT * FROM token_counts QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY transfers DESC) = 1;

CREATE MATERIALIZED VIEW numbered AS
SELECT token_address, n FROM (
  SELECT token_address, window_start, row_number() OVER (PARTITION BY window_start ORDER BY transfers DESC) AS n FROM token_counts
) WHERE n = 1;

CREATE MATERIALIZED VIEW top_recent AS
SELECT token_address, count(*) AS transfers FROM eth.token_transfers
WHERE block_timestamp > now() - INTERVAL '1 hour'
GROUP BY token_address ORDER BY count(*) DESC, token_address LIMIT 10;

CREATE MATERIALIZED VIEW latest WITH (unbounded = 'yes') AS
SELECT DISTINCT ON (token_address) token_address, amount, block_number
FROM eth.token_transfers ORDER BY token_address, block_number DESC, log_index DESC;

CREATE MATERIALIZED VIEW largest WITH (unbounded = 'yes') AS
SELECT transaction_hash, value FROM eth.transactions ORDER BY value DESC LIMIT 5 OFFSET 2;
