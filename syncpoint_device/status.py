"""Collect what `status` shows: registration, agent, cloud, channels, invitations, replications."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from chalicelib.couch import CouchError, Database, NoDatabase
from chalicelib.domain.channel import DEFAULT_NAME, ENDED
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from syncpoint_device import channels, reasons
from syncpoint_device.channel_refusals import find_refused
from syncpoint_device.cloud import Registrations
from syncpoint_device.databases import CONTROL, OUTBOX, Device, exists
from syncpoint_device.endpoints import is_shared_id
from syncpoint_device.errors import CloudFailed
from syncpoint_device.home import Home
from syncpoint_device.known import Known
from syncpoint_device.network import is_behind_proxy
from syncpoint_device.progress import MAX_PAGES, compare, unsent, waiting_here
from syncpoint_device.refusals import Refusal, Refusals
from syncpoint_device.replications import Replication

# The states of a registration in which nobody is asked for the device code any more.
_ANSWERED = {"active", "revoking", "revoked", "rejected"}
WAITING_TO_BE_SENT = "waiting to be sent"
# Those in which something waits to be sent: a revoked device sends it when it registers again.
_SENT_LATER = {"active", "revoking", "revoked"}


@dataclass(frozen=True)
class _Situation:
    """What all parts of a status need: what was asked for once."""

    device: Device
    registration: str | None
    is_reached: bool
    is_agent_running: bool
    is_exact: bool
    known: Known
    replications: Sequence[Replication]
    subscriptions: dict[str, JsonDict]


def status(device: Device, home: Home | None = None, *, is_exact: bool = False) -> JsonDict:
    """Collect the status. Some requests; at most some more for each channel, of whatever size.

    Parameters
    ----------
    home : Home, optional
        The device's folder, with the notes on the agent and on the cloud.
    is_exact : bool
        Whether to compare all documents: four requests for each thousand changes of a channel.

    Returns
    -------
    dict
        - ``device``, ``name``, ``owner`` (the address)
        - ``registration``: its state, or None if it is not known
        - ``registration_error``: why the cloud could not process it, if the state is ``error``
        - ``device_code``: only while somebody has to type it
        - ``outbox``: the database from which the registration is sent, while there is one
        - ``agent``: ``{running, since?}``
        - ``cloud``: ``{url?, reached_at?, problem?, details?}``; `details` is the raw error
        - ``control``: ``{database, sync, why?}`` of the control database, and how far it is behind
        - ``refused``: the documents of the control database that the cloud refused,
          ``{document, reason}``; only if the cloud can be reached. At most 20; the others count as
          documents to send
        - ``devices``: the owner's other devices, ``{device, name, state}``
        - ``channels``: ``{channel, name, state, database?, subscription?, reason?, error?, sync,
          why?}``, and how far it is behind; no ``database`` if it is closed and has no copy here;
          ``members`` of an own channel, as addresses, or None for a guest whose address is not
          known; ``is_shared_with_me``; ``refused``, as above, if the channel is replicated and the
          cloud can be reached; ``unsent``, if it is closed or stopped and has a copy here that
          cannot be compared: how many documents may be on this device only, at most
        - ``invitations``: ``{invitation, email, channel, name, state, outdated?, error?}``;
          `outdated` says what became of it after its state was written
        - ``replications``: ``{of, from, to, state, stalled, reason?, details?}``

        `sync` is ``in_sync``, ``waiting``, ``off`` (nothing is replicated), ``ending`` (nothing
        should be replicated, but CouchDB still does it) or ``unknown``. How far a database is
        behind is what `progress.compare` returns. While the cloud cannot be reached,
        ``to_receive`` is what was known at ``as_of``.

    Raises
    ------
    CouchError
        If the device's own CouchDB does not answer.
    """
    profile, known = device.profile, Known(home)
    docs = channels.documents(device)
    own = next((doc for doc in docs if doc["_id"] == profile.device_id), {})
    registration, reason, problem, details = _registration(device, own.get("state"))
    if problem is None:
        known.reach(device.clock())
    if registration == "rejected" and home is not None:
        home.update(lambda kept: replace(kept, is_rejected=True))
    agent = None if home is None else home.running_agent()
    here = _Situation(
        device=device,
        registration=registration,
        is_reached=registration == "active" and problem is None and profile.cloud != "",
        is_agent_running=agent is not None,
        is_exact=is_exact,
        known=known,
        replications=device.replications.all(),
        subscriptions={doc["_id"]: doc for doc in docs if doc.get("type") == "subscription"},
    )
    result: JsonDict = {
        "device": profile.device_id,
        "name": profile.doc["name"],
        "owner": profile.owner_address,
        "registration": registration,
        **_without_none(registration_error=reason),
        "agent": _without_none(running=here.is_agent_running, since=(agent or {}).get("since")),
        "cloud": _without_none(
            url=profile.cloud or None,
            reached_at=known.reached_at,
            problem=problem,
            details=details,
        ),
    }
    if own.get("state") is None and registration not in _ANSWERED:
        result["device_code"] = profile.doc["device_code"]
    if any(one.group == OUTBOX for one in here.replications):
        result["outbox"] = device.outbox.name
    if here.is_reached:
        result["refused"] = _refused(device)
    result["control"] = _control(here, {one["document"] for one in result.get("refused", [])})
    result["devices"] = _other_devices(device, docs)
    addresses = channels.addresses(docs)
    result["channels"] = [_channel(here, doc, addresses) for doc in channels.named(docs)]
    result["invitations"] = _invitations(docs)
    result["replications"] = [_replication(device, one) for one in here.replications]
    known.save()
    return result


def _registration(
    device: Device, state_here: str | None
) -> tuple[str | None, str | None, str | None, str | None]:
    """Return the registration's state and its error, the problem with the cloud, and its details.

    Two requests at most.
    """
    profile = device.profile
    if profile.is_revoked:
        return "revoked", None, None, None
    try:
        state, reason = Registrations(profile.registrations).state_and_reason(profile.device_id)
    except CouchError as exc:
        why = reasons.of_error(exc, profile.registrations, "Syncpoint cloud")
        return state_here, None, f"cannot be reached: {why}", str(exc)
    if state != "active" or not profile.cloud:
        return state or WAITING_TO_BE_SENT, reason, None, None
    try:
        device.cloud_control.info()
    except CouchError as exc:
        why = reasons.of_error(exc, profile.cloud)
        return state, None, f"cannot be used: {why}", str(exc)
    return state, None, None, None


def _refused(device: Device) -> list[JsonDict]:
    try:
        return _listed(Refusals().find(device))
    except CloudFailed:
        return []  # the comparison says why


def _refused_in_channel(here: _Situation, local: Database, remote: Database) -> list[JsonDict]:
    try:
        return _listed(
            find_refused(
                local,
                remote,
                _of_database(here, local),
                here.known.refused,
                max_pages=math.inf if here.is_exact else MAX_PAGES,
            )
        )
    except CloudFailed:
        return []  # the comparison says why
    except NoDatabase:
        return []  # the agent has not created it here yet


def _listed(refusals: Iterable[Refusal]) -> list[JsonDict]:
    return [{"document": refusal.doc_id, "reason": refusal.reason} for refusal in refusals]


def _control(here: _Situation, refused: set[str]) -> JsonDict:
    device = here.device
    result: JsonDict = {"database": device.database.name}
    why = _why_off(here, CONTROL)
    remote = device.cloud_control if here.is_reached else None
    return result | _progress(here, device.database, remote, why, refused)


def _channel(here: _Situation, doc: JsonDict, addresses: dict[str, str]) -> JsonDict:
    device = here.device
    subscription = here.subscriptions.get(subscription_id(doc["_id"], device.profile.owner_id), {})
    local = device.channel(doc["_id"])
    result = _without_none(
        channel=doc["_id"],
        name=doc["name"],
        state=channels.state_of(doc),
        subscription=subscription.get("state"),
        reason=subscription.get("reason", doc.get("reason")),
        error=channels.why_in_error(doc),
        database=local.name,
        is_shared_with_me=channels.is_shared_with_me(doc),
    )
    if not result["is_shared_with_me"]:
        result["members"] = [addresses.get(who) for who in channels.member_ids(doc)]
    why_off = _why_channel_off(result) or _why_refused(here, doc, local)
    remote = None
    if here.is_reached and subscription.get("state") in ("active", "paused"):
        remote = device.channel_in_cloud(doc["_id"])
    if remote is not None and why_off is None:
        result["refused"] = _refused_in_channel(here, local, remote)
    refused = {one["document"] for one in result.get("refused", [])}
    is_ending = why_off is not None and _is_replicated(here, local.name)
    if is_ending and not here.is_agent_running:
        why_off = f"{why_off}. The agent would end that, but does not run; start it with `run`"
    why_off = why_off or _why_off(here, local.name)
    is_over = result["state"] in ENDED or subscription.get("state") == "stopped"
    result |= _progress(here, local, remote, why_off, refused, is_over=is_over)
    if is_over and "to_send" not in result and device.is_own(local):
        result |= _unsent(here, local)
    if result["state"] in ENDED and not exists(local):
        del result["database"]
    return result | ({"sync": "ending"} if is_ending else {})


def _why_channel_off(channel: JsonDict) -> str | None:
    """Return why a channel is not replicated, if its documents say so."""
    why = f": {channel['reason']}" if "reason" in channel else ""
    state, subscription = channel["state"], channel.get("subscription")
    if state == "new":
        return "the cloud has not created it yet"
    if state == "error":
        return f"the cloud cannot use it: {channel.get('error', 'no reason is given')}"
    if state == "closing":
        return "it is being closed"
    if state == "closed":
        return str(channel.get("reason", "it is closed"))
    if subscription is None:
        return "this device has not subscribed to it yet"
    return f"{subscription}{why}" if subscription != "active" else None


def _why_refused(here: _Situation, channel: JsonDict, local: Database) -> str | None:
    """Return why the agent does not replicate a channel here. At most two requests."""
    if channel.get("state") == "shared" and not is_shared_id(channel["_id"]):
        return reasons.ODD_ID
    if not _of_group(here, local.name) and here.device.is_anothers(local):
        return reasons.ANOTHERS.format(database=local.name)
    return None


def _why_off(here: _Situation, group: str) -> str | None:
    """Return why a group of databases is not replicated both ways, or None if it is."""
    if here.registration in ("revoked", "revoking"):
        return "this device is revoked"
    if here.registration != "active":
        return "the registration is not confirmed"
    found = _of_group(here, group)
    stalled = next((one for one in found if one.is_stalled), None)
    if stalled is not None:
        url = _remote_url(here.device, stalled)
        return _why_stalled(stalled.reason or stalled.state, url)
    if len(found) < 2:
        if here.is_agent_running:
            return "the agent starts the replication soon"
        return "nothing replicates it; start the agent with `run`"
    return None


def _progress(
    here: _Situation,
    local: Database,
    remote: Database | None,
    why_off: str | None,
    refused: set[str] | None = None,
    *,
    is_over: bool = False,
) -> JsonDict:
    """Return ``{sync, why?}`` of a database, and how far it is behind."""
    now, known = here.device.clock(), here.known
    found = _of_database(here, local)
    result: JsonDict = {}
    try:
        if remote is not None:
            result = compare(
                local,
                remote,
                found,
                known.positions,
                refused or set(),
                is_exact=here.is_exact,
                with_sizes=True,
            )
            known.remember(local.name, result, now)
        elif not is_over and not here.is_reached and here.registration in _SENT_LATER:
            result = waiting_here(local, found, known.positions)
            there = known.compared.get(local.name, {})
            is_estimate = result["is_estimate"] or there.get("is_estimate", False)
            result |= {**there, "is_estimate": is_estimate}
    except CouchError as exc:
        if remote is None:
            return _without_none(sync="off" if why_off else "unknown", why=why_off)
        why = reasons.of_error(exc, remote.url)
        result = {"problem": why, "details": str(exc)}
    if why_off is not None:
        return {"sync": "off", "why": why_off, **result}
    if "to_send" not in result or remote is None:
        return {"sync": "unknown", **result}
    waits = result["to_send"] or result["to_receive"] or result["is_estimate"]
    return {"sync": "waiting" if waits else "in_sync", **result}


def _is_replicated(here: _Situation, group: str) -> bool:
    """Tell whether CouchDB replicates a group of databases in any direction."""
    return any(not one.is_stalled for one in _of_group(here, group))


def _unsent(here: _Situation, local: Database) -> JsonDict:
    """Return ``{unsent}`` of a channel that is sent no more. Some requests."""
    note = here.known.refused.get(local.name, {})
    return {"unsent": unsent(local, _of_database(here, local), here.known.positions, note)}


def _of_group(here: _Situation, group: str) -> list[Replication]:
    return [one for one in here.replications if one.group == group]


def _of_database(here: _Situation, local: Database) -> list[Replication]:
    ends = ("source", "target")
    return [one for one in here.replications if local.url in [one.doc[end]["url"] for end in ends]]


def _other_devices(device: Device, docs: list[JsonDict]) -> list[JsonDict]:
    """List the owner's other devices, by the names and ids that `revoke` accepts."""
    return [
        {
            "device": doc["_id"],
            "name": str(doc.get("name", "without a name")),
            "state": channels.state_of(doc),
        }
        for doc in docs
        if doc.get("type") == "device" and doc["_id"] != device.profile.device_id
    ]


