"""A function finds what is in its artifact and the runtime, and nothing of this project's tools."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from local.system import ROOT
from tests.runtime.harness.artifacts import Artifacts
from tests.runtime.harness.function import Function, runtime_environment
from tests.runtime.harness.world import World

NOT_THERE = ["moto", "pytest", "samcli", "flask", "local", "tests", "device", "ops", "docs", "pip"]
SHIPPED = ["api_handler", "poller"]


def run_python(world: World, name: str, code: str) -> "subprocess.CompletedProcess[str]":
    """Run a piece of Python where a function would be."""
    spec = world.specs[name]
    variables = runtime_environment(spec, world.artifacts.runtime)
    return subprocess.run(
        [sys.executable, "-S", "-s", "-c", code],
        cwd=spec.code,
        env={**variables, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("module", NOT_THERE)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_function_cannot_import_what_is_only_on_this_machine(
    world: World, name: str, module: str
) -> None:
    done = run_python(world, name, f"import {module}")
    assert f"ModuleNotFoundError: No module named '{module}'" in done.stderr


@pytest.mark.parametrize(("name", "module"), [("poller", "chalice"), ("poller", "app")])
def test_an_artifact_has_not_what_only_the_other_needs(
    world: World, name: str, module: str
) -> None:
    assert "ModuleNotFoundError" in run_python(world, name, f"import {module}").stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_a_function_imports_from_its_artifact_and_the_runtime_only(world: World, name: str) -> None:
    done = run_python(world, name, "import sys; print(*sys.path, sep='\\n')")
    ours = {"", str(world.specs[name].code), str(world.artifacts.runtime)}
    others = set(done.stdout.splitlines()) - ours
    assert others
    for path in others:
        assert "site-packages" not in path
        assert not path.startswith(str(ROOT))


def test_boto3_is_the_runtimes_and_chalice_is_the_artifacts(world: World) -> None:
    done = run_python(
        world, "api_handler", "import boto3, chalice; print(boto3.__file__, chalice.__file__)"
    )
    boto3_file, chalice_file = done.stdout.split()
    assert boto3_file.startswith(str(world.artifacts.runtime))
    assert chalice_file.startswith(str(world.specs["api_handler"].code))


def test_the_artifacts_hold_no_tests_and_no_secrets(artifacts: Artifacts) -> None:
    for path in artifacts.zips.values():
        with zipfile.ZipFile(path) as packed:
            names = set(packed.namelist())
        assert "chalicelib/settings.py" in names
        assert not [name for name in names if ".chalice" in name]
        assert not [name for name in names if name.split("/")[0] in NOT_THERE]


@pytest.mark.parametrize("function", ["device_new", "poller"])
def test_what_a_function_imports_from_its_artifact_is_compiled(world: World, function: str) -> None:
    code = world.specs[function].code
    paths = [code / name.replace(".", "/") for name in world.function(function).imports]
    sources = [path.with_suffix(".py") for path in paths] + [path / "__init__.py" for path in paths]
    shipped = [source for source in sources if source.exists()]
    assert len(shipped) > 50
    assert [one for one in shipped if not Path(cache_from_source(str(one))).exists()] == []


def test_neither_zip_is_larger_than_five_megabytes(artifacts: Artifacts) -> None:
    for name, path in artifacts.zips.items():
        size_bytes = path.stat().st_size
        print(f"{name}: {size_bytes / 1e6:.2f} MB")
        assert 100_000 < size_bytes < 5_000_000


def test_a_function_whose_code_cannot_be_imported_says_so(world: World, tmp_path: Path) -> None:
    spec = replace(world.specs["poller"], handler="poller.nowhere.handler")
    function = Function(spec, world.artifacts.runtime, tmp_path, world.environment("poller"))
    try:
        with pytest.raises(RuntimeError, match=r"Runtime\.ImportModuleError"):
            function.start()
    finally:
        function.stop()


def test_a_function_has_the_variables_of_its_stage_and_of_lambda(
    world: World,
) -> None:
    spec = world.specs["device_new"]
    stage = json.loads((ROOT / ".chalice/config.json").read_text())["stages"]["dev"]
    assert spec.variables == stage["environment_variables"]
    given = runtime_environment(spec, world.artifacts.runtime)
    assert {name for name in given if name not in spec.variables} == {
        *("AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME"),
        *("AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE"),
        *("AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_RUNTIME_DIR"),
        *("LAMBDA_TASK_ROOT", "LANG", "PATH", "PYTHONPATH", "TZ", "_HANDLER"),
    }
