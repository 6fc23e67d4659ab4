-- Unit tests of a small job: blocks that come, and one that is taken back.

CREATE SOURCE eth WITH (connector = 'simulator');
CREATE TABLE known (address ADDRESS, label TEXT) AS VALUES ('0x00000000000000000000000000000000000000aa', 'exchange');

CREATE VIEW large AS
SELECT block_number, from_address, value FROM eth.transactions WHERE value >= 100;

CREATE MATERIALIZED VIEW senders WITH (unbounded = 'yes') AS
SELECT l.from_address, coalesce(k.label, 'unknown') AS label, count(*) AS n, sum(l.value) AS total
FROM large l LEFT JOIN known k ON k.address = l.from_address
GROUP BY l.from_address, coalesce(k.label, 'unknown');

CREATE MATERIALIZED VIEW recent WITH (unbounded = 'yes') AS
SELECT from_address FROM eth.transactions WHERE block_timestamp > now() - INTERVAL '1 minute';

EXECUTE UNIT TEST counts_large_ones FOR senders
MOCK eth.transactions (block_number, from_address, value) AS (VALUES
  (1, '0x00000000000000000000000000000000000000aa', 150),
  (2, '0x00000000000000000000000000000000000000bb', 100),
  (2, '0x00000000000000000000000000000000000000bb', 99))
EXPECTED (label, n, total) AS (VALUES ('exchange', 1, 150), ('unknown', 1, 100))
REORG 1
MOCK eth.transactions (block_number, from_address, value) AS (VALUES
  (2, '0x00000000000000000000000000000000000000aa', 1000))
EXPECTED (label, n, total) AS (VALUES ('exchange', 2, 1150));

EXECUTE UNIT TEST tables_can_be_given FOR senders
MOCK known (address, label) AS (VALUES ('0x00000000000000000000000000000000000000bb', 'mine'))
MOCK eth.transactions (from_address, value) AS (VALUES ('0x00000000000000000000000000000000000000bb', 100))
EXPECTED (label, n) AS (VALUES ('mine', 1));

EXECUTE UNIT TEST views_can_be_given FOR senders
MOCK large (from_address, value) AS (VALUES ('0x00000000000000000000000000000000000000aa', 7))
EXPECTED (label, total) AS (VALUES ('exchange', 7));

EXECUTE UNIT TEST time_goes_by FOR recent AT TIME '2024-01-01 00:01:30'
MOCK eth.transactions (block_number, block_timestamp, from_address) AS (VALUES
  (1, '2024-01-01 00:00:00', '0x00000000000000000000000000000000000000aa'),
  (2, '2024-01-01 00:01:00', '0x00000000000000000000000000000000000000bb'))
EXPECTED (from_address) AS (VALUES ('0x00000000000000000000000000000000000000bb'));

EXECUTE UNIT TEST nothing_from_nothing FOR senders
EXPECTED (label) AS (SELECT 'x' WHERE false);
