"""A process for one client: ``python -m tests.robustness.peers.clients.run MODULE JOB``.

It goes on until its standard input ends, so that it outlives nobody, and it is then ended at once:
what hangs inside a client must not hold it up.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
import time
from contextlib import suppress

from tests.robustness.peers.clients import user
from tests.robustness.peers.clients.job import Job, say_error

END_S = 1.0
"""What is to be tidied up, such as a process of etcdctl's, has this long."""


async def main(module: str, job: Job) -> None:
    client = importlib.import_module(f"tests.robustness.peers.clients.{module}")
    try:
        async with client.open_client(job) as opened:
            if job.do == "create":
                await user.create(opened, job)
                _end_with_input()
            else:
                _end_with_input()
                await getattr(client, "follow", user.follow)(opened, job)
            await asyncio.Event().wait()
    except Exception as error:  # noqa: BLE001 - whatever it is, the user has been told
        say_error(error)


def _end_with_input() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(task.cancel)
        time.sleep(END_S)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig()
    with suppress(asyncio.CancelledError):
        asyncio.run(main(sys.argv[1], Job.decode(sys.argv[2])))
    os._exit(0)
