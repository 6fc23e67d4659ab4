CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE tokens (token ADDRESS, symbol VARCHAR, decimals INT) AS VALUES
  ('0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48', 'USDC', 6),
  ('0xdac17f958d2ee523a2206206994597c13d831ec7', 'USDT', 6);
CREATE TABLE watched AS VALUES ('USDC'), ('DAI');

CREATE VIEW named AS
SELECT x.*, t.symbol, t.decimals FROM eth.token_transfers x JOIN tokens t ON t.token = x.token_address;

CREATE MATERIALIZED VIEW volume AS
SELECT symbol, window_start, window_end, sum(amount) AS raw, count(*) AS transfers
FROM TUMBLE(named, block_timestamp, INTERVAL '1 hour') GROUP BY symbol, window_start, window_end;

CREATE MATERIALIZED VIEW optional AS
SELECT x.block_number, x.log_index, t.symbol FROM eth.token_transfers x LEFT JOIN tokens t ON t.token = x.token_address AND t.decimals > 2;

CREATE MATERIALIZED VIEW of_watched AS
SELECT block_number, symbol FROM named WHERE symbol IN (SELECT column1 FROM watched);

CREATE MATERIALIZED VIEW strangers AS
SELECT block_number, token_address FROM eth.token_transfers
WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE token = token_address);

CREATE MATERIALIZED VIEW by_symbol AS SELECT symbol, count(*) AS n FROM named GROUP BY symbol;
CREATE MATERIALIZED VIEW all_tokens AS SELECT symbol FROM tokens;
