"""``python -m tests.bench.scenarios NAME ROUNDS``: one line of JSON for each round."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.bench.goals import Skipped
from tests.bench.scenarios import SCENARIOS


async def _main(name: str, rounds: str) -> None:
    try:
        async for figures in SCENARIOS[name].rounds(int(rounds)):
            print(json.dumps({"figures": figures}), flush=True)
    except Skipped as reason:
        print(json.dumps({"skipped": str(reason)}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
