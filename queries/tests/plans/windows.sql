CREATE SOURCE eth WITH (connector = 'simulator', seed = 7);

-- Only the start is shown: the end is kept inside, so that groups leave memory.
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, count(*) AS transactions, sum(gas_used) AS gas, avg(effective_gas_price) AS price,
       max(value) AS largest, count(DISTINCT from_address) AS senders
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start;

-- Windows over windows.
CREATE MATERIALIZED VIEW hours AS
SELECT window_start, window_end, sum(transactions) AS transactions, min(gas) AS least_gas
FROM HOP(minutes, window_start, INTERVAL '15 minutes', INTERVAL '1 hour') GROUP BY window_start, window_end
HAVING sum(transactions) > 10;

-- Rounded times are windows, too.
CREATE MATERIALIZED VIEW days AS
SELECT date_trunc('day', block_timestamp) AS day, date_bin(INTERVAL '15 minutes', block_timestamp) AS quarter, count(*) AS blocks
FROM eth.blocks GROUP BY 1, 2 ORDER BY day DESC;

CREATE SINK closed FROM hours WITH (connector = 'stdout') EMIT ON WINDOW CLOSE;
CREATE SINK final FROM minutes WITH (connector = 'stdout') EMIT ON FINALITY;
