"""Wheels of what is installed here, so that artifacts are built without the network."""

import csv
import io
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

_NOT_IN_A_WHEEL = {"INSTALLER", "REQUESTED", "direct_url.json"}


def fill(folder: Path, requirements: Path) -> None:
    """Make a wheel of each package that a requirements file pins, from its installed files.

    What pip unpacks from it is what it unpacked from the index's own wheel, without commands.

    Parameters
    ----------
    folder : Path
        Where the wheels go; for pip's ``--find-links``.
    requirements : Path
        With lines ``name==version``; these versions must be installed.
    """
    folder.mkdir()
    for name, version in _pins(requirements.read_text(encoding="utf-8").splitlines()):
        installed = distribution(name)
        if installed.version != version:
            raise LookupError(f"{name} {version} is pinned, {installed.version} is installed")
        _pack(installed, folder)


def _pins(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        if "==" in line and not line.startswith("#"):
            name, _, version = line.partition("==")
            yield name.strip(), version.strip()


def _pack(installed: Distribution, folder: Path) -> None:
    paths = {str(path): Path(str(path.locate())) for path in installed.files or []}
    kept = {name: path for name, path in paths.items() if _belongs(name)}
    with zipfile.ZipFile(folder / _file_name(installed, kept), "w") as wheel:
        for name, path in kept.items():
            if not name.endswith(".dist-info/RECORD"):
                wheel.write(path, name)
        [record] = [name for name in kept if name.endswith(".dist-info/RECORD")]
        wheel.writestr(record, _record(kept[record].read_text(encoding="utf-8"), kept))


def _belongs(name: str) -> bool:
    """Whether a file came out of the wheel, and was not made when that was installed."""
    path = Path(name)
    is_made = path.suffix == ".pyc" or path.name in _NOT_IN_A_WHEEL
    return not is_made and ".." not in path.parts


def _file_name(installed: Distribution, kept: dict[str, Path]) -> str:
    """The name of the wheel, with the tags that it had.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    [dist_info] = {Path(name).parts[0] for name in kept if name.endswith(".dist-info/RECORD")}
    lines = (installed.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    joined = [".".join(sorted(set(parts))) for parts in zip(*tags, strict=True)]
    return "-".join([dist_info.removesuffix(".dist-info"), *joined]) + ".whl"


def _record(text: str, kept: dict[str, Path]) -> str:
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0] in kept]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
