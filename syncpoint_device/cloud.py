"""The cloud as a device reaches it: the registrations endpoint, and checks of the connection."""

from dataclasses import replace
from enum import Enum, auto

from chalicelib.couch import Connection, CouchError, NotFound, Unauthorized
from chalicelib.domain.addresses import shown_address
from chalicelib.domain.documents import ERROR_STATE, JsonDict, generation_of
from chalicelib.domain.names import owner_control_db
from syncpoint_device.databases import OUTBOX, Device, Say
from syncpoint_device.endpoints import is_in_cloud, is_plain_url
from syncpoint_device.errors import (
    DeviceError,
    RegistrationRejected,
    Revoked,
    without_full_stop,
)
from syncpoint_device.home import Home, Profile
from syncpoint_device.log import Problem, Recovery
from syncpoint_device.network import CloudAdapter
from syncpoint_device.reasons import of_error

# What the agent prints about a registration, by the registration's state.
_PROGRESS = {
    "new": "the cloud has it, and sends a mail with a link to {owner}",
    "confirming": "open the link in the mail to {owner}, and type the device code {code} there",
    "confirmed": "confirmed; the cloud creates a login for this device",
    "expired": "nobody confirmed it in time; run `resend` for another mail",
    "undeliverable": "the mail did not arrive; if {owner} is right, run `resend` for another mail",
    "error": "the cloud could not process it: {reason}; run `resend` to try again",
}
# The states in which somebody has to do something.
_FAILED = ("expired", "undeliverable", ERROR_STATE)
NO_REASON = "it gives no reason"
_REASON_LENGTH = 200
# After so many checks that do not find the registration, the agent asks the endpoint why.
_MAX_MISSING_CHECKS = 2


class Registrations:
    """The client of the registrations endpoint. Every public method sends one request.

    Parameters
    ----------
    url : str
        ``https://…/registrations``.
    """

    def __init__(self, url: str) -> None:
        self._http = Connection(url, CloudAdapter())
        self.url = self._http.url

    def cloud(self) -> tuple[str, str]:
        """Return the URL of the cloud's CouchDB, and the name of its control database.

        Raises
        ------
        CouchError
            If the answer is not that of a registrations endpoint.
        """
        cloud = self._http.request_object("GET", "/").get("syncpoint")
        if not isinstance(cloud, dict) or not {"couchdb", "control_db"} <= cloud.keys():
            raise self._bad_answer()
        return str(cloud["couchdb"]), str(cloud["control_db"])

    def state(self, device_id: str) -> str | None:
        """Return the state of a registration, or None if the endpoint does not have it."""
        return self.state_and_reason(device_id)[0]

    def state_and_reason(self, device_id: str) -> tuple[str | None, str | None]:
        """Return the same, and the reason of an ``error``; None if the endpoint gives none."""
        try:
            answer = self._http.request_object("GET", f"/{device_id}")
        except NotFound:
            return None, None
        state, reason = answer.get("state"), answer.get("reason")
        if not isinstance(state, str):
            raise self._bad_answer()
        if state == ERROR_STATE and isinstance(reason, str) and reason:
            return state, without_full_stop(reason)[:_REASON_LENGTH]
        return state, None

    def refusal(self, doc: JsonDict) -> str | None:
        """Send a registration. Return why the endpoint refuses it, or None if it accepts it.

        Replication sends it as well, but a replicator does not report why a document was refused.

        Parameters
        ----------
        doc : dict
            The document with its revision.
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
            200, "bad_answer", f"{self.url} does not answer as a registrations endpoint"
        )


def fill_outbox(device: Device) -> JsonDict:
    """Put the registration of the device's file into the outbox, and have it replicated.

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
    device.replications.reconcile(OUTBOX, device.to_registrations())
    return doc


def remove_outbox(device: Device) -> None:
    """Delete the outbox and end its replication, because the registration has arrived."""
    device.replications.reconcile(OUTBOX, [])
    device.outbox.delete()


def find_cloud(profile: Profile, registrations: Registrations) -> Profile:
    """Return the profile with the cloud that the registrations endpoint names. One request.

    Raises
    ------
    DeviceError
        If the device must not send its password to that URL.
    """
    cloud, control_db = registrations.cloud()
    is_weaker = cloud.startswith("http:") and not profile.registrations.startswith("http:")
    database = f"{cloud}/{owner_control_db(control_db, profile.owner_id)}"
    if not is_plain_url(cloud) or is_weaker or not is_in_cloud(database, cloud):
        raise DeviceError(
            f"the registrations endpoint names the CouchDB {cloud!a} and the control database "
            f"{control_db!a}. These are not valid and secure, so this device does not send its "
            "password there. Ask the operator of the cloud to correct them"
        )
    return replace(profile, cloud=cloud, control_db=control_db)


