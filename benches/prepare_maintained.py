#!/usr/bin/env python3
"""Makes the tables of TPC-H and Nexmark as Parquet whose rows come block by block, for `maintained`.

python3 benches/prepare_maintained.py --out DIR [--scale 1] [--events 1000000]

Needs the packages pyarrow, numpy and tpchgen-cli. TPC-H's rows are those of its own generator (specification, clause
4.2) at the scale; regions and nations are there at once, the rows of every other table come evenly over all blocks, in
the order of their keys, lines with their order. Nexmark's are events of one millisecond each, a person and three
auctions to 46 bids, in the proportions of the suite's generator: half of all bids are on the hot auction, three of four
are of the hot bidder, three of four auctions of the hot seller, and half of the bids come by one of four channels.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCKS = 1_000
START_MS = 1_437_004_770_000  # 2015-07-15 23:59:30, so that days and minutes change
BLOCK_MS = 1_000

PERSONS_IN_50, AUCTIONS_IN_50 = 1, 3
FIRST_ID, FIRST_CATEGORY, CATEGORIES = 1_000, 10, 5
ACTIVE_PERSONS, OPEN_AUCTIONS, HOT_STEP, CHANNELS = 1_000, 100, 100, 10_000
STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
CITIES = ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent"]
FIRST_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"]
LAST_NAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]


def write(folder, name, columns, blocks):
    """Writes a table whose rows are in the order of their blocks."""
    times = pa.array((START_MS + blocks * BLOCK_MS).astype("datetime64[ms]")).cast(pa.timestamp("ms", "UTC"))
    known = [pa.field("block_number", pa.int64(), False), pa.field("block_timestamp", times.type, False)]
    fields = known + [pa.field(column, values.type) for column, values in columns.items()]
    table = pa.Table.from_arrays([pa.array(blocks), times, *columns.values()], schema=pa.schema(fields))
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=262_144, compression="zstd")
    print(f"{table.num_rows} rows of {folder.name}/{name}")


def evenly(places, rows):
    return 1 + places * BLOCKS // max(rows, 1)


def tpch(folder, scale):
    with tempfile.TemporaryDirectory() as made:
        command = ["tpchgen-cli", "parquet", "--scale-factor", str(scale), "--output-dir", made]
        subprocess.run(command, check=True)
        read = {path.stem: pq.read_table(path) for path in sorted(pathlib.Path(made).glob("*.parquet"))}
    orders = read["orders"]["o_orderkey"].to_numpy()
    for name, table in read.items():
        if name in ("region", "nation"):
            blocks = np.ones(table.num_rows, np.int64)
        elif name == "lineitem":
            blocks = evenly(np.searchsorted(orders, table["l_orderkey"].to_numpy()), len(orders))
        else:
            blocks = evenly(np.arange(table.num_rows), table.num_rows)
        columns = {}
        for column in table.column_names:
            values = table[column].combine_chunks()
            is_text = pa.types.is_string(values.type) or pa.types.is_string_view(values.type)
            columns[column] = values.cast(pa.string()) if is_text else values
        write(folder, name, columns, blocks)


def texts(choices, places):
    return pa.array(choices).take(pa.array(places))


def words(random, rows, letters):
    """Lower-case text of so many letters a row."""
    bytes_of = random.integers(ord("a"), ord("z") + 1, (rows, letters), np.uint8)
    return pa.array(bytes_of.reshape(-1).view(f"S{letters}").astype(str))


def nexmark(folder, events):
    random = np.random.default_rng(7)
    event = np.arange(events, dtype=np.int64)
    place = event % 50
    is_person = place < PERSONS_IN_50
    is_auction = ~is_person & (place < PERSONS_IN_50 + AUCTIONS_IN_50)
    is_bid = ~is_person & ~is_auction
    # How many there are at each event, its own among them.
    persons = np.maximum(np.cumsum(is_person), 1)
    auctions = np.maximum(np.cumsum(is_auction), 1)

    def known(counts, recent):
        """One of the newest, of which there are so many."""
        return FIRST_ID + counts - 1 - random.integers(0, np.minimum(counts, recent))

    def hot(counts, often):
        """The first of the last hundred, in all but one of so many rows."""
        return random.integers(0, often, len(counts)) > 0, FIRST_ID + (counts - 1) // HOT_STEP * HOT_STEP

    def price(rows):
        return np.round(np.power(10.0, random.random(rows) * 6) * 100).astype(np.int64)

    def table(name, chosen, columns):
        columns["date_time"] = pa.array((START_MS + event[chosen]).astype("datetime64[ms]"))
        write(folder, name, columns, evenly(event[chosen], events))

    rows = int(is_person.sum())
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    table("person", is_person, {
        "id": pa.array(FIRST_ID + np.arange(rows, dtype=np.int64)),
        "name": texts(names, random.integers(0, len(names), rows)),
        "email_address": words(random, rows, 12),
        "credit_card": pa.array([f"{digits:016d}" for digits in random.integers(0, 10**16, rows)]),
        "city": texts(CITIES, random.integers(0, len(CITIES), rows)),
        "state": texts(STATES, random.integers(0, len(STATES), rows)),
        "extra": words(random, rows, 80),
    })

    rows = int(is_auction.sum())
    is_hot, seller = hot(persons[is_auction], 4)
    opened, initial = START_MS + event[is_auction], price(rows)
    # As long as it takes until a hundred auctions have come.
    length = 1 + random.integers(0, 2 * OPEN_AUCTIONS * 50 // AUCTIONS_IN_50, rows)
    table("auction", is_auction, {
        "id": pa.array(FIRST_ID + np.arange(rows, dtype=np.int64)),
        "item_name": words(random, rows, 20),
        "description": words(random, rows, 60),
        "initial_bid": pa.array(initial),
        "reserve": pa.array(initial + price(rows)),
        "expires": pa.array((opened + length).astype("datetime64[ms]")),
        "seller": pa.array(np.where(is_hot, seller, known(persons[is_auction], ACTIVE_PERSONS))),
        "category": pa.array(FIRST_CATEGORY + random.integers(0, CATEGORIES, rows)),
        "extra": words(random, rows, 60),
    })

    rows = int(is_bid.sum())
    is_hot, auction = hot(auctions[is_bid], 2)
    auction = np.where(is_hot, auction, known(auctions[is_bid], OPEN_AUCTIONS))
    is_hot, bidder = hot(persons[is_bid], 4)
    channel = random.integers(0, CHANNELS, rows)
    folders = words(random, rows, 5).to_pylist()
    urls = [f"https://www.nexmark.com/{folder}/item/{at % 7}/item.htm?query=1" for folder, at in zip(folders, channel)]
    # Nine of ten other channels are named by the address.
    other = [(f"channel-{at}", f"{url}&channel_id={at}" if at % 10 else url) for at, url in zip(channel, urls)]
    hot_channel = random.integers(0, 2 * len(HOT_CHANNELS), rows)
    chosen = [(HOT_CHANNELS[at], url) if at < len(HOT_CHANNELS) else (name, named)
              for at, url, (name, named) in zip(hot_channel, urls, other)]
    table("bid", is_bid, {
        "auction": pa.array(auction),
        "bidder": pa.array(np.where(is_hot, bidder, known(persons[is_bid], ACTIVE_PERSONS))),
        "price": pa.array(price(rows)),
        "channel": pa.array([name for name, _ in chosen]),
        "url": pa.array([url for _, url in chosen]),
        "extra": words(random, rows, 30),
    })

    key = np.arange(0, 100, 2, dtype=np.int64)
    side = {"key": pa.array(key), "value": pa.array([f"side {at}" for at in key])}
    write(folder, "side_input", side, np.ones(len(key), np.int64))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--scale", type=float, default=1, help="of TPC-H; 1 has 8.7 million rows")
    parser.add_argument("--events", type=int, default=1_000_000, help="of Nexmark")
    arguments = parser.parse_args()
    if shutil.which("tpchgen-cli") is None:
        parser.error("TPC-H's generator is not installed: pip install tpchgen-cli (version 4 or later)")
    for workload, make, size in (("tpch", tpch, arguments.scale), ("nexmark", nexmark, arguments.events)):
        folder = arguments.out / workload
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, size)
        (folder / "meta.json").write_text(json.dumps({"first_block": 1, "blocks": BLOCKS, "size": size}))


if __name__ == "__main__":
    main()
