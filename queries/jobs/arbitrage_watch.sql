-- Atomic arbitrages: transactions that trade in a round over several pools and keep a profit, with the trade
-- that made them possible, in the same block or the one before. Fills of solvers and trades of users through
-- routers are none; what liquidates on the way says so in superseded_by.
--
--   highwater run queries/jobs/arbitrage_watch.sql

CREATE SOURCE eth WITH (
  connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12,
  factories = '0x5FC8d32690cc91D4c39d9d3abcBD16989F875707, 0x0165878A594ca255338adfa4d48449f69242Eb8F, 0x8A791620dd6260079BF849Dc5567aDC3F2FdC318'
);

SET mev.wrapped_native = '0x5FbDB2315678afecb367f032d93F642f64180aa3';
SET mev.stablecoins = '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512:6, 0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0:18';

CREATE MATERIALIZED VIEW arbitrages AS
SELECT block_number, block_timestamp, transaction_hash, kind, account, contract, swap_count, pools, profit_token,
       format_units(profit, 18) AS profit, format_units(net_profit, 18) AS net_profit, profit_usd,
       flash_loan, trigger_tx, trigger_distance, trigger_same_block, superseded_by, confidence
FROM eth.arbitrages
WHERE kind <> 'long_tail';

CREATE SINK arbitrages_out FROM arbitrages WITH (connector = 'stdout');

CREATE SINK arbitrages_parquet FROM arbitrages
WITH (connector = 'parquet', path = 'out/arbitrages', mode = 'changelog') EMIT ON FINALITY;
