"""Brings the workload's trades.parquet into the columns of Highwater's `dex_trades`, for q2.

python3 benches/prepare_q2.py --data DIR --out DIR2      (package pyarrow)
"""

import argparse
import pathlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def fixed(column, width):
    """Bytes of one width, from binary or hex text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == width:
        return column
    values = column.unique()
    texts = [value.as_py() for value in values]
    raw = [bytes.fromhex(text[2:]) if isinstance(text, str) else bytes(text) for text in texts]
    padded = pa.array([value[-width:].rjust(width, b"\0") for value in raw], pa.binary(width))
    return pc.take(padded, pc.index_in(column, value_set=values))


def wide(column):
    """Decimal texts as 32 bytes, most significant first."""
    return pa.array([int(value.as_py()).to_bytes(32, "big") for value in column], pa.binary(32))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    trades = pq.read_table(arguments.data / "trades.parquet").combine_chunks()
    rows = trades.num_rows

    def repeat(value, kind):
        return pa.repeat(pa.scalar(value, kind), rows)

    def nothing(kind):
        return pa.nulls(rows, kind)

    column = {name: trades.column(name).combine_chunks() for name in trades.column_names}
    block = column["block_number"].cast(pa.int64())
    hashes = block.unique()
    by_block = pa.array([b"\1" * 24 + number.as_py().to_bytes(8, "big") for number in hashes], pa.binary(32))
    uint256 = {b"ARROW:extension:name": b"highwater.uint256"}
    columns = [
        ("chain", repeat("ethereum", pa.string())),
        ("chain_id", repeat(1, pa.int64())),
        ("block_number", block),
        ("block_hash", pc.take(by_block, pc.index_in(block, value_set=hashes))),
        ("block_timestamp", column["block_time"].cast(pa.timestamp("ms", "UTC"))),
        ("transaction_index", column["tx_index"].cast(pa.int64())),
        # One trade a transaction: the workload's log indexes are random, the order is that of transactions.
        ("log_index", column["tx_index"].cast(pa.int64())),
        ("transaction_hash", fixed(column["tx_hash"], 32)),
        ("protocol", column["project"].cast(pa.string())),
        ("version", repeat("2", pa.string())),
        ("pool", fixed(column["pool"], 20).cast(pa.binary())),
        ("venue", fixed(column["pool"], 20)),
        ("sold_index", nothing(pa.int64())),
        ("bought_index", nothing(pa.int64())),
        ("token_sold", fixed(column["token_sold"], 20)),
        ("token_bought", fixed(column["token_bought"], 20)),
        ("amount_sold", wide(column["amount_sold_raw"])),
        ("amount_bought", wide(column["amount_bought_raw"])),
        ("sender", nothing(pa.binary(20))),
        ("recipient", nothing(pa.binary(20))),
        ("reserve0", nothing(pa.binary(32))),
        ("reserve1", nothing(pa.binary(32))),
        ("sqrt_price_x96", nothing(pa.binary(32))),
        ("tick", nothing(pa.int64())),
        ("liquidity", nothing(pa.binary(32))),
        ("fee_pips", nothing(pa.int64())),
        ("source", repeat("event", pa.string())),
        ("trust", repeat("verified", pa.string())),
        ("tx_from", fixed(column["taker"], 20)),
        ("tx_to", nothing(pa.binary(20))),
        ("amount_usd", nothing(pa.float64())),
    ]
    amounts = {"amount_sold", "amount_bought", "reserve0", "reserve1", "sqrt_price_x96", "liquidity"}
    fields = [pa.field(name, array.type, metadata=uint256 if name in amounts else None) for name, array in columns]
    arrays = [array for _, array in columns]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    pq.write_table(table, arguments.out / "dex_trades.parquet", row_group_size=500_000, compression="zstd")
    print(f"{rows} trades in {arguments.out / 'dex_trades.parquet'}")


if __name__ == "__main__":
    main()
