"""The embedded CouchDB as tests start it."""

import json
from pathlib import Path

from local.couchdb_process import EmbeddedCouchDB


def start_quietly(folder: Path, password: str) -> EmbeddedCouchDB:
    """Start one that logs no requests: nobody reads them, and a tenth of its time goes into it."""
    (folder / "config.json").write_text(json.dumps({"log": {"level": "none"}}))
    return EmbeddedCouchDB(folder, password)
