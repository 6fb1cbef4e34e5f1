"""Check the stage's settings and the AWS account. Only the checks of AWS send requests."""

from botocore.exceptions import ClientError

from chalicelib.settings import InvalidSettings, Secrets, read_secrets
from ops import stage as stages
from ops.check_couchdb import compare_clocks
from ops.deploy import check_sources
from ops.findings import Verdict, ok, wrong
from ops.lookups import account
from ops.stage import OpsError, Stage
from ops.tools import Client, Tools, is_missing


def check_settings(stage: Stage, tools: Tools) -> Verdict:
    """Check that the environment of the handlers is complete and right."""
    try:
        stages.check_settings(stage, tools.root)
    except OpsError as exc:
        return wrong(str(exc))
    return ok(".chalice/config.json sets everything that the handlers need")


def check_build(tools: Tools) -> Verdict:
    """Check that the policies are up to date, and that this Python is the Lambdas'."""
    try:
        check_sources(tools)
    except OpsError as exc:
        return wrong(str(exc))
    return ok("the policies are up to date, and Python has the version of the Lambdas")


def check_account(client: Client) -> Verdict:
    """Check that there are credentials and a region."""
    return ok(account(client))


def check_clock(client: Client, now_s: float) -> Verdict:
    """Compare AWS's clock with this machine's."""
    answer = client("sts").get_caller_identity()
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return compare_clocks("AWS", date, now_s)


def find_secrets(stage: Stage, client: Client) -> Secrets:
    """Return the contents of the stage's secret.

    Raises
    ------
    OpsError
        If there is none, or if it has the wrong form. The message shows no part of the value.
    """
    try:
        return read_secrets(client("secretsmanager"), stage.secret_id)
    except InvalidSettings as exc:
        raise OpsError(f"{exc}; see docs/configuration.md") from exc
    except ClientError as exc:
        if not is_missing(exc):
            raise
        raise OpsError(
            f"there is no secret {stage.secret_id}; docs/deploy.md says how to create it"
        ) from exc


def check_secret(stage: Stage, client: Client) -> Verdict:
    """Check that the secret exists and has the right form, and the length of its link keys."""
    keys = len(find_secrets(stage, client).link_keys)
    return ok(f"{stage.secret_id} has CouchDB's URL and {keys} link key{'s' if keys > 1 else ''}")
