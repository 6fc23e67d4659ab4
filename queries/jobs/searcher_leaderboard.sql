-- Who earns: searchers by what their sandwiches and arbitrages brought, builders by what they were paid.
--
--   highwater run queries/jobs/searcher_leaderboard.sql

CREATE SOURCE eth WITH (
  connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12,
  factories = '0x5FC8d32690cc91D4c39d9d3abcBD16989F875707, 0x0165878A594ca255338adfa4d48449f69242Eb8F, 0x8A791620dd6260079BF849Dc5567aDC3F2FdC318'
);

SET mev.wrapped_native = '0x5FbDB2315678afecb367f032d93F642f64180aa3';
SET mev.stablecoins = '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512:6, 0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0:18';

-- A searcher is the contract it works through, else the account that sends.
CREATE VIEW takes AS
SELECT block_timestamp, 'sandwich' AS kind, coalesce(attacker_contract, attacker_eoa) AS searcher,
       profit_usd, gas_cost_wei
FROM eth.sandwiches WHERE confidence <> 'low'
UNION ALL
SELECT block_timestamp, 'arbitrage' AS kind, coalesce(contract, account) AS searcher, profit_usd, gas_cost_wei
FROM eth.arbitrages WHERE kind <> 'long_tail';

CREATE MATERIALIZED VIEW searchers AS
SELECT window_start, window_end, searcher, kind, count(*) AS takes,
       sum(profit_usd) AS profit_usd, sum(gas_cost_wei) AS gas_cost_wei
FROM TUMBLE(takes, block_timestamp, INTERVAL '1 hour')
GROUP BY window_start, window_end, searcher, kind;

CREATE MATERIALIZED VIEW searcher_leaderboard AS
SELECT window_start, searcher, kind, takes, round(profit_usd, 2) AS profit_usd, gas_cost_wei, window_end
FROM searchers
QUALIFY row_number() OVER (PARTITION BY window_start, window_end ORDER BY profit_usd DESC NULLS LAST, searcher, kind) <= 10
ORDER BY window_start, profit_usd DESC;

CREATE MATERIALIZED VIEW builders AS
SELECT window_start, window_end, builder, count(*) AS blocks, sum(priority_fees_wei) AS priority_fees_wei,
       sum(tips_wei) AS tips_wei, sum(proposer_payment_wei) AS proposer_payments_wei
FROM TUMBLE(eth.block_attribution, block_timestamp, INTERVAL '1 hour')
GROUP BY window_start, window_end, builder;

CREATE SINK leaderboard FROM searcher_leaderboard WITH (connector = 'stdout');
CREATE SINK builders_out FROM builders WITH (connector = 'stdout');
CREATE SINK searchers_parquet FROM searchers WITH (connector = 'parquet', path = 'out/searchers');
