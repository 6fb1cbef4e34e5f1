"""A function's process from its start to the answer to its first event, in the Lambda runtime."""

import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.documents import JsonDict
from tests.runtime.harness.function import Spec, end_group, runtime_environment
from tests.runtime.harness.runtime_api import Invocation, RuntimeApi

LIMIT_S = 60


@dataclass(frozen=True)
class Start:
    """What a cold start took.

    Attributes
    ----------
    cpu_ms : float
        The processor's time: waiting for moto or CouchDB is not in it.
    wall_ms : float
        From the start of the process to the answer, without what came between.
    """

    cpu_ms: float
    wall_ms: float


def start(spec: Spec, runtime: Path, variables: Mapping[str, str], event: JsonDict) -> Start:
    """Start a function, hand it its first event, and end it.

    Raises
    ------
    RuntimeError
        If it does not start, does not answer, or answers with an error.
    """
    api = RuntimeApi()
    before_s = _children_s()
    began_s = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        # Without the virtual environment's packages, as tests/runtime does.
        [sys.executable, "-S", "-s", "-m", "awslambdaric", spec.handler],
        cwd=spec.code,
        env={
            **runtime_environment(spec, runtime),
            "AWS_LAMBDA_RUNTIME_API": api.address,
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if not api.asked.wait(LIMIT_S) or api.init_error:
            raise RuntimeError(f"{spec.name} did not start: {api.init_error}")
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{spec.lambda_name}"
        invocation = Invocation(event, arn, spec.time_out_s)
        api.put(invocation)
        if not invocation.answered.wait(LIMIT_S):
            raise RuntimeError(f"{spec.name} did not answer")
        if invocation.error:
            raise RuntimeError(f"{spec.name} failed: {invocation.error}")
        wall_s = time.perf_counter() - began_s
    finally:
        end_group(process)
        api.stop()
    return Start(1000 * (_children_s() - before_s), 1000 * wall_s)


def _children_s() -> float:
    """The processor's time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
