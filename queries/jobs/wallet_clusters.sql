-- Who pays whom first: wallets that fund each other form clusters, one cluster for each connected component of the
-- funding transfers. Taking a transfer back (a reorg) takes the clusters apart again. A hub with very many
-- neighbours (an exchange) would join everybody: above the limit it connects nothing.
--
--   highwater run queries/jobs/wallet_clusters.sql
--   highwater explain queries/jobs/wallet_clusters.sql --state

CREATE SOURCE eth WITH (connector = 'recording', path = 'data/devnet/blocks.ndjson.gz', confirmations = 12);

-- The first transfer that a wallet ever gets with an empty history funds it.
CREATE MATERIALIZED VIEW funding WITH (unbounded = 'yes') AS
SELECT to_address AS wallet, from_address AS funder, block_number, transaction_hash, value
FROM eth.transactions
WHERE value > 0 AND to_address IS NOT NULL AND success
QUALIFY row_number() OVER (PARTITION BY to_address ORDER BY block_number, transaction_index) = 1;

CREATE MATERIALIZED VIEW wallet_clusters WITH (unbounded = 'yes') AS
SELECT node AS wallet, component AS cluster_id
FROM CONNECTED_COMPONENTS(funding, funder, wallet, 1000);

CREATE MATERIALIZED VIEW cluster_sizes WITH (unbounded = 'yes') AS
SELECT cluster_id, count(*) AS wallets FROM wallet_clusters GROUP BY cluster_id HAVING count(*) > 1;

-- The same by recursion, as plain SQL has it: the least label that reaches a wallet. Slower, and a check.
CREATE MATERIALIZED VIEW clusters_by_recursion WITH (unbounded = 'yes') AS
WITH MUTUALLY RECURSIVE (ERROR AT RECURSION LIMIT 1000)
  edges (a ADDRESS, b ADDRESS) AS (
    SELECT funder, wallet FROM funding UNION SELECT wallet, funder FROM funding
  ),
  labels (wallet ADDRESS, cluster_id ADDRESS) AS (
    SELECT wallet, min(cluster_id) FROM (
      SELECT a AS wallet, a AS cluster_id FROM edges
      UNION ALL
      SELECT edges.b, labels.cluster_id FROM labels JOIN edges ON edges.a = labels.wallet
    ) candidates GROUP BY wallet
  )
SELECT wallet, cluster_id FROM labels;

-- Nothing is in here while both agree.
CREATE MATERIALIZED VIEW disagreements WITH (unbounded = 'yes') AS
SELECT wallet, cluster_id FROM wallet_clusters EXCEPT ALL SELECT wallet, cluster_id FROM clusters_by_recursion;

CREATE SINK clusters_out FROM wallet_clusters WITH (connector = 'parquet', path = 'out/wallet_clusters', mode = 'changelog');
CREATE SINK sizes_out FROM cluster_sizes WITH (connector = 'stdout');
CREATE SINK disagreements_out FROM disagreements WITH (connector = 'stdout');
