#!/usr/bin/env bash
# Fills corpus/json_ingest from recordings: ./seed.sh FOLDER..., each with blocks.jsonl.gz and receipts.jsonl.gz
# (and traces.jsonl.gz). One input is a block, its receipts and its traces, a line each.
set -euo pipefail
corpus="$(dirname "$0")/corpus/json_ingest"
mkdir -p "$corpus"
for folder in "$@"; do
    name="$(basename "$folder")"
    paste -d '\n' <(zcat "$folder/blocks.jsonl.gz") <(zcat "$folder/receipts.jsonl.gz") \
        <(if [ -f "$folder/traces.jsonl.gz" ]; then zcat "$folder/traces.jsonl.gz"; fi) |
        split --lines=3 --suffix-length=4 --numeric-suffixes - "$corpus/$name-"
done
