"""Wheels of what is installed here, so that artifacts are built without the network."""

import csv
import hashlib
import io
import re
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

ALL = "requirements.txt"
POLLERS = "requirements-poller.txt"
_NOT_IN_A_WHEEL = {"INSTALLER", "REQUESTED", "direct_url.json"}


def fill(folder: Path, project: Path) -> None:
    """Make a wheel of each package that a project pins, from its installed files.

    What pip unpacks from it is what it unpacked from the index's own wheel, without commands. Its
    hash is another, so it replaces the index's in the project's files: pip checks these as those.

    Parameters
    ----------
    folder : Path
        Where the wheels go; for pip's ``--find-links``.
    project : Path
        A copy of the project, with the requirements of both artifacts; what ``requirements.txt``
        pins must be installed.
    """
    folder.mkdir()
    wheels = {name: _make(name, version, folder) for name, version in _pins(project / ALL)}
    for path in (project / ALL, project / POLLERS):
        lines = [
            f"{name}=={version} --hash=sha256:{hashlib.sha256(wheels[name]).hexdigest()}\n"
            for name, version in _pins(path)
        ]
        path.write_text("".join(lines), encoding="utf-8")


def _pins(requirements: Path) -> list[tuple[str, str]]:
    return re.findall(r"^([\w.-]+)==([^\s;]+)", requirements.read_text(encoding="utf-8"), re.M)


def _make(name: str, version: str, folder: Path) -> bytes:
    installed = distribution(name)
    if installed.version != version:
        raise LookupError(f"{name} {version} is pinned, {installed.version} is installed")
    return _pack(installed, folder).read_bytes()


def _pack(installed: Distribution, folder: Path) -> Path:
    paths = {str(path): Path(str(path.locate())) for path in installed.files or []}
    kept = {name: path for name, path in paths.items() if _belongs(name)}
    packed = folder / _file_name(installed, kept)
    with zipfile.ZipFile(packed, "w") as wheel:
        for name, path in kept.items():
            if not name.endswith(".dist-info/RECORD"):
                wheel.write(path, name)
        [record] = [name for name in kept if name.endswith(".dist-info/RECORD")]
        wheel.writestr(record, _record(kept[record].read_text(encoding="utf-8"), kept))
    return packed


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
