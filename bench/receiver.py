"""The hub's MLLP receiver alone: judged, journaled, acknowledged; nothing is worked off.

`python -m bench.receiver` reads the same `HIE_*` settings as `hie serve`.
"""

import asyncio
import os
import signal

from hie.app import Hub
from hie.settings import load_settings


async def receive() -> None:
    """Receive until told to stop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Hub(load_settings(os.environ)) as hub:
        for receiver in hub.receivers:
            await receiver.start()
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(receive())
