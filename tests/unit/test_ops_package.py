"""What an artifact may hold, and how large it may be."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from local.system import ROOT
from ops import package
from ops.bytecode import add_bytecode
from ops.stage import OpsError
from ops.tools import Tools


def artifact(path: Path, **files: int) -> Path:
    """A zip of files that cannot be made any smaller; `__` is a slash in their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, size_bytes in files.items():
            archive.writestr(name.replace("__", "/"), os.urandom(size_bytes))
    return path


def project(root: Path) -> Path:
    (root / ".chalice").mkdir()
    config = (ROOT / ".chalice/config.json").read_text(encoding="utf-8")
    (root / ".chalice/config.json").write_text(config, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "folder", ["syncpoint_device", "local", "tests", "ops", "bench", "events", "docs"]
)
def test_a_folder_that_no_lambda_needs_is_refused(tmp_path: Path, folder: str) -> None:
    path = artifact(tmp_path / "deployment.zip", **{"app.py": 1, f"{folder}__agent.py": 1})
    with pytest.raises(
        OpsError, match=f"deployment.zip contains folders that no Lambda needs: {folder}"
    ):
        package.check(path)


def test_packages_and_our_own_modules_are_what_is_wanted() -> None:
    names = ["app.py", "chalicelib/couch.py", "poller/app.py", "requests/api.py", "dns/local.py"]
    assert package.strangers(names) == []


def test_five_megabytes_are_the_most(tmp_path: Path) -> None:
    package.check(artifact(tmp_path / "well.zip", module=4_999_000))
    with pytest.raises(OpsError, match=r"large\.zip has 5\.00 MB; the limit is 5 MB"):
        package.check(artifact(tmp_path / "large.zip", module=5_000_000))


def test_both_are_built_and_their_sizes_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    root, said, ran = project(tmp_path), list[str](), list[list[str]]()

    def run(command: Sequence[str], folder: Path) -> None:
        ran.append(list(command))
        assert os.environ["AWS_DEFAULT_REGION"]
        if command[0] == "chalice":
            artifact(Path(command[-1]) / "deployment.zip", chalicelib__couch=2_000_000)
        else:
            built = root / ".aws-sam/build/PollerFunction/poller"
            built.mkdir(parents=True)
            (built / "app.py").write_bytes(os.urandom(1_000_000))

    def no_client(service: str) -> None:
        raise AssertionError(service)

    assert package.main(["dev"], Tools(no_client, run, said.append, root)) == 0
    assert [command[:2] for command in ran] == [["chalice", "package"], ["sam", "build"]]
    assert said == [
        "  2.00 MB  .aws-sam/package/handlers/deployment.zip",
        "  1.00 MB  .aws-sam/package/poller.zip",
    ]
    with zipfile.ZipFile(root / ".aws-sam/package/poller.zip") as archive:
        assert archive.namelist() == ["poller/app.py"]


def a_module(path: Path, source: str) -> Path:
    """A zip of one module, with its bytecode."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("given/answer.py", source)
        archive.writestr(f"given/{cache_from_source('answer.py')}", b"of another machine")
    add_bytecode(path)
    return path


def test_bytecode_is_added_once_and_is_the_same_for_the_same_sources(tmp_path: Path) -> None:
    path = a_module(tmp_path / "one.zip", "ANSWER = 42")
    before = path.read_bytes()
    add_bytecode(path)
    assert path.read_bytes() == before
    again = a_module(tmp_path / "two.zip", "ANSWER = 42")
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(again) as two:
        source, compiled = one.namelist()
        assert (source, compiled.endswith(".pyc")) == ("given/answer.py", True)
        assert one.getinfo(compiled).CRC == two.getinfo(compiled).CRC
        assert one.getinfo(compiled).date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.io
@pytest.mark.parametrize("source", ["ANSWER = 42", "ANSWER = 43"])
def test_bytecode_is_used_for_its_very_source_only(tmp_path: Path, source: str) -> None:
    with zipfile.ZipFile(a_module(tmp_path / "a.zip", "ANSWER = 42")) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "given/answer.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-v", "-c", "from given.answer import ANSWER; print(ANSWER)"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"{source[-2:]}\n"
    # What Python says of it: "… matches …/answer.py" before it takes the bytecode.
    assert (f"matches {tmp_path}/given/answer.py" in done.stderr) == (source == "ANSWER = 42")
