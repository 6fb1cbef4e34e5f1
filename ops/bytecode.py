"""Add bytecode to the handlers' artifact, so that cold starts do not compile.

A Lambda cannot store bytecode, and Chalice does not compile what it packs. The Makefile compiles
the poller.
"""

import compileall
import re
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

# Large packages that no function imports, or only a small part of.
UNUSED = re.compile(
    r"/dns/|/aws_lambda_powertools/(event_handler|utilities/(?!jmespath_utils|__init__))"
)


# The comment of a zip file that has bytecode already.
DONE = b"bytecode"


def add_bytecode(artifact: Path) -> None:
    """Add the bytecode of its sources to a zip file, in place of bytecode that it contains.

    The bytecode names its source by hash, not by the time of the file, because a zip file does not
    keep exact times. Bytecode that Chalice packs from the working folder goes by that time.

    Source: https://peps.python.org/pep-0552/
    """
    with tempfile.TemporaryDirectory(prefix="syncpoint-") as given:
        folder = Path(given)
        with zipfile.ZipFile(artifact) as archive:
            if archive.comment == DONE:
                return
            kept = [one for one in archive.infolist() if not one.filename.endswith(".pyc")]
            contents = [archive.read(one) for one in kept]
            archive.extractall(folder, [one.filename for one in kept])
        compileall.compile_dir(
            folder,
            quiet=2,
            rx=UNUSED,
            stripdir=str(folder),
            invalidation_mode=PycInvalidationMode.CHECKED_HASH,
        )
        with zipfile.ZipFile(artifact, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = DONE
            for entry, content in zip(kept, contents, strict=True):
                archive.writestr(entry, content)
            for path in sorted(folder.rglob("*.pyc")):
                archive.writestr(_entry(path.relative_to(folder)), path.read_bytes())


def _entry(path: Path) -> zipfile.ZipInfo:
    """Return an entry with a fixed time, so that the same sources make the same zip file."""
    entry = zipfile.ZipInfo(str(path))
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
