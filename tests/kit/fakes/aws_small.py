# ruff: noqa: N803 - the arguments have AWS's names
"""SES, Secrets Manager and the parameters of SSM, in memory: an operation each."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.aws_errors import client_error

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret"


class Ses:
    """Takes every mail, from whomever to whomever, and gives its MIME to `take`."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def send_email(
        self,
        *,
        FromEmailAddress: str,
        Destination: dict[str, list[str]],
        Content: dict[str, Any],
        EmailTags: Sequence[dict[str, str]] = (),
        ConfigurationSetName: str = "",
    ) -> JsonDict:
        [_] = Destination["ToAddresses"]
        mime = Content["Raw"]["Data"]
        if not isinstance(mime, bytes):
            raise TypeError("Content.Raw.Data is bytes")
        self._take(mime)
        return {"MessageId": f"{uuid.uuid4()}-000000"}


class SecretsManager:
    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def get_secret_value(self, *, SecretId: str) -> JsonDict:
        if SecretId not in self.secrets:
            raise client_error("GetSecretValue", "ResourceNotFoundException", "no such secret")
        arn = f"{ARN}:{SecretId}-AbCdEf"
        return {"ARN": arn, "Name": SecretId, "SecretString": self.secrets[SecretId]}


class Ssm:
    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}

    def get_parameter(self, *, Name: str) -> JsonDict:
        if Name not in self.parameters:
            raise client_error("GetParameter", "ParameterNotFound")
        return {"Parameter": {"Name": Name, "Type": "String", "Value": self.parameters[Name]}}
