"""`python -m ops.audit`: is a version that is pinned here known to be vulnerable?

Asks PyPI's advisories, and OSV's where PyPI's do not answer. Where neither does, there is no
network to fail for: it says that nothing was audited, and ends well.
"""

import argparse
import sys
from dataclasses import dataclass

import requests

from ops.tools import Tools, end, real_tools

OSV_URL = "https://api.osv.dev/v1/query"
# One that every database of advisories has. Asked first: pip-audit finds "no known
# vulnerabilities" where the service knows none of the packages, as a mirror of PyPI does.
KNOWN_NAME, KNOWN_VERSION = "jinja2", "2.4.1"
KNOWN = {"package": {"name": KNOWN_NAME, "ecosystem": "PyPI"}, "version": KNOWN_VERSION}
LIMIT_S = 10


@dataclass(frozen=True)
class Service:
    """A database of advisories, as pip-audit names it."""

    name: str
    url: str

    def knows(self) -> bool:
        """Whether it answers, and has the advisory that every such database has. One request."""
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
    parser.add_argument("--osv-url", help=f"ask just this one, instead of PyPI and {OSV_URL}")
    osv_url = parser.parse_args(arguments).osv_url
    services = [Service("osv", osv_url)] if osv_url else [PYPI, Service("osv", OSV_URL)]
    locks = sorted(tools.root.glob("requirements*.txt"))
    service = next((service for service in services if service.knows()), None)
    if service is None:
        asked = " and ".join(service.name for service in services)
        tools.tell(f"NOT AUDITED: {len(locks)} lock files; no advisories to be had from {asked}")
        return 0
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    options += ["--vulnerability-service", service.name, "--osv-url", osv_url or OSV_URL]
    files = [word for lock in locks for word in ("--requirement", str(lock))]
    tools.run(["pip-audit", *options, *files], tools.root)
    return 0


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
