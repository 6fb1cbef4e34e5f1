"""One function, running in Lambda's own runtime: a process that knows the artifact and no more."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.runtime.harness.runtime_api import Invocation, RuntimeApi

_IMPORT_TIME = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)\n")


@dataclass(frozen=True)
class Spec:
    """A function as it is deployed.

    Attributes
    ----------
    name : str
        As app.py calls it; ``api_handler`` for all routes, ``poller`` for the poller.
    lambda_name : str
        As AWS calls it.
    handler : str
        ``module.function``.
    code : Path
        The unpacked artifact.
    variables : mapping
        The environment that it is deployed with.
    policy : dict
        What its role allows.
    """

    name: str
    lambda_name: str
    handler: str
    code: Path
    time_out_s: int
    memory_mb: int
    variables: Mapping[str, str]
    policy: JsonDict


@dataclass(frozen=True)
class Result:
    """What came of one event.

    Attributes
    ----------
    answer : object
        What the handler returned; None if it raised.
    error : dict or None
        ``{errorType, errorMessage, stackTrace}``.
    logs : list of str
        The lines that it wrote meanwhile, to either stream.
    """

    answer: Any
    error: JsonDict | None
    logs: list[str] = field(default_factory=list)

    @property
    def returned(self) -> Any:
        """The answer; the error fails the test."""
        assert self.error is None, (self.error, self.logs)
        return self.answer

    @property
    def records(self) -> list[JsonDict]:
        """The lines that are JSON: log records and metrics."""
        return [json.loads(line) for line in self.logs if line.startswith("{")]


class Function:
    """The process of one function; ended by `stop`.

    Parameters
    ----------
    runtime : Path
        What the runtime brings (`runtime_folder`).
    folder : Path
        Where its output goes.
    environment : mapping
        What is different from the environment that it is deployed with.
    times_imports : bool
        Whether to measure `imports`, which slows the start.

    Attributes
    ----------
    imports_at_init, imports : dict
        The modules that were imported until it asked for its first event, and until now; each with
        the microseconds that it took itself.
    init_s : float
        From the start of the process until it asked for its first event.
    """

    def __init__(
        self,
        spec: Spec,
        runtime: Path,
        folder: Path,
        environment: Mapping[str, str],
        *,
        times_imports: bool = True,
    ) -> None:
        self.spec = spec
        self.imports: dict[str, int] = {}
        self.imports_at_init: dict[str, int] = {}
        self.init_s = 0.0
        self._api = RuntimeApi()
        self._output = folder / f"{spec.name}.log"
        variables = {
            **runtime_environment(spec, runtime),
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            **environment,
        }
        self._started_s = time.monotonic()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                runtime_command(spec, times_imports=times_imports),
                cwd=spec.code,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._log = self._output.open("r", encoding="utf-8", newline="\n")

    def start(self, limit_s: float = 60) -> list[str]:
        """Wait until its code is imported; returns what it wrote.

        Raises
        ------
        RuntimeError
            If that failed: an import that the artifact does not have, say.
        """
        began = self._wait(self._api.asked.wait, limit_s)
        self.init_s = time.monotonic() - self._started_s
        lines = self._lines()
        self.imports_at_init = dict(self.imports)
        if not began or self._api.init_error:
            raise RuntimeError(f"{self.spec.name} did not start: {self._api.init_error} {lines}")
        return lines

    def invoke(self, event: Any, limit_s: float = 60) -> Result:
        """Hand it an event, and wait for what comes of it."""
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{self.spec.lambda_name}"
        invocation = Invocation(event, arn, self.spec.time_out_s)
        self._api.put(invocation)
        answered = self._wait(invocation.answered.wait, limit_s)
        lines = self._lines()
        if not answered:
            raise RuntimeError(f"{self.spec.name} did not answer: {lines}")
        return Result(invocation.answer, invocation.error, lines)

    def stop(self) -> None:
        """End the process and all that it started."""
        end_group(self._process)
        self._api.stop()
        self._log.close()

    def _wait(self, wait: Any, limit_s: float) -> bool:
        """Wait for something, no longer than the process lives."""
        step_s = 0.25
        for _ in range(int(limit_s / step_s)):
            if wait(step_s):
                return True
            if self._process.poll() is not None:
                return bool(wait(step_s))
        return False

    def _lines(self) -> list[str]:
        """What was written since; the lines about imports are kept apart."""
        lines = []
        for line in self._log.readlines():
            imported = _IMPORT_TIME.fullmatch(line)
            if imported:
                # What its own package imports has a line for that too: the second says about 0.
                self.imports[imported[2]] = self.imports.get(imported[2], 0) + int(imported[1])
            elif not line.startswith("import time:"):
                lines.append(line.rstrip("\n"))
        return lines


def runtime_command(spec: Spec, *, times_imports: bool = True) -> list[str]:
    """How Lambda starts its runtime; asked to, Python writes what it imports and how long it takes.

    Neither the virtual environment's packages nor the user's or the machine's: see the tests.
    """
    timing = ["-X", "importtime"] if times_imports else []
    return [sys.executable, "-S", "-s", *timing, "-m", "awslambdaric", spec.handler]


def runtime_environment(spec: Spec, runtime: Path) -> dict[str, str]:
    """The environment that Lambda gives to a function, and nothing of this process's own.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        **spec.variables,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.lambda_name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.lambda_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef",
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "LAMBDA_TASK_ROOT": str(spec.code),
        "LANG": "en_US.UTF-8",
        "PATH": os.defpath,
        "PYTHONPATH": f"{spec.code}{os.pathsep}{runtime}",
        "TZ": ":UTC",
        "_HANDLER": spec.handler,
    }


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process that leads a group, and all in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
