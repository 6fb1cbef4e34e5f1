"""What a Lambda must not import when it starts; in processes of their own, for here all is loaded.

tests/runtime/test_imports.py looks at the artifacts in the real runtime; this is at hand sooner.
"""

import json
import subprocess
import sys

import pytest

from local.system import ROOT

pytestmark = pytest.mark.io

# What takes long, and what only some events need.
LATER = {"boto3", "botocore.client", "jinja2", "email_validator", "email.policy"}
HANDLERS = {f"chalicelib.handlers.{name}" for name in ("channels", "devices", "invitations")}


def imported_by(script: str) -> set[str]:
    """The modules that are loaded once a script has run."""
    show = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", f"{script}\n{show}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(answer.stdout))


def test_the_functions_start_with_no_aws_sdk_no_templates_and_no_transitions() -> None:
    imported = imported_by("import app")
    assert {"chalice.app", "requests", "chalicelib.engine.dependencies"} <= imported
    assert not imported & (LATER | {"chalicelib.engine.batch", "chalicelib.web.confirm"})


def test_the_poller_starts_with_no_aws_sdk_and_nothing_of_the_handlers() -> None:
    imported = imported_by("import poller.app")
    assert {"requests", "chalicelib.couch"} <= imported
    assert not imported & (
        LATER | {"chalice", "chalicelib.engine.dependencies", "chalicelib.engine.docstate"}
    )


@pytest.mark.parametrize(
    ("doc_type", "needed"),
    [
        ("channel", {"channels"}),
        ("device", {"devices"}),
        ("confirm", {"devices"}),
        ("invitation", {"channels", "invitations"}),
    ],
)
def test_a_function_imports_the_transitions_of_its_own_type(
    doc_type: str, needed: set[str]
) -> None:
    script = f"from chalicelib.handlers import registry_for; registry_for({doc_type!r})"
    imported = imported_by(script)
    assert imported & HANDLERS == {f"chalicelib.handlers.{name}" for name in needed}


def test_the_registry_has_all_transitions_for_who_asks_for_it() -> None:
    script = (
        "from chalicelib.handlers import MODULES; from chalicelib.handlers.all import registry; "
        "assert {one.doc_type for one in registry} == set(MODULES)"
    )
    assert imported_by(script) >= HANDLERS


def test_a_client_is_made_without_boto3() -> None:
    script = (
        "import os; os.environ['AWS_DEFAULT_REGION'] = 'us-east-1'\n"
        "from chalicelib.aws.clients import make_client; make_client('dynamodb')"
    )
    imported = imported_by(script)
    assert "botocore.client" in imported
    assert "boto3" not in imported
