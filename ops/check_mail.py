"""Check that SES will send mails. Each check sends one or two requests."""

from botocore.exceptions import ClientError

from ops.findings import Verdict, ok, warning, wrong
from ops.stage import Stage
from ops.tools import Client, is_missing


def check_sender(stage: Stage, client: Client) -> Verdict:
    """Check that MAIL_FROM is verified, or its domain, or a parent domain."""
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
        return wrong(
            f"{pending} is not verified yet; follow the link in AWS's mail, or set the DNS records"
        )
    return wrong(
        f"SES does not know MAIL_FROM ({stage.sender}) in this region; verify it: "
        f"`aws sesv2 create-email-identity --email-identity {stage.sender}`"
    )


def identities(sender: str) -> list[str]:
    """Return the identities that may cover an address: itself, its domain, parent domains."""
    labels = sender.rpartition("@")[2].split(".")
    return [sender, *(".".join(labels[start:]) for start in range(max(len(labels) - 1, 1)))]


def check_account(client: Client) -> Verdict:
    """Check that the account can send mails, and to everybody."""
    account = client("sesv2").get_account()
    if not account.get("SendingEnabled"):
        return wrong("SES has stopped this account from sending; SES's console says why")
    if not account.get("ProductionAccessEnabled"):
        return warning(
            "the account is in SES's sandbox, so only verified addresses get mails; "
            "request production access in SES's console"
        )
    limit = account.get("SendQuota", {}).get("Max24HourSend", 0)
    return ok(f"mails may go to everybody, up to {limit:.0f} a day")


def check_configuration_set(stage: Stage, client: Client) -> Verdict:
    """Check that the configuration set exists that each mail names."""
    try:
        client("sesv2").get_configuration_set(ConfigurationSetName=stage.prefix)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return wrong(f"{stage.prefix} does not exist, and no mail is sent without it; deploy again")
    return ok(f"{stage.prefix} is there")
