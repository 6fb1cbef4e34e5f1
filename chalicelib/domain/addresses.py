"""E-mail addresses, and the owner ids that are computed from them. No I/O."""

import hashlib
import unicodedata

ADDRESS_LENGTH = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


class InvalidAddress(ValueError):
    """Raised when a text is not an e-mail address; the message says why."""


def normalise_address(address: str) -> str:
    """Normalise an address: trimmed, NFKC, lower case (docs/design.md).

    A device computes the same text offline.
    """
    return unicodedata.normalize("NFKC", address.strip()).lower()


def mail_address(address: str) -> str:
    """Return the address that a mail is sent to: normalised, checked, its domain in ASCII.

    This sends no request. Whether the domain accepts mail is for the mail service to find out.

    Raises
    ------
    InvalidAddress
        If no mail can be sent to the address.
    """
    # Imported here, because only the Lambdas that send mail need it.
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    normalised = normalise_address(address)
    # RFC 2047: a mail library would decode it into another address, or into a separate header.
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
    """Return the owner id: the first 32 hex digits of SHA-256 of the normalised address."""
    return hashlib.sha256(normalise_address(address).encode()).hexdigest()[:32]
