"""Check that SES will send mails. Each check sends one or two requests."""

from botocore.exceptions import ClientError

from chalicelib.settings import InvalidSettings, Settings
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


def check_account(stage: Stage, client: Client) -> Verdict:
    """Check that the account can send mails, to everybody, and as many as the settings expect."""
    account = client("sesv2").get_account()
    if not account.get("SendingEnabled"):
        return wrong("SES has stopped this account from sending; SES's console says why")
    if not account.get("ProductionAccessEnabled"):
        return warning(
            "the account is in SES's sandbox, so only verified addresses get mails; "
            "request production access in SES's console"
        )
    limit = account.get("SendQuota", {}).get("Max24HourSend", 0)
    busy = _busy_hour(stage)
    if 0 < limit < busy * 24:
        return warning(
            f"SES takes {limit:.0f} mails a day, but an hour is busy after {busy} only, so a few "
            f"senders can use up what others need; set MAILS_BUSY_HOUR to {limit // 48:.0f}"
        )
    return ok(f"mails may go to everybody, up to {limit:.0f} a day")


def _busy_hour(stage: Stage) -> int:
    """Return MAILS_BUSY_HOUR of the stage; 0 if its settings are wrong, which is said elsewhere."""
    try:
        return Settings.read(stage.variables).mails_busy_hour
    except InvalidSettings:
        return 0


def check_configuration_set(stage: Stage, client: Client) -> Verdict:
    """Check that the configuration set exists that each mail names."""
    try:
        client("sesv2").get_configuration_set(ConfigurationSetName=stage.prefix)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return wrong(f"{stage.prefix} does not exist, and no mail is sent without it; deploy again")
    return ok(f"{stage.prefix} is there")
