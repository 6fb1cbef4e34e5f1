"""`python -m local.demo`: two devices of one owner, a channel, a guest; and what does not work."""

import argparse
import logging
import os
import sys
from contextlib import closing

import requests

from chalicelib.couch import CouchError, Database
from chalicelib.domain.names import subscription_id
from local.browser import submit, visit
from local.demo.device_process import DeviceProcess
from local.demo.steps import Cast, Story, Watch, expect, within_limit
from local.errors import LocalError
from local.net import Net
from local.system import LocalSystem, Options, prepare_process

ADA, BEN = "ada@example.com", "ben@example.com"


def main() -> int:
    """Tell the story; return 0, or 1 with the reason on stderr if a step fails."""
    argparse.ArgumentParser(prog="python -m local.demo", description=__doc__).parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    prepare_process()
    story, net = Story(), Net()
    story.chapter("Syncpoint on this machine")
    story.line("system", "starting: CouchDB, AWS (moto), the Lambdas; some seconds")
    public_url, listening = net.reserve()
    couchdb_url = os.environ.get("COUCHDB_URL") or None
    try:
        options = Options(couchdb_url, couchdb_public_url=public_url)
        with LocalSystem(options) as system:
            net.forward(listening, system.couch_url)
            story.line("system", f"CouchDB {system.couch_url.rpartition('@')[2]}")
            story.line("system", f"API {system.api}, outbox {system.outbox}")
            with closing(Cast(system, story, net, options)) as cast:
                tell(cast)
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
    channel_id = make_a_channel(cast, watch, phone, laptop)
    meet_without_the_cloud(cast, channel_id, phone, laptop)
    invite_a_guest(cast, watch, phone)
    tablet = register_another(cast, BEN, "tablet")
    find_what_is_shared(cast, channel_id, phone, tablet)
    meet_refusals(cast, watch, phone, tablet)
    part(cast, watch, channel_id, phone, laptop, tablet)


def register_by_mail(cast: Cast) -> DeviceProcess:
    """The first device, with all that a person sees."""
    cast.story.chapter(f"A device of {ADA} registers")
    phone, link = cast.new_device(ADA, "phone")
    cast.story.chapter("Ada opens the link in the mail, and types what the phone shows")
    page = visit(link)
    expect(page.status == 200, f"the link's page is {page.status}: {page.heading}")
    cast.story.line("page", page.heading)
    refused = submit(page, {"device_code": "AAAA-AAAA"})
    expect(refused.status == 403, f"a wrong code was not refused: {refused.status}")
    cast.story.line("page", f"a wrong code: {refused.status}, {refused.problem}")
    cast.confirm(phone, link)
    again = submit(visit(link), {"device_code": phone.device.profile.doc["device_code"]})
    expect(again.status == 409, f"a second click was not refused: {again.status}")
    cast.story.line("page", f"a second click: {again.status}, {again.heading}")
    return phone


def register_another(cast: Cast, owner: str, name: str) -> DeviceProcess:
    """One more device, in short."""
    cast.story.chapter(f"{owner} registers a {name}")
    gadget, link = cast.new_device(owner, name)
    cast.confirm(gadget, link)
    return gadget


def make_a_channel(cast: Cast, watch: Watch, phone: DeviceProcess, laptop: DeviceProcess) -> str:
    """From a command on one device to a database that is in sync on both; the channel's id."""
    cast.story.chapter("The phone creates a channel; what is put into it is on both devices")
    said = phone.command("channel", "create", "Photos")
    channel_id = str(said["channel"])
    phone.database(said["database"]).put({"_id": "photo-1", "of": "a lighthouse"})
    cast.story.line("phone", f"puts photo-1 into its own {said['database']}")
    watch.wait_for(channel_id, "ready")
    photo = cast.wait_for_doc(laptop.device.channel(channel_id), "photo-1")
    cast.story.line("laptop", f"has photo-1: {photo['of']}")
    return channel_id


