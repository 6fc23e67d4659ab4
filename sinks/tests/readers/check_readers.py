#!/usr/bin/env python3
"""Checks that DuckDB, Polars and pyarrow read our Parquet exactly.

    cargo run -p highwater-sinks --example write_reader_fixture -- FOLDER
    python3 sinks/tests/readers/check_readers.py FOLDER

Needs the packages duckdb, polars and pyarrow. Every column of every folder is compared with
FOLDER/rows.jsonl, value by value; the exit status is 1 if one differs.
"""

import datetime
import decimal
import json
import pathlib
import sys

import duckdb
import polars
import pyarrow.dataset

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DECIMAL_END = 10**38


def with_duckdb(folder):
    connection = duckdb.connect()
    source = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    columns = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    # The Python client needs a further package for time zones; the number says the same.
    shown = [f'epoch_ms("{name}")' if kind.startswith("TIMESTAMP") else f'"{name}"' for name, kind, *_ in columns]
    rows = connection.execute(f"SELECT {', '.join(shown)} FROM {source}").fetchall()
    return [dict(zip([column[0] for column in columns], row)) for row in rows]


def with_polars(folder):
    return polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).to_dicts()


def with_pyarrow(folder):
    # Keeps to the files of the manifest, as a careful reader does; the others take all files.
    names = [part["file"] for part in json.loads((folder / "_manifest.json").read_text())["files"]]
    return pyarrow.dataset.dataset([str(folder / name) for name in names]).to_table().to_pylist()


READERS = {"duckdb": with_duckdb, "polars": with_polars, "pyarrow": with_pyarrow}


def canonical(value):
    """A value of any reader in one form."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "0x" + bytes(value).hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def milliseconds(text):
    text = text.removesuffix("Z")
    form = "%Y-%m-%dT%H:%M:%S.%f" if "." in text else "%Y-%m-%dT%H:%M:%S"
    time = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
    return (time - EPOCH) // datetime.timedelta(milliseconds=1)


def expected(name, kind, value):
    """What the columns made of one column must hold, by name of the column."""
    if kind not in ("uint256", "int256"):
        if value is not None and kind == "timestamp":
            value = milliseconds(value)
        if value is not None and kind == "float":
            value = float(value)  # JSON has no sign of its own for whole doubles
        return {name: value}
    if value is None:
        return {name + suffix: None for suffix in ("", "_d128", "_f64", "_string")}
    number = int(value)
    stored = number.to_bytes(32, "big", signed=kind == "int256")
    return {
        name: "0x" + stored.hex(),
        name + "_d128": str(number) if abs(number) < DECIMAL_END else None,
        name + "_f64": float(number),
        name + "_string": value,
    }


def same(wanted, found):
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def compare(form, reader, rows, kinds, found, differences):
    found = {row["id"]: row for row in found}
    if sorted(found) != sorted(row["id"] for row in rows):
        differences.append(f"{form}, {reader}: rows {sorted(found)}")
        return 0
    count = 0
    for row in rows:
        for name, kind in kinds.items():
            for column, wanted in expected(name, kind, row[name]).items():
                if column not in found[row["id"]]:
                    if column == name or (column.endswith("_d128") or form == "all_words"):
                        differences.append(f"{form}, {reader}: no column {column}")
                    continue
                value = canonical(found[row["id"]][column])
                count += 1
                if not same(wanted, value):
                    differences.append(f"{form}, {reader}, row {row['id']}, {column}: {value!r} is not {wanted!r}")
    return count


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    kinds = json.loads((root / "columns.json").read_text())
    rows = [json.loads(line) for line in (root / "rows.jsonl").read_text().splitlines()]
    differences = []
    forms = sorted(path for path in root.iterdir() if path.is_dir())
    if not forms:
        sys.exit(f"no folder of Parquet in {root}")
    for name, read in READERS.items():
        values = 0
        for form in forms:
            try:
                found = read(form)
            except Exception as error:  # a reader that refuses a file is a difference too
                differences.append(f"{form.name}, {name}: {error}")
                continue
            values += compare(form.name, name, rows, kinds, found, differences)
        print(f"{name}: {values} values compared in {len(forms)} forms")
    for difference in differences:
        print(difference, file=sys.stderr)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
