#!/usr/bin/env python3
"""Compares the rows that `highwater-benches q3|q4 --out OUT` wrote with DuckDB's answer, value by value.

  check_q3_q4.py q3|q4 --data DIR --out OUT

Needs the Python package duckdb. Amounts and prices of the workload are multiples of 2^-10, so even the sums of
floats are exact and must be equal.
"""
import argparse
import json
import sys

import duckdb

OURS = {
    "q3": "SELECT epoch_ms(window_end) - 300000 AS win_ms, place, to_address AS who, gas::HUGEINT AS gas FROM {ours}",
    "q4": "SELECT pool, epoch_ms(hour) AS hour_ms, total, volume FROM {ours}",
}
THEIRS = {
    "q3": """SELECT win_ms, place, who, gas FROM (
  SELECT *, row_number() OVER (PARTITION BY win_ms ORDER BY gas DESC, who) AS place FROM (
    SELECT epoch_ms(time_bucket(INTERVAL 5 MINUTE, block_time)) AS win_ms, "to" AS who, sum(gas_used)::HUGEINT AS gas
    FROM read_parquet('{data}/txs.parquet') GROUP BY ALL)) WHERE place <= 10""",
    "q4": """SELECT pool, epoch_ms(date_trunc('hour', block_time)) AS hour_ms, count(*) AS total,
  sum(amount_sold * price) AS volume
FROM read_parquet('{data}/trades.parquet') t JOIN (
  SELECT token, hour, arg_max(price, revision) AS price FROM read_parquet('{data}/prices.parquet') GROUP BY ALL) p
ON p.token = t.token_sold AND p.hour = date_trunc('hour', block_time) GROUP BY ALL""",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("query", choices=OURS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    manifest = json.load(open(f"{arguments.out}/_manifest.json"))
    files = [f"{arguments.out}/{part['file']}" for part in manifest["files"]]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    ours = OURS[arguments.query].format(ours=f"read_parquet({files})")
    connection.execute(f"CREATE TABLE ours AS {ours}")
    connection.execute(f"CREATE TABLE theirs AS {THEIRS[arguments.query].format(data=arguments.data)}")
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("ours", "theirs")}
    differ = connection.execute(
        "SELECT count(*) FROM ((FROM ours EXCEPT ALL FROM theirs) UNION ALL (FROM theirs EXCEPT ALL FROM ours))"
    ).fetchone()[0]
    print(json.dumps({**counts, "rows_that_differ": differ}))
    sys.exit(0 if counts["ours"] == counts["theirs"] > 0 and differ == 0 else 1)


if __name__ == "__main__":
    main()
