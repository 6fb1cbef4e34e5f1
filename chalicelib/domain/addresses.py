"""E-mail addresses, and the owner ids that are computed from them. No I/O.

One mailbox has one owner id: the id is computed from the address that a mail is sent to. So an
address whose domain could be read in two ways is refused (docs/decisions/0032).
"""

import hashlib
import re
import unicodedata

ADDRESS_LENGTH = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets

# With such a last label, URLs have an IPv4 address, also 0x7f.1 (https://url.spec.whatwg.org).
_LAST_LABEL_OF_IP = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


class InvalidAddress(ValueError):
    """Raised when a text is not an e-mail address; the message says why."""


def normalise_address(address: str) -> str:
    """Normalise an address (docs/design.md). Mail is sent to this form.

    It is trimmed. The local part is in NFKC and lower case; the domain is in lower case and ASCII.
    A device computes the same text offline. A domain without an ASCII form stays as it is; no mail
    is sent to it.
    """
    try:
        return _in_ascii(address)
    except InvalidAddress:
        return "".join(_parts(address))


def mail_address(address: str) -> str:
    """Return the normalised address, if mail can be sent to it.

    This sends no request. Whether the domain accepts mail is for the mail service to find out.

    Raises
    ------
    InvalidAddress
        If no mail can be sent to the address, or its domain could be read in two ways.
    """
    # Imported here, because only the Lambdas that send mail need it.
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    normalised = _in_ascii(address)
    # RFC 2047: a mail library would decode it into another address, or into a separate header.
    if "=?" in normalised:
        raise InvalidAddress("it must not contain an encoded word (=?)")
    if len(normalised) > ADDRESS_LENGTH:
        raise InvalidAddress(f"it is longer than {ADDRESS_LENGTH} characters")
    if _LAST_LABEL_OF_IP.fullmatch(normalised.rpartition(".")[2]):
        raise InvalidAddress("its domain must be a name, not an IP address")
    try:
        email_validator.validate_email(normalised, check_deliverability=False, allow_smtputf8=False)
    except email_validator.EmailNotValidError as exc:
        raise InvalidAddress(str(exc)) from exc
    return normalised


def owner_id_of(address: str) -> str:
    """Return the owner id: the first 32 hex digits of SHA-256 of the normalised address."""
    normalised = normalise_address(address).encode("utf-8", "surrogatepass")
    return hashlib.sha256(normalised).hexdigest()[:32]


def shown_address(address: str) -> str:
    """Return an address as people should see it: one that is not ASCII in both of its forms.

    ``ada@bücher.example (ada@xn--bcher-kva.example)``. A domain of letters that look like other
    letters can be told by its second form.
    """
    normalised = normalise_address(address)
    local, at, domain = normalised.rpartition("@")
    if "xn--" not in domain:
        return address
    import idna

    try:
        return f"{local}{at}{idna.decode(domain)} ({normalised})"
    except ValueError:
        return address


def _in_ascii(address: str) -> str:
    """Return the normalised address; raise InvalidAddress if its domain has no ASCII form."""
    local, at, domain = _parts(address)
    if "\u03a3" in address.rpartition("@")[2]:
        raise InvalidAddress(
            "its domain has a capital sigma, which stands for two letters; type it in small letters"
        )
    return f"{local}{at}{_ascii_domain(domain)}"


def _parts(address: str) -> tuple[str, str, str]:
    """Return the local part in NFKC, the @-sign and the domain in NFC, all in lower case."""
    local, at, domain = address.strip().rpartition("@")
    return (
        unicodedata.normalize("NFKC", local).lower(),
        at,
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", domain).lower()),
    )


def _ascii_domain(domain: str) -> str:
    """Return the ASCII form of a domain that is in lower case, by IDNA 2008 without a mapping.

    Nothing is replaced or left out. So the ASCII form leads back to the domain.

    Source: https://www.rfc-editor.org/rfc/rfc5891
    """
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain, strict=True).decode("ascii")
    except ValueError as exc:
        raise InvalidAddress(
            "its domain has characters that no domain name has, such as invisible or full-width "
            "ones; type it again by hand"
        ) from exc
