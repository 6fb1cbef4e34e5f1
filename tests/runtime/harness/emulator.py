"""AWS's own Runtime Interface Emulator: it stops a function at its time-out, as Lambda does.

Source: https://github.com/aws/aws-lambda-runtime-interface-emulator
"""

import importlib.util
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.kit.basics import wait_for
from tests.runtime.harness.function import Spec, end_group, runtime_command, runtime_environment

_PATH = "/2015-03-31/functions/function/invocations"
_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
# The longest life of one, should nobody be left to end it.
_LIFE_S = 120


class NoEmulator(Exception):
    """The emulator cannot run on this machine; the message says why."""


class Emulator:
    """A running emulator of one function; ended by `stop`.

    Parameters
    ----------
    environment : mapping
        What is different from the environment that the function is deployed with.
    time_out_s : int
        When it stops the function.

    Raises
    ------
    NoEmulator
        If it cannot run here.
    """

    def __init__(
        self,
        spec: Spec,
        runtime: Path,
        folder: Path,
        environment: Mapping[str, str],
        time_out_s: int,
    ) -> None:
        self._url = f"127.0.0.1:{_free_port()}"
        self._time_out_s = time_out_s
        self.output = folder / f"emulator-{spec.name}.log"
        api = f"127.0.0.1:{_free_port()}"
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *("timeout", "--kill-after=1", str(_LIFE_S)),
                    str(_binary(folder)),
                    *("--runtime-interface-emulator-address", self._url),
                    *("--runtime-api-address", api),
                    *runtime_command(spec),
                ],
                cwd=spec.code,
                env={
                    **runtime_environment(spec, runtime),
                    "AWS_LAMBDA_FUNCTION_TIMEOUT": str(time_out_s),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def invoke(self, event: Any) -> str:
        """Hand it an event; what it answers: JSON, or that the function was stopped."""
        wait_for(self._listens, "the emulator's start")
        limit_s = self._time_out_s + 20
        answer = requests.post(f"http://{self._url}{_PATH}", json=event, timeout=limit_s)
        return answer.text

    def stop(self) -> None:
        """End it, and the function with it."""
        end_group(self._process)

    def _listens(self) -> bool:
        host, port = self._url.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


def _binary(folder: Path) -> Path:
    """A copy that may be executed of the one that aws-sam-cli brings."""
    machine = _MACHINES.get(platform.machine())
    if platform.system() != "Linux" or machine is None or shutil.which("timeout") is None:
        raise NoEmulator(f"there is none for {platform.system()} on {platform.machine()}")
    found = importlib.util.find_spec("samcli")
    if found is None or found.origin is None:
        raise NoEmulator("aws-sam-cli is not installed")
    brought = Path(found.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"
    if not brought.exists():
        raise NoEmulator(f"aws-sam-cli has no {brought.name}")
    copy = folder / "aws-lambda-rie"
    shutil.copy(brought, copy)
    copy.chmod(0o700)
    return copy


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
