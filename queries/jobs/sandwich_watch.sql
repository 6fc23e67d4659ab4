-- Sandwiches as they happen: who was squeezed, by whom, what it earned, what it cost the victims. A reorg
-- that takes a block back takes its sandwiches back. No traces needed.
--
--   highwater run queries/jobs/sandwich_watch.sql

CREATE SOURCE eth WITH (
  connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12,
  factories = '0x5FC8d32690cc91D4c39d9d3abcBD16989F875707, 0x0165878A594ca255338adfa4d48449f69242Eb8F, 0x8A791620dd6260079BF849Dc5567aDC3F2FdC318'
);

-- What this chain's coins are. Of Ethereum and other known chains Highwater knows that by itself.
SET mev.wrapped_native = '0x5FbDB2315678afecb367f032d93F642f64180aa3';
SET mev.stablecoins = '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512:6, 0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0:18';

CREATE MATERIALIZED VIEW sandwiches AS
SELECT block_number, block_timestamp, protocol, pool, attacker_eoa, attacker_contract, token_in,
       victim_count, front_txs, victim_txs, back_txs,
       format_units(gross_profit, 18) AS gross_profit, format_units(net_profit, 18) AS net_profit, profit_usd,
       victim_loss, "match", confidence
FROM eth.sandwiches
WHERE confidence <> 'low';

CREATE SINK sandwiches_out FROM sandwiches WITH (connector = 'stdout');

-- One story an attacker: ten sandwiches in a minute are one message that grows.
CREATE ALERT sandwich_attacks FROM sandwiches WITH (
  key = 'pool', group_by = 'coalesce(attacker_contract, attacker_eoa)',
  severity = 'CASE WHEN profit_usd > 10000 THEN ''critical'' WHEN profit_usd > 1000 OR victim_count > 2 THEN ''high'' ELSE ''medium'' END',
  score = 'least(5.0, 1.0 + victim_count)',
  title = '{{ group|short }} sandwiches on {{ protocol }}',
  reason = '{{ victim_count }} trade{{ ''s'' if victim_count > 1 }} in block {{ block_number }} on {{ pool|short }}, {{ gross_profit }} earned',
  body = '{{ occurrences }} sandwich{{ ''es'' if occurrences > 1 }} on {{ entity_count }} pool{{ ''s'' if entity_count > 1 }} since {{ opened_at }}',
  why = '{{ confidence }} confidence, amounts {{ match }}',
  cool_after = INTERVAL '2 minutes', resolve_after = INTERVAL '10 minutes'
);

CREATE SINK attacks FROM sandwich_attacks WITH (connector = 'stdout', group_wait = INTERVAL '24 seconds');

-- One row a trade, for analysts: role is front, victim or back.
CREATE SINK sandwich_legs FROM (
  SELECT sandwich_id, block_number, block_timestamp, role, transaction_hash, log_index, tx_from, pool,
         token_sold, token_bought, amount_sold, amount_bought
  FROM eth.sandwich_legs
) WITH (connector = 'parquet', path = 'out/sandwich_legs', mode = 'changelog') EMIT ON FINALITY;