def _invitations(docs: list[JsonDict]) -> list[JsonDict]:
    """List the owner's invitations, and what became of them."""
    known = {channel["_id"]: channel for channel in channels.named(docs)}
    return [
        _without_none(
            invitation=doc["_id"],
            email=str(doc.get("email")),
            channel=str(doc.get("channel")),
            name=known.get(str(doc.get("channel")), {}).get("name", DEFAULT_NAME),
            state=channels.state_of(doc),
            error=channels.why_in_error(doc),
            **channels.outdated(doc, known.get(str(doc.get("channel")))),
        )
        for doc in docs
        if doc.get("type") == "invitation"
    ]


def _replication(device: Device, replication: Replication) -> JsonDict:
    raw = replication.reason if replication.is_stalled else None
    return _without_none(
        of=replication.group,
        state=replication.state,
        stalled=replication.is_stalled,
        reason=raw and _why_stalled(raw, _remote_url(device, replication)),
        details=raw,
        **{"from": replication.doc["source"]["url"], "to": replication.doc["target"]["url"]},
    )


def _why_stalled(raw: str, url: str) -> str:
    return reasons.of_replication(raw, url, is_behind_proxy=is_behind_proxy(url))


def _remote_url(device: Device, replication: Replication) -> str:
    """Return the URL of the end of a replication that is not the device's own database."""
    source, target = (str(replication.doc[end]["url"]) for end in ("source", "target"))
    here = f"{device.server.url}/{replication.group}"
    return target if source in (device.database.url, device.outbox.url, here) else source


def _without_none(**values: object) -> JsonDict:
    return {name: value for name, value in values.items() if value is not None}
