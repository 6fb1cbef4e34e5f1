"""The errors that CouchDB answers with, as one tree."""

# In the words of CouchDB 3, and of CouchDB 1 and the embedded server.
_NO_DATABASE = {"Database does not exist.", "no_db_file"}
# What CouchDB says when it is too busy to look, with whatever status.
_BUSY_ERRORS = {"all_dbs_active", "timeout", "service_unavailable"}


class CouchError(Exception):
    """CouchDB refused, failed, or did not answer.

    Attributes
    ----------
    status : int
        The HTTP status; 0 if no answer came.
    error, reason : str
        CouchDB's own two fields, ``unreachable`` and why if no answer came.
    """

    def __init__(self, status: int, error: str, reason: str, request: str = "") -> None:
        super().__init__(f"{request}: {status} {error}: {reason}" if request else reason)
        self.status = status
        self.error = error
        self.reason = reason


class BadRequest(CouchError):
    """400: a malformed request, a malformed seq among them."""


class Unauthorized(CouchError):
    """401: no such login, or no rights without one."""


class Forbidden(CouchError):
    """403: the login has no right to this, or a validation function refused it."""


class NotFound(CouchError):
    """404: no such document or database, or it was deleted."""


class NoDatabase(NotFound):
    """404: no such database. It may be the wrong server, and says nothing of a document."""


class Conflict(CouchError):
    """409: the document has another revision by now."""


class FileExists(CouchError):
    """412: the database exists already."""


class Unavailable(CouchError):
    """No answer, 429, a 5xx, or a busy server: it may pass, and says nothing of the document."""


class InvalidName(ValueError):
    """What was given is no name of a database, or no id of a document."""


class Unreadable(CouchError):
    """A good answer that cannot be read: nested too deeply, too many digits, or bytes, in it."""


_BY_STATUS: dict[int, type[CouchError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: FileExists,
    429: Unavailable,
}


def error_of(status: int, answer: object, request: str) -> CouchError:
    """The error that an answer stands for.

    Parameters
    ----------
    status : int
        The HTTP status.
    answer : object
        The answer's JSON: ``{error, reason}``, or whatever else came.
    request : str
        The method and path, as they may appear in a log.
    """
    if not isinstance(answer, dict) or "error" not in answer:
        # Whoever says so is not CouchDB: a proxy's 404 does not mean that a document is gone.
        return Unavailable(status, "unknown", "the answer is not CouchDB's", request)
    error = str(answer["error"])
    reason = str(answer.get("reason", "no reason given"))
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else CouchError)
    if error in _BUSY_ERRORS:
        kind = Unavailable
    elif kind is NotFound and reason in _NO_DATABASE:
        kind = NoDatabase
    return kind(status, error, reason, request)
