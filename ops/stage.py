"""Read a stage from .chalice/config.json, and name its resources. No request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path

from chalicelib.domain.documents import JsonDict
from chalicelib.settings import InvalidSettings, Settings
from ops.rights import RIGHTS

ROOT = Path(__file__).parent.parent
APP_NAME = "syncpoint"
CHALICES_TIMEOUT_S = 60  # where the config has no `lambda_timeout`


class OpsError(Exception):
    """A command has failed; the message is for the operator."""


@dataclass(frozen=True)
class Stage:
    """One deployment.

    Attributes
    ----------
    variables : mapping
        The environment of the handlers.
    api_stage : str
        The last part of the API's URL.
    """

    name: str
    variables: Mapping[str, str]
    api_stage: str = "api"

    @property
    def prefix(self) -> str:
        """The prefix of all names of the stage; also the name of its stack and its table."""
        return f"{APP_NAME}-{self.name}"

    @property
    def dead_letters(self) -> str:
        """The name of the dead-letter queue."""
        return f"{self.prefix}-dead-letters"

    @property
    def secret_id(self) -> str:
        """The name of the secret with CouchDB's URL and the link keys."""
        return f"{APP_NAME}/{self.name}"

    @property
    def public_url_parameter(self) -> str:
        """The name of the SSM parameter with the API's URL."""
        return f"/{APP_NAME}/{self.name}/public-url"

    @property
    def control_db(self) -> str:
        """The control database."""
        return self.variables.get("CONTROL_DB", "control")

    @property
    def sender(self) -> str:
        """The address that mails come from, without a name."""
        return parseaddr(self.variables.get("MAIL_FROM", ""))[1]

    def names(self) -> dict[str, str]:
        """Return the variables that must have fixed values, because the policies contain them."""
        names = {
            "STAGE": self.name,
            "TABLE_NAME": self.prefix,
            "SECRET_ID": self.secret_id,
            "MAIL_CONFIGURATION_SET": self.prefix,
        }
        if not self.variables.get("PUBLIC_URL"):
            names["PUBLIC_URL_PARAMETER"] = self.public_url_parameter
        return names


def read_config(root: Path = ROOT) -> JsonDict:
    """Return .chalice/config.json."""
    config: JsonDict = json.loads((root / ".chalice/config.json").read_text(encoding="utf-8"))
    return config


def read_stage(name: str, root: Path = ROOT) -> Stage:
    """Return a stage of .chalice/config.json.

    Raises
    ------
    OpsError
        If there is no such stage, or if its environment has other names than the policies.
    """
    stages = read_config(root)["stages"]
    if name not in stages:
        there = ", ".join(sorted(stages)) or "none"
        raise OpsError(f"there is no stage {name!r} in .chalice/config.json; there are: {there}")
    given_stage = stages[name]
    stage = Stage(
        name,
        given_stage.get("environment_variables", {}),
        given_stage.get("api_gateway_stage", "api"),
    )
    for variable, wanted in stage.names().items():
        given = stage.variables.get(variable)
        if given != wanted:
            raise OpsError(
                f"stage {name!r} in .chalice/config.json has {variable}={given!r}; "
                f"it must be {wanted!r}, as in the policies"
            )
    return stage


def where_to_set(stage: Stage) -> str:
    """Return where an operator sets a variable of a stage."""
    return f"in .chalice/config.json, stages.{stage.name}.environment_variables"


def check_settings(stage: Stage, root: Path = ROOT) -> None:
    """Check the environment of the handlers, and that a claim outlasts every handler that holds it.

    Raises
    ------
    OpsError
        If a variable is missing or wrong, or the lease of a claim is too short.
    """
    from chalice.config import Config

    place = where_to_set(stage)
    try:
        lease_s = Settings.read(stage.variables).claim_lease_s
    except InvalidSettings as exc:
        raise OpsError(f"{exc}; set it {place}") from exc
    config = read_config(root)
    for function in [name for name, rights in RIGHTS.items() if rights.claims]:
        timeout_s = Config(stage.name, function, None, config).lambda_timeout or CHALICES_TIMEOUT_S
        if lease_s <= timeout_s:
            raise OpsError(
                f"CLAIM_LEASE_SECONDS must be more than {timeout_s}, the lambda_timeout of "
                f"{function}, and is {lease_s}: a second worker would send the same mail while the "
                f"first one is still at work; set it {place}"
            )


def lambda_name(stage: str, function: str) -> str:
    """Return the name that Chalice gives a function; the function of all routes has the app's."""
    return f"{APP_NAME}-{stage}" + ("" if function == "api_handler" else f"-{function}")
