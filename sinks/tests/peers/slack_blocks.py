"""Reads messages as lines of JSON and has slack_sdk judge their blocks; prints 'ok' or what is wrong."""

import json
import sys

from slack_sdk.models.blocks import Block

for line in sys.stdin:
    try:
        message = json.loads(line)
        blocks = Block.parse_all(message["blocks"])
        assert len(blocks) == len(message["blocks"]), "a block is of no known kind"
        for block, given in zip(blocks, message["blocks"]):
            block.validate_json()
            shown = block.to_dict()
            assert shown["type"] == given["type"] and json.dumps(shown).count('"type"') == json.dumps(given).count('"type"')
        print("ok", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
