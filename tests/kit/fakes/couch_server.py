"""What FakeCouch answers beside its databases."""

from collections.abc import Callable
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_feeds import db_updates
from tests.kit.fakes.couch_http import Answer, Asked, Refusal
from tests.kit.fakes.couch_routes import info
from tests.kit.fakes.couch_store import Store
from tests.kit.fakes.couch_users import User

_MAX_KEYS = 100


def welcome(store: Store, asked: Asked, user: User) -> JsonDict:
    return {"couchdb": "Welcome", "version": "3.4.3", "vendor": {"name": "FakeCouch"}}


def session(store: Store, asked: Asked, user: User) -> JsonDict:
    known = {"authenticated": "default"} if user.name else {}
    return {
        "ok": True,
        "userCtx": {"name": user.name, "roles": list(user.roles)},
        "info": {"authentication_handlers": ["cookie", "default"], **known},
    }


def all_dbs(store: Store, asked: Asked, user: User) -> list[str]:
    asked.allow_params("start_key", "end_key", "startkey", "endkey", "limit")
    start = asked.param("start_key", asked.param("startkey", ""))
    end = asked.param("end_key", asked.param("endkey", "\uffff"))
    names = sorted(name for name in store.databases if start <= name <= end)
    return names[: asked.param("limit")]


def dbs_info(store: Store, asked: Asked, user: User) -> list[JsonDict]:
    keys = asked.object().get("keys")
    if not isinstance(keys, list):
        raise Refusal(400, "bad_request", "`keys` member must exist.")
    if len(keys) > _MAX_KEYS:
        raise Refusal(400, "bad_request", "`keys` member exceeds the maximum number of keys.")
    return [
        {"key": name, "info": info(store.databases[name])}
        if name in store.databases
        else {"key": name, "error": "not_found"}
        for name in keys
    ]


def config(store: Store, asked: Asked) -> str:
    """One value of the configuration; a change answers with the value of before."""
    key = (asked.path[3], asked.path[4])
    if asked.method == "PUT":
        before = store.config.get(key, "")
        store.config[key] = str(asked.json())
        return before
    if key not in store.config:
        raise Refusal(404, "not_found", "unknown_config_value")
    return store.config.pop(key) if asked.method == "DELETE" else store.config[key]


def answer_server(store: Store, asked: Asked, user: User) -> Any:
    """The answer to a request whose path begins with no database's name."""
    if asked.path[:3] == ["_node", "_local", "_config"] and len(asked.path) == 5:
        return config(store, asked)
    route = _ROUTES.get((asked.method, "/".join(asked.path)))
    if route is None:
        raise Refusal(404, "not_found", "missing")
    return route(store, asked, user)


_ROUTES: dict[tuple[str, str], Callable[[Store, Asked, User], Any]] = {
    ("GET", ""): welcome,
    ("GET", "_up"): lambda *_: Answer({"status": "ok", "seeds": {}}),
    ("GET", "_session"): session,
    ("GET", "_all_dbs"): all_dbs,
    ("POST", "_dbs_info"): dbs_info,
    ("GET", "_db_updates"): lambda store, asked, _: db_updates(
        store.database("_global_changes"), asked
    ),
}
