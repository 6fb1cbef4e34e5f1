"""The two artifacts, built by the commands that a deployment uses, and unpacked."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.documents import JsonDict
from local.aws import REGION
from local.system import ROOT
from ops.bytecode import add_bytecode
from tests.runtime.harness import runtime_folder, wheelhouse

STAGE = "dev"
BUILD_LIMIT_S = 300
# All that goes into an artifact, or says how it is built. A copy of these is built, so that
# nothing else of the project can get in, and nobody else's build is in the way.
_SOURCES = (
    *("app.py", "chalicelib", "poller", "template.yaml", "Makefile"),
    *(wheelhouse.ALL, wheelhouse.POLLERS),
)


@dataclass(frozen=True)
class Artifacts:
    """What was built, in one folder.

    Attributes
    ----------
    folder : Path
        Outside the project.
    """

    folder: Path

    @property
    def handlers(self) -> Path:
        """The unpacked zip of ``chalice package``."""
        return self.folder / "handlers"

    @property
    def poller(self) -> Path:
        """The poller as ``sam build`` made it."""
        return self.folder / "sam" / "PollerFunction"

    @property
    def runtime(self) -> Path:
        """What Lambda's runtime brings."""
        return self.folder / "runtime"

    @property
    def zips(self) -> dict[str, Path]:
        """What would be uploaded, by name."""
        return {
            "handlers": self.folder / "packaged" / "deployment.zip",
            "poller": self.folder / "poller.zip",
        }

    @property
    def packaged(self) -> JsonDict:
        """The template that ``chalice package`` wrote: each function with all it is deployed with.

        Source: https://aws.github.io/chalice/topics/cfn.html
        """
        template: JsonDict = json.loads((self.folder / "packaged" / "sam.json").read_text())
        return template


def build(shared: Path) -> Artifacts:
    """Build both, or take what another process has built in the same place.

    Parameters
    ----------
    shared : Path
        A folder that all test processes of this run have in common.
    """
    folder = shared / "artifacts"
    with (shared / "artifacts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _build(folder)
            (folder / "done").touch()
    return Artifacts(folder)


def _build(folder: Path) -> None:
    project = folder / "project"
    _copy_sources(project)
    wheelhouse.fill(folder / "wheels", project)
    runtime_folder.make(folder / "runtime")
    environment = _environment(folder)
    _run("chalice", "package", "--stage", STAGE, f"{folder}/packaged", at=project, env=environment)
    _run(
        *(
            "sam",
            "build",
            "--build-in-source",
            "--template",
            "template.yaml",
            "--build-dir",
            f"{folder}/sam",
        ),
        at=project,
        env=environment,
    )
    artifacts = Artifacts(folder)
    add_bytecode(artifacts.zips["handlers"])
    zipfile.ZipFile(artifacts.zips["handlers"]).extractall(artifacts.handlers)
    shutil.make_archive(str(artifacts.zips["poller"].with_suffix("")), "zip", artifacts.poller)


def _copy_sources(project: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for name in (*_SOURCES, ".chalice"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=ignored)
        else:
            project.mkdir(exist_ok=True)
            shutil.copy(source, project / name)


def _environment(folder: Path) -> dict[str, str]:
    """The environment of the builds: this one's, but for pip, which is to ask nobody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "wheels"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _run(command: str, *arguments: str, at: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / command, *arguments],
        cwd=at,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} {arguments[0]} failed:\n{done.stdout}")