def meet_without_the_cloud(
    cast: Cast, channel_id: str, phone: DeviceProcess, laptop: DeviceProcess
) -> None:
    """Device to device; the cloud has it when it is there again."""
    cast.story.chapter("The network is gone; the two devices meet without the cloud")
    cast.net.cut()
    on_phone, on_laptop = phone.device.channel(channel_id), laptop.device.channel(channel_id)
    rev = on_phone.put({"_id": "photo-2", "of": "a storm"})
    phone.exchange(laptop, on_phone.name, on_laptop.name)
    cast.story.line("laptop", f"has photo-2 from the phone: {on_laptop.get('photo-2')['of']}")
    cloud = _in_cloud(cast, channel_id)
    expect(cloud.find_one("photo-2") is None, "the cloud has what it cannot have")
    cast.story.line("cloud", "has not")
    cast.net.restore()
    cast.wait_for_doc(cloud, "photo-2")
    doc = cloud.get("photo-2", conflicts=True)
    expect((doc["_rev"], doc.get("_conflicts")) == (rev, None), "the revisions differ")
    cast.story.line("cloud", "the network is back: photo-2, the same revision, no conflict")


def invite_a_guest(cast: Cast, watch: Watch, phone: DeviceProcess) -> None:
    """A guest without any device yet accepts by the link in a mail."""
    cast.story.chapter(f"The phone invites {BEN}, who has no device yet, and he accepts")
    invitation = str(phone.command("channel", "invite", "Photos", BEN)["invitation"])
    watch.wait_for(invitation, "sent")
    link = cast.find_link(BEN, "/invitation/")
    page = visit(link)
    cast.story.line("page", page.heading)
    submit(page, {"answer": "accept"})
    watch.wait_for(invitation, "accepted")
    answered = visit(f"{link}?step=answered")
    expect(answered.status == 200, f"the answer's page is {answered.status}")
    cast.story.line("page", answered.heading)


def find_what_is_shared(
    cast: Cast, channel_id: str, phone: DeviceProcess, tablet: DeviceProcess
) -> None:
    """The guest's first device finds the channel, and the owner what the guest puts into it."""
    cast.story.chapter("The tablet has the channel that was shared with Ben")
    copy = tablet.device.channel(_in_cloud(cast, channel_id).name)
    photo = cast.wait_for_doc(copy, "photo-1")
    cast.story.line("tablet", f"has photo-1: {photo['of']}")
    copy.put({"_id": "photo-3", "of": "a ferry"})
    photo = cast.wait_for_doc(phone.device.channel(channel_id), "photo-3")
    cast.story.line("phone", f"has photo-3, from the tablet: {photo['of']}")


def meet_refusals(cast: Cast, watch: Watch, phone: DeviceProcess, tablet: DeviceProcess) -> None:
    """What devices may not do."""
    cast.story.chapter("What does not work")
    ada = phone.device.cloud_control
    ready = {"_id": "channel-x", "type": "channel", "state": "ready"}
    cast.refused("tablet", "reads Ada's control database", tablet.device.remote(ada.url).info)
    cast.refused("phone", "writes channel/ready itself", lambda: ada.put(ready))
    wrong = {"_id": "channel-y", "type": "channel", "state": "new", "name": "\u202egnp.exe"}
    ada.put(wrong)
    error = watch.wait_for_error("channel-y")
    cast.story.line("phone", f"writes a channel with a wrong name: {error['reason']}")


def part(
    cast: Cast,
    watch: Watch,
    channel_id: str,
    phone: DeviceProcess,
    laptop: DeviceProcess,
    tablet: DeviceProcess,
) -> None:
    """A guest is removed, a device revoked."""
    cast.story.chapter("Ada removes Ben, and revokes the phone that she lost, from the laptop")
    mine, bens = laptop.device.database, tablet.device.database
    url: str = mine.get(channel_id)["syncpoint"]
    mine.update(channel_id, lambda doc: {**doc, "members": []})
    subscription = subscription_id(url.rpartition("/")[2], tablet.device.profile.owner_id)
    within_limit(lambda: bens.get(subscription).get("reason"), "Ben's subscription did not stop")
    cast.refused("tablet", "reads the channel", tablet.device.remote(url).info)
    laptop.command("revoke", "phone")
    watch.wait_for(phone.device.profile.device_id, "revoked")
    expect(phone.wait_for_end() == 3, "the phone's agent did not end")
    photo = cast.wait_for_doc(laptop.device.channel(channel_id), "photo-3")
    cast.story.line("laptop", f"goes on, with photo-3: {photo['of']}")


def _in_cloud(cast: Cast, channel_id: str) -> Database:
    """The channel's database in the cloud, as its administrator sees it."""
    url: str = cast.control_of(ADA).get(channel_id)["syncpoint"]
    return cast.server.database(url.rpartition("/")[2])


if __name__ == "__main__":
    sys.exit(main())
