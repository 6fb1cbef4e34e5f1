"""`python -m ops.package STAGE`: build both artifacts as they would be uploaded; deploy nothing."""

import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ops.bytecode import add_bytecode
from ops.stage import OpsError, Stage, read_stage
from ops.tools import Tools, end, make_parser, real_tools

MAX_BYTES = 5_000_000
# Chalice takes app.py, chalicelib/, vendor/ and the packages of requirements.txt. Should it ever
# take more, the operator hears of it here.
NOT_OURS_TO_SHIP = {"bench", "device", "docs", "events", "local", "ops", "tests"}


def main(arguments: list[str], tools: Tools) -> int:
    """Build both artifacts and print their sizes; return 0.

    Raises
    ------
    OpsError
        If one cannot be built, is too large, or holds what should not be in it.
    """
    given = make_parser("ops.package", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    # Chalice insists on a region, though it asks nobody anything here.
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    out = tools.root / ".aws-sam" / "package"
    pack_handlers(stage, tools, out / "handlers")
    tools.run(["sam", "build", "--build-in-source", "--template", "template.yaml"], tools.root)
    poller = out / "poller.zip"
    zip_folder(tools.root / ".aws-sam" / "build" / "PollerFunction", poller)
    for artifact in (out / "handlers" / "deployment.zip", poller):
        check(artifact)
        shown = artifact.relative_to(tools.root)
        tools.tell(f"{artifact.stat().st_size / 1e6:6.2f} MB  {shown}")
    return 0


def pack_handlers(stage: Stage, tools: Tools, out: Path) -> None:
    """Build the handlers' artifact, with bytecode, in a folder.

    Chalice keeps a package while its sources are the same, and deploys that one.
    """
    tools.run(["chalice", "package", "--stage", stage.name, str(out)], tools.root)
    kept = (tools.root / ".chalice" / "deployments").glob("*.zip")
    for artifact in (out / "deployment.zip", *kept):
        add_bytecode(artifact)


def zip_folder(folder: Path, target: Path) -> None:
    """Pack what `sam build` has made, as `sam deploy` does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))


def check(artifact: Path) -> None:
    """Check an artifact's size and what is in it.

    Raises
    ------
    OpsError
        If it is too large, or holds what should not be in it.
    """
    with zipfile.ZipFile(artifact) as archive:
        strange = strangers(archive.namelist())
    if strange:
        raise OpsError(f"{artifact.name} holds what no Lambda needs: {', '.join(strange)}")
    size_bytes = artifact.stat().st_size
    if size_bytes > MAX_BYTES:
        raise OpsError(
            f"{artifact.name} has {size_bytes / 1e6:.2f} MB; {MAX_BYTES / 1e6:.0f} MB is the most"
        )


def strangers(names: Iterable[str]) -> list[str]:
    """The folders of this project in an artifact that are no part of it."""
    return sorted({name.split("/")[0] for name in names} & NOT_OURS_TO_SHIP)


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
