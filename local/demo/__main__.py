"""The demo, `python -m local.demo`: three devices of two people, and a channel that they share."""

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
from local.demo.steps import Demo, Limit, Story, Watch, expect
from local.errors import LocalError
from local.net import Net
from local.system import LocalSystem, Options, prepare_process

ADA, BEN = "ada@example.com", "ben@example.com"


def main() -> int:
    """Run the demo. Return 0, or 1 with the reason on stderr if a step fails."""
    argparse.ArgumentParser(prog="python -m local.demo", description=__doc__).parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    prepare_process()
    story, net = Story(), Net()
    story.chapter("Syncpoint on this machine")
    story.line("system", "starts CouchDB, AWS (moto) and the Lambdas; this takes some seconds")
    public_url, listening = net.reserve()
    couchdb_url = os.environ.get("COUCHDB_URL") or None
    try:
        options = Options(couchdb_url, couchdb_public_url=public_url)
        with LocalSystem(options) as system:
            net.forward(listening, system.couch_url)
            story.line("system", f"CouchDB is at {system.couch_url.rpartition('@')[2]}")
            story.line("system", f"the API is at {system.api}, the outbox at {system.outbox}")
            story.line("system", "a line with an arrow shows a document that changes its state")
            with closing(Demo(system, story, net, options)) as demo:
                run_chapters(demo)
    except (LocalError, CouchError, requests.RequestException) as exc:
        print(f"\ndemo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    story.chapter("Done. All processes are stopped, and all databases are removed.")
    return 0


def run_chapters(demo: Demo) -> None:
    """Run all chapters. A step fails with a reason, or after its time limit."""
    phone = register_by_mail(demo)
    laptop = register_another(demo, ADA, "laptop")
    watch = demo.watch_database(demo.control_of(ADA))
    channel_id = create_a_channel(demo, watch, phone, laptop)
    sync_without_the_cloud(demo, channel_id, phone, laptop)
    invite_a_guest(demo, watch, phone)
    tablet = register_another(demo, BEN, "tablet")
    sync_with_the_guest(demo, channel_id, phone, tablet)
    show_refusals(demo, watch, phone, tablet)
    remove_and_revoke(demo, watch, channel_id, phone, laptop, tablet)


def register_by_mail(demo: Demo) -> DeviceProcess:
    """Register the first device, and show what a person sees."""
    demo.story.chapter(f"{ADA} registers a phone")
    phone, link = demo.new_device(ADA, "phone")
    demo.story.chapter("Ada opens the link in the mail, and types the device code")
    page = visit(link)
    expect(page.status == 200, f"the link's page is {page.status}: {page.heading}")
    demo.story.line("page", page.heading)
    refused = submit(page, {"device_code": "AAAA-AAAA"})
    expect(refused.status == 403, f"a wrong code was not refused: {refused.status}")
    demo.story.line("page", f"a wrong code is refused: {refused.status}, {refused.problem}")
    demo.confirm(phone, link)
    again = submit(visit(link), {"device_code": phone.device.profile.doc["device_code"]})
    expect(again.status == 409, f"a second use of the link was not refused: {again.status}")
    demo.story.line("page", f"a second use of the link is refused: {again.status}, {again.heading}")
    return phone


def register_another(demo: Demo, owner: str, name: str) -> DeviceProcess:
    """Register one more device."""
    demo.story.chapter(f"{owner} registers a {name}")
    process, link = demo.new_device(owner, name)
    demo.confirm(process, link)
    return process


def create_a_channel(demo: Demo, watch: Watch, phone: DeviceProcess, laptop: DeviceProcess) -> str:
    """Create a channel on the phone, and sync it with the laptop. Return its id."""
    demo.story.chapter("The phone creates a channel, and the laptop gets its documents")
    channel = phone.command("channel", "create", "Photos")
    channel_id = str(channel["channel"])
    phone.database(channel["database"]).put({"_id": "photo-1", "of": "a lighthouse"})
    demo.story.line("phone", f"puts photo-1 into its own database {channel['database']}")
    watch.wait_for(channel_id, "ready")
    photo = demo.wait_for_doc(laptop.device.channel(channel_id), "photo-1")
    demo.story.line("laptop", f"has photo-1: {photo['of']}")
    return channel_id


def sync_without_the_cloud(
    demo: Demo, channel_id: str, phone: DeviceProcess, laptop: DeviceProcess
) -> None:
    """Replicate between the devices; the cloud gets the documents when it is reachable again."""
    demo.story.chapter("The network fails; the two devices replicate with each other")
    demo.net.cut()
    on_phone, on_laptop = phone.device.channel(channel_id), laptop.device.channel(channel_id)
    rev = on_phone.put({"_id": "photo-2", "of": "a storm"})
    phone.exchange(laptop, on_phone.name, on_laptop.name)
    demo.story.line("laptop", f"has photo-2 from the phone: {on_laptop.get('photo-2')['of']}")
    cloud = _in_cloud(demo, channel_id)
    expect(cloud.find_one("photo-2") is None, "the cloud has photo-2 without a network")
    demo.story.line("cloud", "does not have photo-2")
    demo.net.restore()
    demo.wait_for_doc(cloud, "photo-2")
    doc = cloud.get("photo-2", conflicts=True)
    expect((doc["_rev"], doc.get("_conflicts")) == (rev, None), "the revisions differ")
    demo.story.line(
        "cloud", "has photo-2 when the network is back, in the same revision, without a conflict"
    )


def invite_a_guest(demo: Demo, watch: Watch, phone: DeviceProcess) -> None:
    """Invite a guest without a device, who accepts with the link in the mail."""
    demo.story.chapter(f"The phone invites {BEN}, who has no device yet; he accepts")
    invitation = str(phone.command("channel", "invite", "Photos", BEN)["invitation"])
    watch.wait_for(invitation, "sent")
    link = demo.find_link(BEN, "/invitation/")
    page = visit(link)
    demo.story.line("page", page.heading)
    submit(page, {"answer": "accept"})
    watch.wait_for(invitation, "accepted")
    answered = visit(f"{link}?step=answered")
    expect(answered.status == 200, f"the answer's page is {answered.status}")
    demo.story.line("page", answered.heading)


def sync_with_the_guest(
    demo: Demo, channel_id: str, phone: DeviceProcess, tablet: DeviceProcess
) -> None:
    """Sync the channel with the guest's first device, in both directions."""
    demo.story.chapter("The tablet gets the channel that Ada shares with Ben")
    copy = tablet.device.channel(_in_cloud(demo, channel_id).name)
    photo = demo.wait_for_doc(copy, "photo-1")
    demo.story.line("tablet", f"has photo-1: {photo['of']}")
    copy.put({"_id": "photo-3", "of": "a ferry"})
    photo = demo.wait_for_doc(phone.device.channel(channel_id), "photo-3")
    demo.story.line("phone", f"has photo-3 from the tablet: {photo['of']}")


def show_refusals(demo: Demo, watch: Watch, phone: DeviceProcess, tablet: DeviceProcess) -> None:
    """Show what the cloud refuses."""
    demo.story.chapter("What the cloud refuses")
    ada = phone.device.cloud_control
    ready = {"_id": "channel-x", "type": "channel", "state": "ready"}
    hers = tablet.device.in_cloud(ada.name)
    demo.show_refusal("tablet", "reads Ada's control database", hers.info)
    demo.show_refusal("phone", "writes a channel in state ready", lambda: ada.put(ready))
    wrong = {"_id": "channel-y", "type": "channel", "state": "new", "name": "\u202egnp.exe"}
    ada.put(wrong)
    error = watch.wait_for("channel-y", "error")["error"]
    demo.story.line("phone", f"creates a channel with an invalid name: {error['reason']}")


def remove_and_revoke(
    demo: Demo,
    watch: Watch,
    channel_id: str,
    phone: DeviceProcess,
    laptop: DeviceProcess,
    tablet: DeviceProcess,
) -> None:
    """Remove a guest from the channel, and revoke a device."""
    demo.story.chapter("On her laptop, Ada removes Ben, and revokes the phone that she lost")
    mine, bens = laptop.device.database, tablet.device.database
    url: str = mine.get(channel_id)["syncpoint"]
    mine.update(channel_id, lambda doc: {**doc, "members": []})
    subscription = subscription_id(url.rpartition("/")[2], tablet.device.profile.owner_id)
    limit = Limit("Ben's subscription did not stop")
    while not bens.get(subscription).get("reason"):
        limit.pause()
    refused = tablet.device.in_cloud(url.rpartition("/")[2])
    demo.show_refusal("tablet", "reads the channel", refused.info)
    laptop.command("revoke", "phone")
    watch.wait_for(phone.device.profile.device_id, "revoked")
    expect(phone.wait_for_end() == 3, "the phone's agent did not end")
    photo = demo.wait_for_doc(laptop.device.channel(channel_id), "photo-3")
    demo.story.line("laptop", f"still has the channel, with photo-3: {photo['of']}")


def _in_cloud(demo: Demo, channel_id: str) -> Database:
    """Return the channel's database in the cloud, as the administrator sees it."""
    url: str = demo.control_of(ADA).get(channel_id)["syncpoint"]
    return demo.server.database(url.rpartition("/")[2])


if __name__ == "__main__":
    sys.exit(main())
