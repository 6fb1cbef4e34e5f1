"""`python -m ops.package STAGE`: build both artifacts without deploying them."""

import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ops.bytecode import add_bytecode
from ops.stage import OpsError, Stage, read_stage
from ops.tools import Tools, end, make_parser, real_tools

MAX_BYTES = 5_000_000
# Chalice packs app.py, chalicelib/, vendor/ and the packages of requirements.txt. If it ever packs
# one of these folders, packaging fails.
NOT_OURS_TO_SHIP = {"bench", "syncpoint_device", "docs", "events", "local", "ops", "tests"}


def main(arguments: list[str], tools: Tools) -> int:
    """Build both artifacts and print their sizes; return 0.

    Raises
    ------
    OpsError
        If one cannot be built, is too large, or contains a folder that does not belong in it.
    """
    given = make_parser("ops.package", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    # Chalice needs a region, although it sends no request here.
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

    Chalice also keeps a package in .chalice/deployments, and deploys that one while the sources
    stay the same. So bytecode is added there, too.
    """
    tools.run(["chalice", "package", "--stage", stage.name, str(out)], tools.root)
    kept = (tools.root / ".chalice" / "deployments").glob("*.zip")
    for artifact in (out / "deployment.zip", *kept):
        add_bytecode(artifact)


def zip_folder(folder: Path, target: Path) -> None:
    """Zip a folder that `sam build` made, as `sam deploy` does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))


def check(artifact: Path) -> None:
    """Check an artifact's size and contents.

    Raises
    ------
    OpsError
        If it is too large, or contains a folder that does not belong in it.
    """
    with zipfile.ZipFile(artifact) as archive:
        strange = strangers(archive.namelist())
    if strange:
        raise OpsError(
            f"{artifact.name} contains folders that no Lambda needs: {', '.join(strange)}"
        )
    size_bytes = artifact.stat().st_size
    if size_bytes > MAX_BYTES:
        raise OpsError(
            f"{artifact.name} has {size_bytes / 1e6:.2f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB"
        )


def strangers(names: Iterable[str]) -> list[str]:
    """Return the project's folders in an artifact that do not belong there."""
    return sorted({name.split("/")[0] for name in names} & NOT_OURS_TO_SHIP)


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
