"""The earlier versions of the rules of an owner's control database, as they were published."""

from pathlib import Path

from chalicelib.design import OWNER_CONTROL
from chalicelib.domain.documents import JsonDict

_FOLDER = Path(__file__).parent
VERSIONS = range(1, OWNER_CONTROL.version)


def text_of_version(version: int) -> str:
    """The function of an earlier version."""
    return (_FOLDER / f"owner_control-{version}.txt").read_text(encoding="utf-8")


def design_doc(version: int) -> JsonDict:
    """The design document of an earlier version, without a revision."""
    text = text_of_version(version)
    return {**OWNER_CONTROL.doc, "version": version, "validate_doc_update": text}
