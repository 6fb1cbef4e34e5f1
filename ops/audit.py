"""`python -m ops.audit`: check whether a pinned version is known to be vulnerable.

It asks PyPI for advisories, or OSV if PyPI does not answer. If neither answers, it prints that
nothing was audited, and succeeds: a missing network is not a vulnerability.
"""

import argparse
import sys
from dataclasses import dataclass

import requests

from ops.tools import Tools, end, real_tools

OSV_URL = "https://api.osv.dev/v1/query"
# Every database of advisories has this one, and is asked for it first. A mirror of PyPI has none at
# all, and pip-audit would report "no known vulnerabilities".
KNOWN_NAME, KNOWN_VERSION = "jinja2", "2.4.1"
KNOWN = {"package": {"name": KNOWN_NAME, "ecosystem": "PyPI"}, "version": KNOWN_VERSION}
LIMIT_S = 10


@dataclass(frozen=True)
class Service:
    """A database of advisories, by pip-audit's name for it."""

    name: str
    url: str

    def knows(self) -> bool:
        """Return whether it answers with the advisory that every such database has. One request."""
        try:
            answer = self._ask()
            found = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            return False
        return bool(found.get("vulnerabilities") or found.get("vulns"))

    def _ask(self) -> requests.Response:
        if self.name == "osv":
            return requests.post(self.url, json=KNOWN, timeout=LIMIT_S)
        return requests.get(self.url, timeout=LIMIT_S)


PYPI = Service("pypi", f"https://pypi.org/pypi/{KNOWN_NAME}/{KNOWN_VERSION}/json")


def main(arguments: list[str], tools: Tools) -> int:
    """Audit each requirements*.txt; return 0.

    Raises
    ------
    OpsError
        If a version is known to be vulnerable.
    """
    parser = argparse.ArgumentParser(prog="python -m ops.audit", description=__doc__)
    parser.add_argument("--osv-url", help=f"the only service to ask, instead of PyPI and {OSV_URL}")
    osv_url = parser.parse_args(arguments).osv_url
    services = [Service("osv", osv_url)] if osv_url else [PYPI, Service("osv", OSV_URL)]
    locks = sorted(tools.root.glob("requirements*.txt"))
    service = next((service for service in services if service.knows()), None)
    if service is None:
        asked = " and ".join(service.name for service in services)
        tools.tell(f"NOT AUDITED: {len(locks)} lock files; no advisories available from {asked}")
        return 0
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    options += ["--vulnerability-service", service.name, "--osv-url", osv_url or OSV_URL]
    files = [word for lock in locks for word in ("--requirement", str(lock))]
    tools.run(["pip-audit", *options, *files], tools.root)
    return 0


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
