"""Bytecode in the handlers' artifact: a Lambda can keep none, and compiles at each cold start.

Chalice packs sources, and what else lies beside them. The poller's is compiled by the Makefile.
"""

import compileall
import re
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

# Two large packages that no function imports, or only a corner of.
UNUSED = re.compile(
    r"/dns/|/aws_lambda_powertools/(event_handler|utilities/(?!jmespath_utils|__init__))"
)


# A zip that is done says so in its comment.
DONE = b"bytecode"


def add_bytecode(artifact: Path) -> None:
    """Put the bytecode of its sources into a zip, in place of any that came with them.

    It names its source by hash: it is used for that very source, whatever the time of the file.
    What Chalice takes along from the working folder goes by that time, which a zip does not keep.

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
    """An entry of the year 1980: the same sources make the same zip."""
    entry = zipfile.ZipInfo(str(path))
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
