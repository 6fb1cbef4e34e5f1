"""How this program is started: by a person in a shell, and by systemd."""

import getpass
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from syncpoint_device.errors import DeviceError

PROGRAM = "syncpoint-device"
EXIT_USAGE, EXIT_REVOKED = 2, 3

_UNIT = """\
[Unit]
Description=Syncpoint: keeps the channels of this device in sync
After=network.target couchdb.service

[Service]
Type=exec
{start}
Restart=on-failure
RestartSec=10
# A revoked device, or a wrong command line: starting again changes nothing.
RestartPreventExitStatus={final}

# It writes its own folder only, and needs no rights.
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writes}
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


def unit(home: Path, environment: Mapping[str, str]) -> str:
    """Return the unit of the agent of a device.

    Parameters
    ----------
    home : Path
        The folder of the device's file.
    environment : mapping
        Variables for the agent. A proxy's password is left out, because everybody on the machine
        can read a unit.

    Raises
    ------
    DeviceError
        If systemd cannot have such a path or variable.
    """
    home = home.absolute()
    variables = [f"{name}={value}" for name, value in environment.items() if "@" not in value]
    start = program()
    words = [*start[1:], "--home", str(home), "run"]
    command = [_quoted(start[0]), *(_quoted(word).replace("$", "$$") for word in words)]
    lines = [f"User={_checked(getpass.getuser())}"]
    lines += [f"Environment={_quoted(variable)}" for variable in variables]
    if "-m" in start:  # the package may not be installed, but be in this folder
        lines.append(f"WorkingDirectory={_checked(str(Path(__file__).parents[1]))}")
    lines.append("ExecStart=" + " ".join(command))
    return _UNIT.format(
        start="\n".join(lines), final=f"{EXIT_USAGE} {EXIT_REVOKED}", writes=_quoted(str(home))
    )


def program() -> list[str]:
    """Return the command line that starts this program, from whatever folder."""
    script = Path(sys.executable).parent / (PROGRAM + (".exe" if os.name == "nt" else ""))
    if script.is_file():
        return [str(script)]
    return [sys.executable, "-m", __package__]


def typed(*words: str) -> str:
    """Return a command of this program as a person types it in this folder."""
    start, *more = program()
    if shutil.which(PROGRAM) == start:
        start = PROGRAM
    with suppress(ValueError):  # it is not below this folder
        start = str(Path(start).relative_to(Path.cwd()))
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return join([start, *more, *words])


def _quoted(text: str) -> str:
    """Return a text as one word of a line of a unit.

    Source: systemd.syntax(7), "Quoting", and systemd.unit(5), "Specifiers"
    """
    escaped = _checked(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _checked(text: str) -> str:
    """Return a text with nothing in it that systemd expands."""
    if not text.isprintable():
        raise DeviceError(f"a systemd unit cannot have {text!a}")
    return text.replace("%", "%%")
