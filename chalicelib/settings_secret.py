"""The secret: CouchDB's URL with an administrator's credentials, and the keys of links in mails."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.settings_variables import InvalidSettings, match

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# An unescaped / or @ in the password would leave it in what is taken for the host or the path.
parse_couchdb_url = match(r"https?://([^\s/?#@]+@)?[^\s/?#@]+(/[^\s?#@]*)?", "CouchDB's URL")


@dataclass(frozen=True)
class Secrets:
    """What the secret holds.

    Attributes
    ----------
    couchdb_url : str
        With an administrator's credentials.
    link_keys : tuple of bytes
        The first signs the links in mails, all of them verify.
    """

    couchdb_url: str
    link_keys: tuple[bytes, ...]


def read_secrets(client: "SecretsManagerClient", secret_id: str) -> Secrets:
    """Fetch the secret, ``{"couchdb_url": URL, "link_keys": [HEX, …]}``. One request.

    Raises
    ------
    InvalidSettings
        If it is not of that form, or a key is shorter than 32 bytes; it shows nothing of the value.
    """
    value = client.get_secret_value(SecretId=secret_id).get("SecretString", "")
    try:
        raw = json.loads(value)
        keys = tuple(bytes.fromhex(key) for key in list(raw["link_keys"]))
        url = parse_couchdb_url(raw["couchdb_url"])
    except (ValueError, TypeError, KeyError):
        raise InvalidSettings(
            f'the secret {secret_id} must be {{"couchdb_url": URL, "link_keys": [HEX, …]}}'
        ) from None
    if not keys or any(len(key) < 32 for key in keys):
        raise InvalidSettings(f"the secret {secret_id} needs link_keys of 32 bytes or more each")
    return Secrets(url, keys)
