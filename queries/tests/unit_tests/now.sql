-- now() against times finer than its milliseconds.
CREATE TABLE fine (id INT, ts TIMESTAMP(6)) AS VALUES (0, '2000-01-01 00:00:00');

CREATE MATERIALIZED VIEW gt WITH (unbounded = 'yes') AS SELECT id FROM fine WHERE ts > now() - INTERVAL '1 second';
CREATE MATERIALIZED VIEW ge WITH (unbounded = 'yes') AS SELECT id FROM fine WHERE ts >= now() - INTERVAL '1 second';
CREATE MATERIALIZED VIEW lt WITH (unbounded = 'yes') AS SELECT id FROM fine WHERE ts < now() - INTERVAL '1 second';
CREATE MATERIALIZED VIEW le WITH (unbounded = 'yes') AS SELECT id FROM fine WHERE ts <= now() - INTERVAL '1 second';

EXECUTE UNIT TEST gt_within_a_millisecond FOR gt AT TIME '2024-01-01 00:00:01'
MOCK fine (id, ts) AS (VALUES
  (1, '2023-12-31 23:59:59.999999'), (2, '2024-01-01 00:00:00'), (3, '2024-01-01 00:00:00.000001'))
EXPECTED (id) AS (VALUES (3));

EXECUTE UNIT TEST ge_within_a_millisecond FOR ge AT TIME '2024-01-01 00:00:01'
MOCK fine (id, ts) AS (VALUES
  (1, '2023-12-31 23:59:59.999999'), (2, '2024-01-01 00:00:00'), (3, '2024-01-01 00:00:00.000001'))
EXPECTED (id) AS (VALUES (2), (3));

EXECUTE UNIT TEST lt_within_a_millisecond FOR lt AT TIME '2024-01-01 00:00:01'
MOCK fine (id, ts) AS (VALUES
  (1, '2023-12-31 23:59:59.999999'), (2, '2024-01-01 00:00:00'), (3, '2024-01-01 00:00:00.000001'))
EXPECTED (id) AS (VALUES (1));

EXECUTE UNIT TEST le_within_a_millisecond FOR le AT TIME '2024-01-01 00:00:01'
MOCK fine (id, ts) AS (VALUES
  (1, '2023-12-31 23:59:59.999999'), (2, '2024-01-01 00:00:00'), (3, '2024-01-01 00:00:00.000001'))
EXPECTED (id) AS (VALUES (1), (2));
