"""Checks of SES: whether mails will go out. Each sends a request or two, to look."""

from botocore.exceptions import ClientError

from ops.findings import Verdict, ok, warning, wrong
from ops.stage import Stage
from ops.tools import Client, is_missing


def check_sender(stage: Stage, client: Client) -> Verdict:
    """MAIL_FROM is verified, or its domain, or one that this is part of."""
    pending = ""
    for identity in identities(stage.sender):
        try:
            answer = client("sesv2").get_email_identity(EmailIdentity=identity)
        except ClientError as exc:
            if not is_missing(exc):
                raise
            continue
        if answer.get("VerifiedForSendingStatus"):
            return ok(f"{identity} is verified")
        pending = pending or identity
    if pending:
        return wrong(f"{pending} is not verified yet: follow the link in the mail, or set its DNS")
    return wrong(
        f"MAIL_FROM is {stage.sender}, which SES does not know in this region: "
        f"`aws sesv2 create-email-identity --email-identity {stage.sender}`"
    )


def identities(sender: str) -> list[str]:
    """What SES may know an address by: itself, its domain, each domain above but the topmost."""
    labels = sender.rpartition("@")[2].split(".")
    return [sender, *(".".join(labels[start:]) for start in range(max(len(labels) - 1, 1)))]


def check_account(client: Client) -> Verdict:
    """The account may send, and to everybody."""
    account = client("sesv2").get_account()
    if not account.get("SendingEnabled"):
        return wrong("SES has stopped this account's sending: see its console for the reason")
    if not account.get("ProductionAccessEnabled"):
        return warning(
            "the account is in SES's sandbox: mails go to verified addresses only; "
            "ask for production access in SES's console"
        )
    most = account.get("SendQuota", {}).get("Max24HourSend", 0)
    return ok(f"may send to everybody, {most:.0f} mails a day")


def check_configuration_set(stage: Stage, client: Client) -> Verdict:
    """The configuration set that each mail names is there."""
    try:
        client("sesv2").get_configuration_set(ConfigurationSetName=stage.prefix)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return wrong(f"{stage.prefix} is not there, and no mail goes out without it: deploy again")
    return ok(f"{stage.prefix} is there")
