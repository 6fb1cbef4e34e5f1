"""`python -m tests.kit.device.killed_agent HOME NUMBER`: an agent that kills itself at a request.

It ends by itself, with 0, when it has followed the cloud for some turns. Of requests of one kind
the first few count: an agent that waits asks the same again and again, the longer the slower it is.
"""

import os
import re
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from syncpoint_device.agent import Agent
from syncpoint_device.home import Home
from tests.kit.device.gadget import QUICK, now

TURNS = 3
COUNTED = 3
IDS = re.compile(r"[0-9a-f]{12,}")


def main(folder: str, number: str) -> int:
    """Run the agent; SIGKILL comes before its request of that number."""
    kinds: Counter[tuple[str, str]] = Counter()
    requests, follows, turns = count(1), [], count()
    send = HTTPAdapter.send

    def killing(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        kind = str(request.method), IDS.sub("", str(request.url).partition("?")[0])
        kinds[kind] += 1
        if kinds[kind] <= COUNTED and next(requests) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, request, *args, **kwargs)

    def say(about: str, what: str) -> None:
        if about == "agent":
            follows.append(what)

    def is_ended() -> bool:
        return bool(follows) and next(turns) >= TURNS

    HTTPAdapter.send = killing  # type: ignore[method-assign]
    Agent(Home(Path(folder)), say, now, QUICK, is_ended).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
