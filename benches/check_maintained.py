#!/usr/bin/env python3
"""Answers the queries of TPC-H or Nexmark with DuckDB, once over all rows; compares what `maintained --out OUT` wrote.

python3 benches/check_maintained.py tpch|nexmark --data DIR --out OUT [--only q05,q17]

Needs the package duckdb. Prints one JSON object a query: DuckDB's CPU seconds (one thread, Parquet to Parquet), and
how many rows differ. Fails if any do. Numbers are the same if they agree in nine digits or in seven after the point,
because a quotient of decimals has eight of ours and is a float of DuckDB's.
"""

import argparse
import collections
import datetime
import decimal
import json
import multiprocessing
import pathlib
import re
import resource
import sys
import tempfile

import duckdb

STOCK_SHARE = "0.05"


def seconds(interval):
    return int(re.match(r"INTERVAL '(\d+) seconds'", interval)[1])


def hops(relation, time, slide, size):
    """A hopping window as the sum of its shifted tumbling windows; the size is a multiple of the slide."""
    starts = [
        f"SELECT *, time_bucket({slide}, {time}, TIMESTAMP '1970-01-01') - INTERVAL '{back} seconds' AS window_start"
        f" FROM {relation}"
        for back in range(0, seconds(size), seconds(slide))
    ]
    return f"(SELECT *, window_start + {size} AS window_end FROM ({' UNION ALL '.join(starts)}))"


def sessions(relation, time, gap, key):
    return (
        f"(SELECT *, min({time}) OVER (PARTITION BY {key}, session) AS window_start,"
        f" max({time}) OVER (PARTITION BY {key}, session) + {gap} AS window_end FROM"
        f" (SELECT *, sum(fresh) OVER (PARTITION BY {key} ORDER BY {time} RANGE UNBOUNDED PRECEDING) AS session FROM"
        f" (SELECT *, CASE WHEN lag({time}) OVER (PARTITION BY {key} ORDER BY {time}) + {gap} > {time} THEN 0"
        f" ELSE 1 END AS fresh FROM {relation})))"
    )


def dialect(text):
    """A query of ours as DuckDB reads it."""
    text = re.sub(r"--.*", "", text)
    for name, call in (("TUMBLE", lambda *given: hops(*given, given[-1])), ("HOP", hops), ("SESSION", sessions)):
        text = re.sub(rf"\b{name}\(([^)]*)\)", lambda found: call(*map(str.strip, found[1].split(","))), text)
    text = text.replace("to_char(", "strftime(").replace("'YYYY-MM-DD'", "'%Y-%m-%d'").replace("'HH24:MI'", "'%H:%M'")
    return re.sub(r"regexp_match\((.*)\)\[(\d)\]", r"nullif(regexp_extract(\1, \2), '')", text)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def answer(tables, data, text, out, pipe):
    """In a process of its own, as CPU time and memory are a process's."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    for table in tables:
        rows = f"SELECT * EXCLUDE (block_number, block_timestamp) FROM '{data}/{table}.parquet'"
        connection.execute(f"CREATE VIEW {table} AS {rows}")
    before = cpu()
    connection.execute(f"COPY ({text}) TO '{out}' (FORMAT parquet)")
    used = cpu() - before
    peak = re.search(r"VmHWM:\s*(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
    pipe.send((used, int(peak) / 1024))


def value(given):
    """One form for what the two engines have different types for."""
    if isinstance(given, datetime.datetime):
        return given.replace(tzinfo=None)
    if isinstance(given, str) and re.fullmatch(r"-?\d+(\.\d+)?", given):
        given = float(given)
    if isinstance(given, (bool, int, float, decimal.Decimal)):
        return f"{round(float(given), 7) + 0.0:.8e}"
    return given


def rows(connection, files, columns):
    """Each row, by how often it is there."""
    read = connection.execute(f"SELECT {columns} FROM read_parquet({files})")
    found = collections.Counter()
    while batch := read.fetchmany(100_000):
        found.update(tuple(map(value, row)) for row in batch)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", choices=["tpch", "nexmark"])
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="rows to compare with; without it only DuckDB is measured")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--queries", type=pathlib.Path, default="queries/tests")
    arguments = parser.parse_args()
    folder = arguments.queries / arguments.workload
    tables = re.findall(r"CREATE TABLE (\w+)", (folder / "tables.sql").read_text())
    size = json.loads((arguments.data / "meta.json").read_text())["size"]
    queries = sorted(path.stem for path in folder.glob("q*.sql"))
    wrong = 0
    for query in arguments.only or queries:
        text = (folder / f"{query}.sql").read_text()
        if (arguments.workload, query) == ("tpch", "q11"):
            text = text.replace(STOCK_SHARE, f"{0.0001 / size:.10f}")
        with tempfile.TemporaryDirectory() as made:
            theirs = f"{made}/rows.parquet"
            here, there = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=answer, args=(tables, str(arguments.data), dialect(text), theirs, there)
            )
            process.start()
            there.close()
            used, peak = here.recv()
            process.join()
            result = {"engine": "duckdb", "query": f"{arguments.workload} {query}"}
            result |= {"cpu_s": round(used, 3), "peak_rss_mb": round(peak, 1)}
            if arguments.out:
                manifest = json.loads((arguments.out / query / "_manifest.json").read_text())
                ours = [str(arguments.out / query / part["file"]) for part in manifest["files"]]
                connection = duckdb.connect()
                connection.execute("SET TimeZone = 'UTC'")
                columns = [row[0] for row in connection.execute(f"DESCRIBE FROM read_parquet('{theirs}')").fetchall()]
                columns = ", ".join(f'"{column}"' for column in columns)
                ours, theirs = rows(connection, ours, columns), rows(connection, [theirs], columns)
                differ = (ours - theirs).total() + (theirs - ours).total()
                result |= {"ours": ours.total(), "theirs": theirs.total(), "rows_that_differ": differ}
                wrong += differ > 0 or ours.total() == 0
        print(json.dumps(result), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
