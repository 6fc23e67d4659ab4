CREATE SOURCE eth WITH (connector = 'simulator', seed = 7);

-- Values in an order, and what is picked from it.
CREATE MATERIALIZED VIEW blocks AS
SELECT block_number, array_agg(DISTINCT from_address) AS senders,
       array_agg(value ORDER BY transaction_index DESC) IGNORE NULLS AS amounts,
       string_agg(chain, ', ' ORDER BY gas_used, transaction_index) FILTER (WHERE success) AS chains,
       first_value(from_address ORDER BY gas_used DESC) AS biggest, last_value(value ORDER BY gas_used) AS last_value,
       nth_value(gas_used, -2 ORDER BY transaction_index) AS before_last, max_by(from_address, value) AS richest,
       arg_min(value, gas_used) AS least, any_value(chain) AS chain
FROM eth.transactions GROUP BY block_number;

-- Statistics: exact ones, and sketches whose state does not grow.
CREATE MATERIALIZED VIEW minutes AS
SELECT window_end, median(gas_used) AS middle, percentile_cont(0.9) WITHIN GROUP (ORDER BY value DESC) AS tenth,
       percentile_disc(effective_gas_price, 0.99) AS dear, mode() WITHIN GROUP (ORDER BY gas_used) AS usual,
       corr(gas_used, effective_gas_price) AS correlated, regr_count(gas_used, value) AS pairs,
       sum(DISTINCT gas_used) AS different, bit_xor(value) AS bits, every(success) AS fine,
       approx_distinct(from_address) AS senders, approx_quantile(value, 0.5, 0.02) AS about,
       approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY gas_used) AS high, approx_median(gas_used) AS about_middle,
       histogram(gas_used, 0.1) AS spread, min(DISTINCT gas_used) AS least
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_end;

-- Ranking by a rate of which little is known.
CREATE MATERIALIZED VIEW rates AS
SELECT window_end, to_address, wilson_lower(sum(CASE WHEN success THEN 1 ELSE 0 END), count(*)) AS at_least
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_end, to_address;
