"""Record the requests of CouchDB's replicator, and CouchDB's answers:

    python -m tests.kit.replicator.record http://admin:password@127.0.0.1:5984

Two one-shot replications, of the first batch and then of the second: once with the recorded
database as their source, once as their target.
"""

import json
import re
import sys
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import requests

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from tests.kit.http_server import Answer, serving
from tests.kit.replicator.content import FIRST, SECOND
from tests.kit.system.registering import replicate_once

FILE = Path(__file__).parent / "recorded.json"
NAME = "db"  # what the recorded database is called in the file
SENT = {"accept", "content-type", "x-couch-full-commit"}
SEQ = re.compile(rb"\b(\d+)-g[0-9A-Za-z_-]{20,}")  # the number is enough; the rest names the server
FILLER = re.compile(rb"(x{200,}|y{200,}|z{200,})")


def main(url: str) -> None:
    """Write the file."""
    recorded = {way: _record(url, way) for way in ("source", "target")}
    server = Server(url).info()
    text = json.dumps({"couchdb": server["version"], **recorded}, indent=1, ensure_ascii=True)
    FILE.write_text(text + "\n")
    print({way: sum(map(len, parts)) for way, parts in recorded.items()}, "requests")


def _record(url: str, way: str) -> list[list[JsonDict]]:
    """The requests to a database that is the source or the target, for each batch."""
    server = Server(url)
    name, other = (f"recorded-{uuid.uuid4().hex}" for _ in range(2))
    exchanges: list[JsonDict] = []
    parts = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        # The replicator expects its connections to stay open.
        request.protocol_version, request.close_connection = "HTTP/1.1", False
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path
        got = requests.request(
            request.command, url + path, data=body, headers=dict(request.headers), timeout=60
        )
        headers = {k: v for k, v in got.headers.items() if k in ("Content-Type", "Set-Cookie")}
        content = got.content
        if path.endswith("/_revs_diff"):  # or files would come as stubs of those that are there
            rows = got.json().items()
            content = json.dumps({key: {"missing": row["missing"]} for key, row in rows}).encode()
        if path.startswith(f"/{name}"):
            exchanges.append(
                {
                    "method": request.command,
                    "path": without_seqs(path.encode()).decode().replace(name, NAME),
                    "headers": {k: v for k, v in request.headers.items() if k.lower() in SENT},
                    "body": packed(without_seqs(body)),
                    "status": got.status_code,
                    "type": got.headers["Content-Type"],
                    "answer": packed(without_seqs(content).replace(name.encode(), NAME.encode())),
                }
            )
        return got.status_code, content, headers

    with serving(answer) as proxy:
        there = proxy.replace("//", "//" + url.partition("//")[2].partition("@")[0] + "@")
        ends = {"source": (there, name, url, other), "target": (url, other, there, name)}[way]
        for one in (name, other):
            server.database(one).create()
        written = name if way == "source" else other
        for batch in (FIRST, SECOND):
            docs = {"docs": batch, "new_edits": False}
            assert requests.post(f"{url}/{written}/_bulk_docs", json=docs, timeout=60).ok
            replicate_once(url, f"{ends[0]}/{ends[1]}", f"{ends[2]}/{ends[3]}")
            parts.append(list(exchanges))
            exchanges.clear()
    for one in (name, other):
        server.database(one).delete()
    return parts


def without_seqs(text: bytes) -> bytes:
    """A text with short positions in feeds."""
    return SEQ.sub(rb"\1-seq", text)


def packed(body: bytes) -> list[str | list[str | int]]:
    """A body as text (Latin-1) without its filler, of which only the length is kept."""
    pieces = [piece.decode("latin-1") for piece in FILLER.split(body)]
    return [[p[0], len(p)] if FILLER.fullmatch(p.encode("latin-1")) else p for p in pieces if p]


def unpacked(pieces: list[str | list[str | int]]) -> bytes:
    """The body again."""
    whole = (p if isinstance(p, str) else str(p[0]) * int(p[1]) for p in pieces)
    return "".join(whole).encode("latin-1")


if __name__ == "__main__":
    main(sys.argv[1])
