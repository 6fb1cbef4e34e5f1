"""What an artifact may hold, and how large it may be."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.system import ROOT
from ops import package
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


@pytest.mark.parametrize("folder", ["device", "local", "tests", "ops", "bench", "events", "docs"])
def test_a_folder_that_no_lambda_needs_is_refused(tmp_path: Path, folder: str) -> None:
    path = artifact(tmp_path / "deployment.zip", **{"app.py": 1, f"{folder}__agent.py": 1})
    with pytest.raises(OpsError, match=f"deployment.zip holds what no Lambda needs: {folder}"):
        package.check(path)


def test_packages_and_our_own_modules_are_what_is_wanted() -> None:
    names = ["app.py", "chalicelib/couch.py", "poller/app.py", "requests/api.py", "dns/local.py"]
    assert package.strangers(names) == []


def test_five_megabytes_are_the_most(tmp_path: Path) -> None:
    package.check(artifact(tmp_path / "well.zip", module=4_999_000))
    with pytest.raises(OpsError, match=r"large\.zip has 5\.00 MB; 5 MB is the most"):
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
