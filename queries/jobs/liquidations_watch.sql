-- Liquidations as they happen, and what they sum up to.
--
-- Bonus and profit are NULL where a price is not known: give prices of your own with
--   SET mev.prices = 'prices';     -- a reference table (token_address, valid_from, usd, decimals)
--
--   highwater run queries/jobs/liquidations_watch.sql --set eth.path=blocks.ndjson.gz

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

-- Maker's auctions and Compound III's sales take several transactions: linked_… tell where one began.
CREATE MATERIALIZED VIEW liquidations AS
SELECT block_number, block_timestamp, transaction_hash, log_index, protocol, version, event, market,
       liquidator, borrower, debt_token, debt_repaid, collateral_token, collateral_seized,
       received_token, received_amount, bad_debt,
       round(bonus_bps, 1) AS bonus_bps, round(profit_usd, 2) AS profit_usd, trigger_tx,
       linked_event, linked_block_number, linked_tx_hash, linked_borrower, linked_market_id
FROM eth.liquidations;

-- One story a borrower: a position is often sold in several pieces.
CREATE ALERT liquidated FROM liquidations WITH (
  key = 'borrower', group_by = 'protocol, coalesce(borrower, market)',
  severity = 'CASE WHEN bad_debt > 0 THEN ''critical'' WHEN bonus_bps > 1000 THEN ''high'' ELSE ''medium'' END',
  title = '{{ protocol }}: {{ entity|short }} is liquidated',
  reason = '{{ event }} in block {{ block_number }}{% if debt_repaid %}: {{ debt_repaid }} of {{ debt_token|short }} repaid{% endif %}{% if collateral_seized %}, {{ collateral_seized }} of {{ collateral_token|short }} seized{% endif %}',
  why = '{% if bad_debt and bad_debt != ''0'' %}bad debt {{ bad_debt }}{% elif bonus_bps %}bonus {{ bonus_bps }} basis points{% endif %}',
  cool_after = INTERVAL '10 minutes', resolve_after = INTERVAL '1 hour'
);

CREATE SINK liquidated_out FROM liquidated WITH (connector = 'stdout');

-- Loans that were not covered by what secured them: somebody else pays.
CREATE SINK bad_debts FROM (SELECT * FROM liquidations WHERE bad_debt > 0) WITH (connector = 'stdout') EMIT CHANGES;

CREATE SINK watch FROM liquidations WITH (connector = 'stdout') EMIT CHANGES;
CREATE SINK liquidations_parquet FROM liquidations
WITH (connector = 'parquet', path = 'out/liquidations', mode = 'changelog') EMIT ON FINALITY;

-- Auctions that begin (bark, bite, kick) and positions that the protocol takes over (absorb_…) have no
-- buyer yet; they are counted apart.
CREATE MATERIALIZED VIEW liquidations_hour AS
SELECT protocol, window_start, window_end,
       count(*) FILTER (WHERE event NOT IN ('bark', 'bite', 'kick', 'absorb_debt', 'absorb_collateral')) AS bought,
       count(*) FILTER (WHERE event IN ('bark', 'bite', 'kick', 'absorb_debt', 'absorb_collateral')) AS taken_over,
       count(DISTINCT borrower) AS borrowers,
       count(DISTINCT liquidator) AS liquidators,
       count(trigger_tx) AS after_oracle_update,
       sum(profit_usd) AS profit_usd
FROM TUMBLE(eth.liquidations, block_timestamp, INTERVAL '1 hour')
GROUP BY protocol, window_start, window_end
ORDER BY window_start, protocol;

CREATE SINK hours_parquet FROM liquidations_hour WITH (connector = 'parquet', path = 'out/liquidations_hour');
