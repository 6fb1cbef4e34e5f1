"""The cloud as a device reaches it: the registrations endpoint, the outbox, and the contact."""

from dataclasses import replace
from enum import Enum, auto

from chalicelib.couch import Connection, CouchError, NotFound, Unauthorized
from chalicelib.domain.documents import JsonDict, generation_of
from chalicelib.domain.names import owner_control_db
from device.databases import OUTBOX, Device, Say
from device.endpoints import is_in_cloud, is_plain_url
from device.errors import DeviceError, Revoked
from device.home import Home, Profile


class Registrations:
    """The registrations endpoint at a URL. Every public method sends one request.

    Parameters
    ----------
    url : str
        ``https://…/registrations``.
    """

    def __init__(self, url: str) -> None:
        self._http = Connection(url)
        self.url = self._http.url

    def cloud(self) -> tuple[str, str]:
        """The URL of the cloud's CouchDB, and the name of its control database.

        Raises
        ------
        CouchError
            If no registrations endpoint of Syncpoint's answers.
        """
        said = self._http.request_object("GET", "/").get("syncpoint")
        if not isinstance(said, dict) or not {"couchdb", "control_db"} <= said.keys():
            raise self._bad_answer()
        return str(said["couchdb"]), str(said["control_db"])

    def state(self, device_id: str) -> str | None:
        """The state of a registration; None if the registrations endpoint has not heard of it."""
        try:
            state = self._http.request_object("GET", f"/{device_id}").get("state")
        except NotFound:
            return None
        if not isinstance(state, str):
            raise self._bad_answer()
        return state

    def refusal(self, doc: JsonDict) -> str | None:
        """Why the registrations endpoint does not take a registration, None if it takes it.

        Replication brings it there, but a replicator tells nobody why a document was refused.

        Parameters
        ----------
        doc : dict
            With its revision.
        """
        generation, _, digest = str(doc["_rev"]).partition("-")
        revisions = {"start": int(generation), "ids": [digest]}
        body = {"docs": [{**doc, "_revisions": revisions}], "new_edits": False}
        rows = self._http.request("POST", "/_bulk_docs", body=body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._bad_answer()
        return str(rows[0].get("reason")) if rows else None

    def _bad_answer(self) -> CouchError:
        return CouchError(
            200, "bad_answer", f"{self.url} is no registrations endpoint of Syncpoint's"
        )


def fill_outbox(device: Device) -> JsonDict:
    """Put the registration in, as the device's file has it, and let it be replicated.

    Returns
    -------
    dict
        The document in the outbox.
    """
    wanted = device.profile.doc

    def change(doc: JsonDict) -> JsonDict:
        is_older = "type" not in doc or generation_of(doc) < generation_of(wanted)
        return {**doc, **wanted} if is_older else doc

    device.outbox.create()
    doc = device.outbox.update(device.profile.device_id, change, default={})
    device.replications.keep(OUTBOX, device.to_registrations())
    return doc


def empty_outbox(device: Device) -> None:
    """The registration has arrived: nothing of it need stay here."""
    device.replications.keep(OUTBOX, [])
    device.outbox.delete()


# What a person is told of a registration that is on its way, by its state.
_UNDER_WAY = {
    "new": "the cloud has it, and sends a mail with a link to {owner}",
    "confirming": "open the link in the mail to {owner}, and type the device code {code} there",
    "confirmed": "confirmed; the cloud makes its login",
    "expired": "nobody confirmed it in time; `resend` asks for another mail",
    "undeliverable": "the mail did not arrive; if {owner} is right, `resend` asks for another",
    "error": "the cloud could not go on with it; `resend` asks it to try once more",
}
# After so many looks in vain, the endpoint is asked why it does not accept a registration.
_PATIENCE = 2


class Sight(Enum):
    """What a look has found."""

    WAITING = auto()  # the registration is on its way
    WELL = auto()  # the cloud is there, and lets the device in
    LOST = auto()  # it is not, or does not
    CHANGED = auto()  # begin anew: the device is active now, or the cloud has another address
    BACK = auto()  # the cloud is there again


def hear(profile: Profile, registrations: Registrations) -> Profile:
    """Return the profile with the URL of the cloud's CouchDB, as the endpoint says. One request.

    Raises
    ------
    DeviceError
        If that is no place to send a password to.
    """
    cloud, control_db = registrations.cloud()
    is_weaker = cloud.startswith("http:") and not profile.registrations.startswith("http:")
    database = f"{cloud}/{owner_control_db(control_db, profile.owner)}"
    if not is_plain_url(cloud) or is_weaker or not is_in_cloud(database, cloud):
        raise DeviceError(
            f"the registrations endpoint says that the cloud's CouchDB is at {cloud!a}, and its "
            f"control database "
            f"is {control_db!a}: this device sends its password to no such place"
        )
    former = [profile.cloud] if profile.cloud not in ("", cloud) else []
    former = [*(url for url in profile.former_clouds if url != cloud), *former]
    return replace(profile, cloud=cloud, control_db=control_db, former_clouds=former)


class Contact:
    """What is known of the cloud from look to look."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home, self._say = home, say
        self.is_active = False
        self.is_lost = False
        self._told: dict[str, str] = {}
        self._in_vain = 0
        self._asked_for = 0  # the generation that the endpoint was last asked for

    def look(self, device: Device) -> Sight:
        """Ask the cloud's CouchDB, or the endpoint while CouchDB does not know the login.

        Raises
        ------
        Revoked
            If the device was revoked.
        DeviceError
            If the registration was refused for good.
        """
        problem: CouchError | None = None
        if self.is_active:
            try:
                device.cloud_control.info()
                return self._reached(Sight.WELL)
            except CouchError as exc:
                problem = exc
        registrations = Registrations(device.profile.registrations)
        try:
            if self._has_moved(device, registrations):
                return Sight.CHANGED
            state = registrations.state(device.profile.device_id)
            if state in ("revoking", "revoked"):
                raise Revoked
            if problem is None:
                return self._follow_registration(device, registrations, state)
        except CouchError as exc:
            return self._lost(problem or exc)
        return self._lost(problem)

    def _has_moved(self, device: Device, registrations: Registrations) -> bool:
        """Hear where the cloud's CouchDB is, and keep it; whether that is news."""
        try:
            heard = hear(device.profile, registrations)
        except DeviceError as exc:  # a slip of the cloud's operator: it may be mended
            self._tell("cloud", str(exc))
            return False
        if heard == device.profile:
            return False
        self._home.update(
            lambda kept: replace(
                kept,
                cloud=heard.cloud,
                control_db=heard.control_db,
                former_clouds=heard.former_clouds,
            )
        )
        return True

    def _follow_registration(
        self, device: Device, registrations: Registrations, state: str | None
    ) -> Sight:
        if state == "active" and device.profile.cloud:
            self.is_active = True
            self._say("registration", "active")
            return Sight.CHANGED
        if state == "rejected":
            raise DeviceError("the registration was refused: `unlink`, then `register` anew")
        if state is None:
            self._ask_why(device, registrations)
        else:
            self._ask_again(device, registrations)
            code, owner = device.profile.doc["device_code"], device.profile.address
            words = _UNDER_WAY.get(state)
            said = ascii(state) if words is None else words.format(code=code, owner=owner)
            self._tell("registration", said)
        return self._reached(Sight.WAITING)

    def _ask_why(self, device: Device, registrations: Registrations) -> None:
        """A replicator tells nobody why a document was refused, and does not come back to it."""
        self._in_vain += 1
        if self._in_vain >= _PATIENCE:
            reason = registrations.refusal(fill_outbox(device))
            if reason is not None:
                raise DeviceError(f"the cloud does not take the registration: {reason}")

    def _ask_again(self, device: Device, registrations: Registrations) -> None:
        """For another mail that was asked for offline: it may be one too many."""
        generation = generation_of(device.profile.doc)
        if generation > self._asked_for:
            reason = registrations.refusal(fill_outbox(device))
            self._asked_for = generation
            if reason is not None:
                self._tell("registration", f"there is no other mail: {reason}")

    def _reached(self, sight: Sight) -> Sight:
        was_lost, self.is_lost = self.is_lost, False
        if was_lost:
            self._say("cloud", "reached again")
        return Sight.BACK if was_lost else sight

    def _tell(self, about: str, what: str) -> None:
        """Say something, but not again when it was the last that was said of it."""
        if self._told.get(about) != what:
            self._told[about] = what
            self._say(about, what)

    def _lost(self, problem: CouchError) -> Sight:
        if not self.is_lost:
            self.is_lost = True
            what = "does not let this device in"
            if not isinstance(problem, Unauthorized):
                what = "asks to wait" if problem.status == 429 else "cannot be reached"
            self._say("cloud", f"{what} ({problem.reason}), trying again")
        return Sight.LOST
