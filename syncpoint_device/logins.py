"""The agent's own login in the device's CouchDB, so that nobody's password is stored or sent.

The login is an administrator of that CouchDB, because nothing less will do. Only an administrator
may create databases and write into `_replicator`. The rules of the owner's control database
replicate to the device, too, and let nobody but administrators bring what the cloud wrote.
"""

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import replace

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from syncpoint_device.databases import Device, check_couchdb
from syncpoint_device.endpoints import is_server, split_login, with_login
from syncpoint_device.errors import AgentRunning, DeviceError, LoginRefused
from syncpoint_device.home import Home, Profile
from syncpoint_device.network import own_server
from syncpoint_device.registration import ITERATIONS

_SECTION = "admins"


def login_name(profile: Profile) -> str:
    """Return the name of the agent's own login."""
    return f"syncpoint-{profile.device_id}"


def has_own_login(profile: Profile) -> bool:
    """Tell whether the agent uses its own login, and not the one that somebody gave it."""
    login = split_login(profile.couch)[1]
    return login is not None and login[0] == login_name(profile)


def adopt(home: Home, device: Device) -> Device:
    """Create the agent's own login, and use it from now on. Some requests; none if it is used.

    A CouchDB without a login needs none. If the server accepts no new administrator, as one whose
    configuration cannot be written, the agent continues with the login that it was given.

    Raises
    ------
    LoginRefused
        If the server refuses the login that the agent was given.
    CouchError
        If the server does not answer.
    """
    given, name = device.profile.couch, login_name(device.profile)
    bare, login = split_login(given)
    if login is None or has_own_login(device.profile):
        return device
    password = _own_password(device.profile)
    own = with_login(bare, name, password)
    try:
        device.server.config_set(_SECTION, name, hashed(password))
        is_accepted = _is_administrator(own)
    except CouchError as exc:
        if exc.status == 0:
            raise
        return device
    if not is_accepted:
        with suppress(CouchError):
            device.server.config_delete(_SECTION, name)
        return device

    def use_own(kept: Profile) -> Profile:
        return replace(kept, couch=own) if kept.couch == given else kept

    return Device.of(home.update(use_own), device.say, device.clock)


def remove(device: Device) -> None:
    """Remove the agent's own login, as the last request of the device. A few requests.

    The only administrator is never removed, because some servers then let everybody in.
    """
    if not has_own_login(device.profile):
        return
    name = login_name(device.profile)
    if set(device.server.config_section(_SECTION)) - {name}:
        device.server.config_delete(_SECTION, name)


def change_couch(home: Home, device: Device, couch: str) -> JsonDict:
    """Use another URL or login for the device's own CouchDB, after a check. Some requests.

    Parameters
    ----------
    couch : str
        Its URL, with its administrator's credentials if it has one.

    Returns
    -------
    dict
        ``{couch, login, running}``: the URL without credentials, the name of the login that the
        agent uses now (None without one), and whether the running agent changes the replications.
        If no agent runs, they are changed already.

    Raises
    ------
    DeviceError
        If the server refuses the login, does not answer, or does not have this device's databases.
    """
    if not is_server(couch):
        raise DeviceError(
            "this is not the URL of a CouchDB: http://NAME:PASSWORD@HOST:PORT, with all but "
            "letters and digits of the password percent-encoded"
        )
    old = device.profile
    profile = replace(old, couch=couch.rstrip("/"))
    new = Device.of(profile, device.say, device.clock)
    check_couchdb(new.server)
    if not new.is_own(new.database):
        raise DeviceError(
            f"the CouchDB at {new.server.url} does not have this device's databases. Nothing was "
            "changed. Bring its data there first, or run `unlink` and then `register`"
        )
    home.update(lambda kept: replace(kept, couch=profile.couch))
    new = adopt(home, new)
    is_running = False
    try:
        with home.only_agent():
            _rewrite(new, old.couch)
    except AgentRunning:
        is_running = True
    bare, login = split_login(new.profile.couch)
    return {"couch": bare, "login": login[0] if login else None, "running": is_running}


def _rewrite(device: Device, old_couch: str) -> None:
    """Write this device's replications again, with the present URL and login of its CouchDB."""
    old, _ = split_login(old_couch)
    for replication in device.replications.all():
        ends = [replication.doc[name] for name in ("source", "target")]
        new = [device.own_endpoint(end["url"], old) or end for end in ends]
        if new != ends:
            device.replications.replace(replication, *new)


def _own_password(profile: Profile) -> str:
    """Return the password of the agent's own login. It does not tell the one for the cloud.

    It is always the same one, so whoever creates the login again, or at the same time, breaks
    nothing.
    """
    key = profile.password.encode()
    return hmac.new(key, login_name(profile).encode(), hashlib.sha256).hexdigest()


def hashed(password: str) -> str:
    """Return a password as a server stores an administrator's.

    CouchDB and PouchDB Server both know this form. CouchDB would store a plain password for a
    moment. It hashes with 600,000 iterations, which adds nothing to 256 random bits.
    """
    salt = secrets.token_hex(16)
    key = hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), ITERATIONS)
    return f"-pbkdf2-{key.hex()},{salt},{ITERATIONS}"


def _is_administrator(url: str) -> bool:
    server = own_server(url)
    try:
        return "_admin" in server.session().get("userCtx", {}).get("roles", [])
    except LoginRefused:
        return False
    except CouchError as exc:
        if exc.status == 0:
            raise
        return False
    finally:
        server.close()
