"""What the fake services raise, and what `client.exceptions` names: botocore's own words."""

from typing import Any

from botocore.exceptions import ClientError


class ConditionalCheckFailedException(ClientError):
    pass


class ResourceNotFoundException(ClientError):
    pass


class QueueDoesNotExist(ClientError):
    pass


class ParameterNotFound(ClientError):
    pass


class Exceptions:
    """`client.exceptions`: the services' own errors are classes, any other is a `ClientError`."""

    ClientError = ClientError
    ConditionalCheckFailedException = ConditionalCheckFailedException
    ResourceNotFoundException = ResourceNotFoundException
    QueueDoesNotExist = QueueDoesNotExist
    ParameterNotFound = ParameterNotFound


# botocore finds the class by the code that the service answers.
_CLASSES: dict[str, type[ClientError]] = {
    "ConditionalCheckFailedException": ConditionalCheckFailedException,
    "ResourceNotFoundException": ResourceNotFoundException,
    "AWS.SimpleQueueService.NonExistentQueue": QueueDoesNotExist,
    "ParameterNotFound": ParameterNotFound,
}


def client_error(
    operation: str, code: str, message: str = "", status: int = 400, **more: Any
) -> ClientError:
    """The error that a boto3 client raises for an answer with this code.

    Parameters
    ----------
    operation : str
        As botocore writes it: ``UpdateItem``.
    more : Any
        What else the answer holds: the item whose condition failed.
    """
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
        **more,
    }
    return _CLASSES.get(code, ClientError)(answer, operation)


def invalid(operation: str, message: str) -> ClientError:
    """What DynamoDB raises for a request that makes no sense to it."""
    return client_error(operation, "ValidationException", message)