class CloudStatus(Enum):
    """The result of a check of the cloud."""

    PENDING = auto()  # the registration is not active yet
    REACHED = auto()  # the cloud answers, and accepts the device's login
    UNREACHABLE = auto()  # the cloud does not answer, or refuses the login
    CHANGED = auto()  # the device has become active, or the cloud's CouchDB has another URL
    RECOVERED = auto()  # the cloud answers again


class CloudMonitor:
    """Checks of the cloud, and what is remembered from one check to the next."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home, self._say = home, say
        self.is_active = False
        self.is_unreachable = False
        self._last_said: dict[str, str] = {}
        self._missing_checks = 0
        self._sent_generation = 0  # the last one that was sent to the endpoint directly

    def check(self, device: Device) -> CloudStatus:
        """Ask the cloud's CouchDB, or the registrations endpoint if that refuses the login.

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
                return self._reached(CloudStatus.REACHED)
            except CouchError as exc:
                problem = exc
        registrations = Registrations(device.profile.registrations)
        try:
            if self._has_moved(device, registrations):
                return CloudStatus.CHANGED
            state, reason = registrations.state_and_reason(device.profile.device_id)
            if state in ("revoking", "revoked"):
                raise Revoked
            if problem is None:
                return self._check_registration(device, registrations, state, reason)
        except CouchError as exc:
            url = device.profile.cloud if problem else device.profile.registrations
            return self._unreachable(problem or exc, url)
        return self._unreachable(problem, device.profile.cloud)

    def _has_moved(self, device: Device, registrations: Registrations) -> bool:
        """Save the cloud that the endpoint names. Return whether it is a new one."""
        try:
            found = find_cloud(device.profile, registrations)
        except DeviceError as exc:  # the cloud's operator may correct the setting
            self._say_once("cloud", Problem(exc))
            return False
        if found == device.profile:
            return False
        self._home.update(
            lambda kept: replace(kept, cloud=found.cloud, control_db=found.control_db)
        )
        return True

    def _check_registration(
        self, device: Device, registrations: Registrations, state: str | None, reason: str | None
    ) -> CloudStatus:
        if state == "active" and device.profile.cloud:
            self.is_active = True
            self._home.update(lambda kept: replace(kept, is_active=True))
            self._say("registration", "confirmed; this device is active")
            return CloudStatus.CHANGED
        if state == "rejected":
            raise RegistrationRejected
        if state is None:
            self._find_refusal(device, registrations)
        else:
            self._send_resend(device, registrations)
            code = device.profile.doc["device_code"]
            owner = shown_address(device.profile.owner_address)
            text = _PROGRESS.get(state)
            why = reason or NO_REASON
            said = ascii(state) if text is None else text.format(code=code, owner=owner, reason=why)
            self._say_once("registration", Problem(said) if state in _FAILED else said)
        return self._reached(CloudStatus.PENDING)

    def _find_refusal(self, device: Device, registrations: Registrations) -> None:
        """Fail with the endpoint's reason if replication does not deliver the registration.

        A replicator neither reports why a document was refused, nor sends the document again.
        """
        self._missing_checks += 1
        if self._missing_checks >= _MAX_MISSING_CHECKS:
            reason = registrations.refusal(fill_outbox(device))
            if reason is not None:
                raise DeviceError(f"the cloud refused the registration: {reason}")

    def _send_resend(self, device: Device, registrations: Registrations) -> None:
        """Send a `resend` that was typed offline, because its quota may be used up."""
        generation = generation_of(device.profile.doc)
        if generation > self._sent_generation:
            reason = registrations.refusal(fill_outbox(device))
            self._sent_generation = generation
            if reason is not None:
                self._say_once("registration", Problem(f"the cloud sends no other mail: {reason}"))

    def _reached(self, status: CloudStatus) -> CloudStatus:
        was_unreachable, self.is_unreachable = self.is_unreachable, False
        if was_unreachable:
            self._say("cloud", Recovery("reached again"))
        return CloudStatus.RECOVERED if was_unreachable else status

    def _say_once(self, about: str, what: str) -> None:
        """Say something, unless it was the last thing that was said about the same subject."""
        if self._last_said.get(about) != what:
            self._last_said[about] = what
            self._say(about, what)

    def _unreachable(self, problem: CouchError, url: str) -> CloudStatus:
        if not self.is_unreachable:
            self.is_unreachable = True
            what = "refuses this device's login"
            if not isinstance(problem, Unauthorized):
                what = f"cannot be reached ({of_error(problem, url, 'Syncpoint cloud')})"
                what = "asks to wait" if problem.status == 429 else what
            self._say("cloud", Problem(f"{what}, trying again"))
        return CloudStatus.UNREACHABLE
