"""Checks of the stage's settings and of the account. Only those of AWS send a request."""

from botocore.exceptions import ClientError

from chalicelib.settings import InvalidSettings, Secrets, Settings, read_secrets
from ops.check_couchdb import compare_clocks
from ops.deploy import check_sources
from ops.findings import Verdict, ok, wrong
from ops.lookups import account
from ops.stage import OpsError, Stage
from ops.tools import Client, Tools, is_missing


def check_settings(stage: Stage) -> Verdict:
    """The handlers will find what they need in their environment."""
    try:
        Settings.read(stage.variables)
    except InvalidSettings as exc:
        return wrong(
            f"{exc}; see stages.{stage.name}.environment_variables in .chalice/config.json"
        )
    return ok(".chalice/config.json has all that the handlers need")


def check_build(tools: Tools) -> Verdict:
    """The policies are those of the table, and the Lambdas' Python is this one."""
    try:
        check_sources(tools)
    except OpsError as exc:
        return wrong(str(exc))
    return ok("policies and Python are as the project has them")


def check_account(client: Client) -> Verdict:
    """There are credentials, and a region."""
    return ok(account(client))


def check_clock(client: Client, now_s: float) -> Verdict:
    """AWS's clock is ours."""
    answer = client("sts").get_caller_identity()
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return compare_clocks("AWS", date, now_s)


def find_secrets(stage: Stage, client: Client) -> Secrets:
    """What the stage's secret holds.

    Raises
    ------
    OpsError
        If there is none, or it is not of the right form; it shows nothing of the value.
    """
    try:
        return read_secrets(client("secretsmanager"), stage.secret_id)
    except InvalidSettings as exc:
        raise OpsError(f"{exc}; see docs/configuration.md") from exc
    except ClientError as exc:
        if not is_missing(exc):
            raise
        raise OpsError(f"there is no secret {stage.secret_id}; docs/deploy.md says how to") from exc


def check_secret(stage: Stage, client: Client) -> Verdict:
    """The secret is there, of the right form, and its link keys are long enough."""
    keys = len(find_secrets(stage, client).link_keys)
    return ok(f"{stage.secret_id} has CouchDB's URL and {keys} link key{'s' if keys > 1 else ''}")
