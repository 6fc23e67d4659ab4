#!/usr/bin/env bash
# Fills corpus/json_ingest and corpus/decoders from recordings: ./seed.sh PATH..., each a folder with blocks.jsonl.gz
# and receipts.jsonl.gz (and traces.jsonl.gz), or a file of block events (*.ndjson.gz). An input of json_ingest is
# a block, its receipts and its traces, a line each; one of decoders the logs of two transactions (examples/seed.rs).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$here/corpus/json_ingest" "$here/corpus/decoders"
for path in "$@"; do
    if [ -d "$path" ]; then
        name="$(basename "$path")"
        paste -d '\n' <(zcat "$path/blocks.jsonl.gz") <(zcat "$path/receipts.jsonl.gz") \
            <(if [ -f "$path/traces.jsonl.gz" ]; then zcat "$path/traces.jsonl.gz"; fi) |
            split --lines=3 --suffix-length=4 --numeric-suffixes - "$here/corpus/json_ingest/$name-"
    fi
done
for path in "$@"; do
    if [ -d "$path" ]; then zcat "$path/receipts.jsonl.gz"; else zcat "$path"; fi
done | cargo run --quiet --manifest-path "$here/Cargo.toml" --example seed -- "$here/corpus/decoders"
