"""`python -m local.demo`: two devices of one owner, a channel, a guest; and what does not work."""

import logging
import os
import sys

import requests

from chalicelib.couch import CouchError
from chalicelib.identity import subscription_id
from local.browser import submit, visit
from local.cast import Cast, Device, Story, expect
from local.errors import LocalError
from local.system import LocalSystem, Options, prepare_process
from local.watch import Watch

ADA, BEN = "ada@example.com", "ben@example.com"
CHANNEL, INVITATION = "channel-photos", "invitation-ben"


def main() -> int:
    """Tell the story; return 0, or 1 with the reason on stderr if a step fails."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    prepare_process()
    story = Story()
    story.chapter("Syncpoint on this machine")
    story.line("system", "starting: CouchDB, AWS (moto), the Lambdas; some seconds")
    try:
        options = Options(couchdb_url=os.environ.get("COUCHDB_URL") or None)
        with LocalSystem(options) as system:
            story.line("system", f"CouchDB {system.couch_url.rpartition('@')[2]}")
            story.line("system", f"API {system.api}, outbox {system.outbox}")
            tell(Cast(system, story))
    except (LocalError, CouchError, requests.RequestException) as exc:
        print(f"\ndemo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    story.chapter("Done; all that was started is stopped, all that was made is removed.")
    return 0


def tell(cast: Cast) -> None:
    """All chapters; each step fails with a reason, or after its time limit."""
    phone = register_by_mail(cast)
    laptop = register_another(cast, ADA, "laptop")
    watch = cast.watch_database(cast.control_of(ADA))
    make_a_channel(cast, watch, phone, laptop)
    invite_a_guest(cast, watch, phone)
    tablet = register_another(cast, BEN, "tablet")
    find_what_is_shared(cast, phone, tablet)
    meet_refusals(cast, watch, phone, tablet)
    part(cast, watch, phone, laptop, tablet)


def register_by_mail(cast: Cast) -> Device:
    """The first device, with all that a person sees."""
    cast.story.chapter(f"A device of {ADA} registers")
    phone = cast.new_device(ADA, "phone")
    cast.story.chapter("Ada opens the link in the mail, and types what the phone shows")
    page = visit(phone.link)
    expect(page.status == 200, f"the link's page is {page.status}: {page.heading}")
    cast.story.line("page", page.heading)
    refused = submit(page, {"device_code": "AAAA-AAAA"})
    expect(refused.status == 403, f"a wrong code was not refused: {refused.status}")
    cast.story.line("page", f"a wrong code: {refused.status}, {refused.problem}")
    cast.confirm(phone)
    again = submit(visit(phone.link), {"device_code": phone.new.device_code})
    expect(again.status == 409, f"a second click was not refused: {again.status}")
    cast.story.line("page", f"a second click: {again.status}, {again.heading}")
    return phone


def register_another(cast: Cast, owner: str, name: str) -> Device:
    """One more device, in short."""
    cast.story.chapter(f"{owner} registers a {name}")
    device = cast.new_device(owner, name)
    cast.confirm(device)
    return device


def make_a_channel(cast: Cast, watch: Watch, phone: Device, laptop: Device) -> None:
    """From one device's document to a database that both devices use."""
    cast.story.chapter("The phone writes a channel; laptop and phone share what is in it")
    control_db = cast.control_of(ADA).name
    channel = {"_id": CHANNEL, "type": "channel", "state": "new", "name": "Photos"}
    phone.database(control_db).put(channel)
    db = watch.wait_for(CHANNEL, "ready")["syncpoint"].rpartition("/")[2]
    phone.database(db).put({"_id": "photo-1", "of": "a lighthouse"})
    cast.story.line("phone", f"writes photo-1 into {db}")
    seen = laptop.database(control_db).get(CHANNEL)
    photo = laptop.database(db).get("photo-1")
    cast.story.line("laptop", f"sees the channel “{seen['name']}”, and {photo['of']}")


def invite_a_guest(cast: Cast, watch: Watch, phone: Device) -> None:
    """A guest without any device yet accepts by the link in a mail."""
    cast.story.chapter(f"The phone invites {BEN}, who has no device yet, and he accepts")
    doc = {"_id": INVITATION, "type": "invitation", "state": "new", "email": BEN}
    phone.database(cast.control_of(ADA).name).put({**doc, "channel": CHANNEL})
    watch.wait_for(INVITATION, "sent")
    link = cast.find_link(BEN, "/invitation/")
    page = visit(link)
    cast.story.line("page", page.heading)
    submit(page, {"answer": "accept"})
    watch.wait_for(INVITATION, "accepted")
    answered = visit(f"{link}?step=answered")
    expect(answered.status == 200, f"the answer's page is {answered.status}")
    cast.story.line("page", answered.heading)


def find_what_is_shared(cast: Cast, phone: Device, tablet: Device) -> None:
    """The guest's first device finds the channel, and the owner what the guest puts into it."""
    cast.story.chapter("The tablet finds the channel that was shared with Ben")
    db = _channel_db(cast)
    mine = tablet.database(cast.control_of(BEN).name)
    subscription = mine.get(_bens_subscription(cast))
    cast.story.line("tablet", f"channel “{mine.get(db)['name']}”, subscription active")
    expect(subscription["state"] == "active", "the guest's subscription is not active")
    tablet.database(db).put({"_id": "photo-2", "of": "a ferry"})
    cast.story.line("phone", f"sees {phone.database(db).get('photo-2')['of']}, from the tablet")


def meet_refusals(cast: Cast, watch: Watch, phone: Device, tablet: Device) -> None:
    """What devices may not do."""
    cast.story.chapter("What does not work")
    ada = cast.control_of(ADA).name
    mine = phone.database(ada)
    ready = {"_id": "channel-x", "type": "channel", "state": "ready"}
    cast.refused("tablet", "reads Ada's control database", tablet.database(ada).info)
    cast.refused("phone", "writes channel/ready itself", lambda: mine.put(ready))
    wrong = {"_id": "channel-y", "type": "channel", "state": "new", "name": "\u202egnp.exe"}
    mine.put(wrong)
    error = watch.wait_for_error("channel-y")
    cast.story.line("phone", f"writes a channel with a wrong name: {error['reason']}")


def part(cast: Cast, watch: Watch, phone: Device, laptop: Device, tablet: Device) -> None:
    """A guest is removed, a device revoked."""
    cast.story.chapter("Ada removes Ben, and revokes the phone that she lost, from the laptop")
    bens = cast.watch_database(cast.control_of(BEN))
    db, mine = _channel_db(cast), laptop.database(cast.control_of(ADA).name)
    mine.put({**mine.get(CHANNEL), "members": []})
    stopped = bens.wait_for(_bens_subscription(cast), "stopped")
    cast.story.line("tablet", f"is told: {stopped['reason']}")
    cast.refused("tablet", "reads the channel", tablet.database(db).info)
    mine.put({**mine.get(phone.new.device_id), "state": "revoking"})
    watch.wait_for(phone.new.device_id, "revoked")
    cast.refused("phone", "reads the channel", phone.database(db).info)
    cast.story.line("laptop", f"goes on: {laptop.database(db).get('photo-2')['of']}")


def _channel_db(cast: Cast) -> str:
    """The name of the channel's database."""
    url: str = cast.control_of(ADA).get(CHANNEL)["syncpoint"]
    return url.rpartition("/")[2]


def _bens_subscription(cast: Cast) -> str:
    return subscription_id(_channel_db(cast), cast.control_of(BEN).name.rpartition("-")[2])


if __name__ == "__main__":
    sys.exit(main())
