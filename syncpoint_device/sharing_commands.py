"""The commands of `sharing`: `channel list|rename|close|members|remove`, `invitation …`."""

from typing import Any

from syncpoint_device import sharing, sharing_texts
from syncpoint_device.cli import Arguments, Parser, add, device_of, print_result


def add_channel(commands: Any) -> None:
    """Add the commands to those of `channel`."""
    add(commands, "list", _list_channels, "list the channels")
    rename = add(commands, "rename", _rename, "give a channel another name, for its members too")
    _add_name(rename)
    rename.add_argument("name", help="its new name")
    close = add(commands, "close", _close, "close a channel, and delete it in the cloud")
    _add_name(close)
    close.add_argument("--yes", action="store_true", help="confirm it: it cannot be undone")
    _add_name(add(commands, "members", _members, "list the members of a channel"))
    remove = add(commands, "remove", _remove, "remove a member from a channel")
    _add_name(remove)
    remove.add_argument("member", help="the member's e-mail address or id, as in `members`")


def add_invitation(parser: Parser) -> None:
    """Add the commands of `invitation`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add(commands, "list", _list_invitations, "list the invitations, and what became of them")
    for name, run, text in (
        ("withdraw", _withdraw, "withdraw an invitation, so that nobody can accept it"),
        ("resend", _resend, "send the mail of an invitation again"),
    ):
        command = add(commands, name, run, text)
        command.add_argument(
            "invitation", help="the guest's e-mail address, or the invitation's id"
        )


def _add_name(parser: Parser) -> None:
    parser.add_argument("channel", help="its name or id")


def _list_channels(arguments: Arguments) -> None:
    result = sharing.list_channels(device_of(arguments))
    print_result(arguments, result, sharing_texts.channel_list(result))


def _rename(arguments: Arguments) -> None:
    result = sharing.rename(device_of(arguments), arguments.channel, arguments.name)
    print_result(arguments, result, sharing_texts.renamed(result))


def _close(arguments: Arguments) -> None:
    result = sharing.close(device_of(arguments), arguments.channel, confirmed=arguments.yes)
    print_result(arguments, result, sharing_texts.closed(result))


def _members(arguments: Arguments) -> None:
    result = sharing.members(device_of(arguments), arguments.channel)
    print_result(arguments, result, sharing_texts.member_list(result))


def _remove(arguments: Arguments) -> None:
    result = sharing.remove(device_of(arguments), arguments.channel, arguments.member)
    print_result(arguments, result, sharing_texts.removed(result))


def _list_invitations(arguments: Arguments) -> None:
    result = sharing.list_invitations(device_of(arguments))
    print_result(arguments, result, sharing_texts.invitation_list(result))


def _withdraw(arguments: Arguments) -> None:
    result = sharing.withdraw(device_of(arguments), arguments.invitation)
    print_result(arguments, result, sharing_texts.withdrawn(result))


def _resend(arguments: Arguments) -> None:
    result = sharing.resend(device_of(arguments), arguments.invitation)
    print_result(arguments, result, sharing_texts.resent(result))
