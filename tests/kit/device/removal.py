"""What devices of tests have made on a CouchDB, removed by the names that they were given."""

from collections.abc import Iterable
from contextlib import closing

from chalicelib.couch import Server
from syncpoint_device import logins
from syncpoint_device.home import Profile
from syncpoint_device.replications import Replications


def remove_devices(couch: str, prefix: str, profiles: Iterable[Profile]) -> None:
    """Remove their replications, databases and logins.

    A test may have spoilt a device's file, its login or its marks, so none of them is asked.

    Parameters
    ----------
    couch : str
        The CouchDB's URL, with its administrator's login.
    prefix : str
        How the names of all their databases begin.
    profiles : iterable of Profile
        The devices as they were registered.
    """
    names = {one.device_id: logins.login_name(one) for one in profiles}
    with closing(Server(couch)) as server:
        for device_id in names:
            Replications(server, device_id).remove_all()
        for name in server.all_dbs(prefix, prefix + "~", 1000):
            server.database(name).delete()
        for login in names.values():
            server.config_delete("admins", login)
