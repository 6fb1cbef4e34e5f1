"""The least that a function with these clients does when it starts cold; it has no work of its own.

Nothing of the project is imported here: it is copied into an artifact of its own.
"""

import os

import boto3
import requests
from botocore.config import Config

CONFIG = Config(connect_timeout=2, read_timeout=5)
CLIENTS = [
    boto3.client(service, config=CONFIG)  # type: ignore[call-overload]
    for service in filter(None, os.environ["CLIENTS"].split(","))
]
SESSION = requests.Session()


def handler(event: object, context: object) -> int:
    """Do nothing."""
    return len(CLIENTS)
