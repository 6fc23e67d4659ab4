#!/usr/bin/env python3
"""Compares the rows that `highwater-benches q1 --out OUT` wrote with DuckDB's answer, value by value.

  check_q1.py --data DIR --out OUT [--blocks N]

Needs the Python package duckdb. Averages are compared as doubles, everything else exactly.
"""
import argparse
import json
import sys

import duckdb

OURS = """
SELECT to_address AS who, epoch_ms(window_start) AS win_ms, epoch_ms(window_end) AS end_ms, total AS n, failed,
       gas::HUGEINT AS gas, average_price AS avg_gp, highest_price AS max_gp FROM read_parquet({files})
"""
DUCKDB = """
SELECT "to" AS who, epoch_ms(time_bucket(INTERVAL 5 MINUTE, block_time)) AS win_ms, win_ms + 300000 AS end_ms, count(*) AS n,
       count(*) FILTER (NOT success) AS failed, sum(gas_used)::HUGEINT AS gas, avg(gas_price) AS avg_gp, max(gas_price) AS max_gp
FROM read_parquet('{data}/txs.parquet') {where} GROUP BY 1, 2
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--blocks", type=int, help="as given to q1")
    arguments = parser.parse_args()
    manifest = json.load(open(f"{arguments.out}/_manifest.json"))
    files = [f"{arguments.out}/{part['file']}" for part in manifest["files"]]
    where = ""
    if arguments.blocks:
        first = json.load(open(f"{arguments.data}/meta.json"))["first_block"]
        where = f"WHERE block_number < {first + arguments.blocks}"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE TABLE ours AS " + OURS.format(files=files))
    connection.execute("CREATE TABLE theirs AS " + DUCKDB.format(data=arguments.data, where=where))
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("ours", "theirs")}
    exact = "who, win_ms, end_ms, n, failed, gas, max_gp"
    differ = connection.execute(
        f"SELECT count(*) FROM ((SELECT {exact} FROM ours EXCEPT ALL SELECT {exact} FROM theirs) UNION ALL "
        f"(SELECT {exact} FROM theirs EXCEPT ALL SELECT {exact} FROM ours))").fetchone()[0]
    averages = connection.execute(
        "SELECT count(*) FROM ours JOIN theirs USING (who, win_ms) "
        "WHERE abs(ours.avg_gp - theirs.avg_gp) > 1e-12 * abs(theirs.avg_gp)").fetchone()[0]
    print(json.dumps({**counts, "rows_that_differ": differ, "averages_that_differ": averages}))
    sys.exit(0 if counts["ours"] == counts["theirs"] and differ == averages == 0 and counts["ours"] > 0 else 1)


if __name__ == "__main__":
    main()
