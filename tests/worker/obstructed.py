"""``umbel`` with a broker that can be made to hang, though the loop lives on: while there is a file ``hang``, no fetch returns; a file
``hang-once`` makes one fetch hang, which removes it.

Everything else is the real thing. For a loop that stands still as a whole there are the fault points.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
from typing import Any

from umbel import Umbel
from umbel.cli import main
from umbel.ports import Broker

directory = pathlib.Path(os.environ["JOBS_DIR"])
new_broker = Umbel.new_broker


def obstructed(app: Umbel) -> Broker:
    """The app's broker, whose ``reserve`` looks for the files first."""
    broker = new_broker(app)
    reserve = broker.reserve

    async def looks_first(*args: Any, **options: Any) -> Any:
        if (directory / "hang").exists() or _taken(directory / "hang-once"):
            with (directory / "notes").open("a") as notes:
                notes.write("hangs\n")
            await asyncio.Event().wait()
        return await reserve(*args, **options)

    broker.reserve = looks_first  # type: ignore[method-assign]
    return broker


def _taken(path: pathlib.Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


Umbel.new_broker = obstructed  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
