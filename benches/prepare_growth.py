"""Cuts the workload down to what `growth` reads: twenty transactions and trades of each block, and all transfers;
and a label of each pool.

python3 benches/prepare_growth.py --data DIR --out DIR2      (package pyarrow)

Block number and time are marked as never NULL, as those of a chain are, so that joins by block are known to be such.
"""

import argparse
import pathlib
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TABLES = {
    "txs": ["tx_index", "to", "gas_used", "gas_price", "success"],
    "trades": ["tx_index", "pool", "token_bought", "token_sold", "amount_sold"],
    "transfers": ["from", "to"],
}
NAMES = {"to": "to_address", "from": "from_address"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=20, help="of a block")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, wanted in TABLES.items():
        table = pq.read_table(arguments.data / f"{name}.parquet", columns=["block_number", "block_time", *wanted])
        if "tx_index" in wanted:
            table = table.filter(pc.less(table["tx_index"], arguments.rows))
        times = table["block_time"].cast(pa.timestamp("ms", "UTC"))
        columns = [table["block_number"], times, *(table[column] for column in wanted)]
        known = [pa.field("block_number", pa.int64(), False), pa.field("block_timestamp", times.type, False)]
        fields = known + [pa.field(NAMES.get(column, column), table[column].type) for column in wanted]
        table = pa.Table.from_arrays(columns, schema=pa.schema(fields))
        pq.write_table(table, arguments.out / f"{name}.parquet", row_group_size=262_144, compression="zstd")
        print(f"{table.num_rows} rows of {name}")
    pools = pc.unique(pq.read_table(arguments.out / "trades.parquet", columns=["pool"])["pool"]).sort()
    labels = pa.array([f"pool {place}" for place in range(len(pools))])
    pq.write_table(pa.table({"pool": pools, "label": labels}), arguments.out / "labels.pq")
    shutil.copy(arguments.data / "meta.json", arguments.out)


if __name__ == "__main__":
    main()
