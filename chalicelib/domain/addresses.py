"""E-mail addresses, and the owners that they stand for. No I/O."""

import hashlib
import unicodedata

ADDRESS_LENGTH = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets


class InvalidAddress(ValueError):
    """What was given is no e-mail address; the message says why."""


def normalise_address(address: str) -> str:
    """The one spelling of an address that counts: trimmed, NFKC, lower case (docs/design.md).

    A device computes the same, offline.
    """
    return unicodedata.normalize("NFKC", address.strip()).lower()


def mail_address(address: str) -> str:
    """The address to send to: normalised, checked, its domain in ASCII.

    Whether the domain gets mail at all is for the mail service to say; no request is sent here.

    Raises
    ------
    InvalidAddress
        If it is no address that mail can be sent to.
    """
    # Imported here: of all Lambdas, only those that send mail need it.
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    normalised = normalise_address(address)
    # RFC 2047: mail libraries would decode it, into another address or a header of its own.
    if "=?" in normalised:
        raise InvalidAddress("it must not contain an encoded word (=?)")
    if len(normalised) > ADDRESS_LENGTH:
        raise InvalidAddress(f"it is longer than {ADDRESS_LENGTH} characters")
    try:
        valid = email_validator.validate_email(
            normalised, check_deliverability=False, allow_smtputf8=False
        )
    except email_validator.EmailNotValidError as exc:
        raise InvalidAddress(str(exc)) from exc
    return str(valid.ascii_email)


def owner_id_of(address: str) -> str:
    """The owner: the first 32 hex digits of SHA-256 of the normalised address."""
    return hashlib.sha256(normalise_address(address).encode()).hexdigest()[:32]
