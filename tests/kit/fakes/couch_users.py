"""Who asks FakeCouch, and what they may ask. Design documents are not run."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import StoredDatabase
from tests.kit.fakes.couch_http import Asked, Refusal

USER_PREFIX = "org.couchdb.user:"
WRONG = Refusal(401, "unauthorized", "Name or password is incorrect.")


@dataclass(frozen=True)
class User:
    """Somebody with a login; no name is somebody without."""

    name: str | None = None
    roles: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        return "_admin" in self.roles

    def is_among(self, listed: JsonDict) -> bool:
        """Whether one of the two lists of a security object names this user."""
        return self.name in listed.get("names", []) or self._has_one_of(listed.get("roles", []))

    def _has_one_of(self, roles: Iterable[str]) -> bool:
        return not set(self.roles).isdisjoint(roles)


def user_of(asked: Asked, admins: Mapping[str, str], users: StoredDatabase | None) -> User:
    """The user of a request's name and password."""
    if not asked.authorization:
        return User()
    scheme, _, encoded = asked.authorization.partition(" ")
    if scheme != "Basic":
        raise NotImplementedError(f"Authorization: {scheme}")
    name, _, password = base64.b64decode(encoded).decode().partition(":")
    if name in admins:
        if admins[name] != password:
            raise WRONG
        return User(name, ("_admin",))
    document = users.documents.get(USER_PREFIX + name) if users else None
    login = {} if document is None or document.is_deleted else document.winner.body or {}
    if not _is_password_of(login, password):
        raise WRONG
    return User(name, tuple(login.get("roles", [])))


def allow_server(user: User, path: list[str]) -> None:
    """Refuse what only an administrator of the server may ask."""
    if not user.is_admin and path not in ([], ["_session"], ["_up"]):
        raise Refusal(401, "unauthorized", "You are not a server admin.")


def allow_database(user: User, database: StoredDatabase, asked: Asked) -> None:
    """Refuse who is no member; and of members, what only administrators may do."""
    if user.is_admin:
        return
    if database.name == "_users":
        if asked.method != "GET" or asked.path[1:] != [f"{USER_PREFIX}{user.name}"]:
            raise _refusal(user, "You are not allowed to access this db.")
        return
    admins, members = (database.security.get(kind, {}) for kind in ("admins", "members"))
    below = asked.path[1] if len(asked.path) > 1 else ""
    is_for_admins = below in ("_security", "_index") or below.startswith("_design")
    if user.is_among(admins):
        return
    if is_for_admins and asked.method not in ("GET", "HEAD"):
        raise _refusal(user, "You are not a db or server admin.")
    is_open = not members.get("names") and not members.get("roles")
    if not is_open and not user.is_among(members):
        raise _refusal(user, "You are not allowed to access this db.")


def check_user_doc(doc_id: str, doc: JsonDict) -> None:
    """What the design document of ``_users`` refuses, as far as it is met here."""
    if not doc.get("_deleted") and doc_id != f"{USER_PREFIX}{doc.get('name')}":
        raise Refusal(403, "forbidden", "Doc ID must be of the form org.couchdb.user:name")


def _refusal(user: User, reason: str) -> Refusal:
    if user.name is None:
        return Refusal(401, "unauthorized", "You are not authorized to access this db.")
    return Refusal(403, "forbidden", reason)


def _is_password_of(login: JsonDict, password: str) -> bool:
    if login.get("password_scheme") != "pbkdf2":
        return False
    wanted = bytes.fromhex(login["derived_key"])
    prf = login.get("pbkdf2_prf", "sha")
    key = hashlib.pbkdf2_hmac(
        "sha1" if prf == "sha" else prf,
        password.encode(),
        login["salt"].encode(),
        login["iterations"],
        len(wanted),
    )
    return key == wanted
