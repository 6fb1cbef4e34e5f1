"""Files that only their user may read."""

import os


def private(path: str, flags: int) -> int:
    """Open a file as `open` asks for it (its `opener`); a new one is for its user only.

    Windows has no such modes. There, the folder of a user is for that user only.
    """
    return os.open(path, flags, 0o600)
