"""`python -m ops.doctor STAGE`: check a stage, and print a line for each check; changes nothing.

Before a deployment it checks what must be set up. Afterwards it also checks what is deployed.
"""

import sys
import time
from collections.abc import Callable, Iterator

from ops import check_couchdb, check_deployed, check_mail, check_project
from ops.check_couchdb import CouchDB
from ops.findings import Finding, Level, find
from ops.stage import Stage, read_stage
from ops.tools import Tools, end, make_parser, real_tools


def main(arguments: list[str], tools: Tools, now_s: Callable[[], float] = time.time) -> int:
    """Print the findings; return 1 if something is wrong, else 0.

    Raises
    ------
    OpsError
        If there is no such stage.
    """
    given = make_parser("ops.doctor", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    levels = set()
    for finding in examine(stage, tools, now_s):
        levels.add(finding.level)
        tools.tell(finding.line())
    return 1 if Level.WRONG in levels else 0


def examine(stage: Stage, tools: Tools, now_s: Callable[[], float]) -> Iterator[Finding]:
    """Run one check after another; none of AWS if the credentials are wrong."""
    client = tools.client
    yield find("settings", lambda: check_project.check_settings(stage, tools))
    yield find("build", lambda: check_project.check_build(tools))
    account = find("AWS", lambda: check_project.check_account(client))
    yield account
    if account.level is Level.WRONG:
        return
    yield find("AWS's clock", lambda: check_project.check_clock(client, now_s()))
    secret = find("secret", lambda: check_project.check_secret(stage, client))
    yield secret
    if secret.level is not Level.WRONG:
        url = check_project.find_secrets(stage, client).couchdb_url
        yield from _examine_couchdb(stage, CouchDB(url), now_s)
    yield find("sender", lambda: check_mail.check_sender(stage, client))
    yield find("SES", lambda: check_mail.check_account(stage, client))
    yield from _examine_deployed(stage, tools, now_s)


def _examine_couchdb(
    stage: Stage, couchdb: CouchDB, now_s: Callable[[], float]
) -> Iterator[Finding]:
    yield find("TLS", lambda: check_couchdb.check_tls(couchdb))
    reachable = find("CouchDB", lambda: check_couchdb.check_reachable(couchdb))
    yield reachable
    if reachable.level is Level.WRONG:
        return
    yield find("version", lambda: check_couchdb.check_version(couchdb))
    yield find("CouchDB's clock", lambda: check_couchdb.check_clock(couchdb, now_s()))
    rights = find("rights", lambda: check_couchdb.check_rights(couchdb))
    yield rights
    if rights.level is Level.WRONG:
        return
    yield find("login hashes", lambda: check_couchdb.check_login_hashes(couchdb))
    yield find("_users", lambda: check_couchdb.check_users(couchdb))
    yield find("_global_changes", lambda: check_couchdb.check_global_changes(couchdb))
    control_db = stage.control_db
    yield find(control_db, lambda: check_couchdb.check_control(couchdb, control_db))


def _examine_deployed(stage: Stage, tools: Tools, now_s: Callable[[], float]) -> Iterator[Finding]:
    client = tools.client
    stack = find("stack", lambda: check_deployed.check_stack(stage, client))
    yield stack
    if stack.level is Level.WRONG or stack.text == check_deployed.NOT_DEPLOYED[1]:
        return
    yield find("table", lambda: check_deployed.check_table(stage, client))
    yield find("queues", lambda: check_deployed.check_queues(stage, client))
    yield find("dead letters", lambda: check_deployed.check_dead_letters(stage, client))
    yield find("functions", lambda: check_deployed.check_functions(stage, client))
    yield find("mappings", lambda: check_deployed.check_mappings(stage, client))
    yield find("feedback", lambda: check_deployed.check_feedback(stage, client))
    yield find("configuration set", lambda: check_mail.check_configuration_set(stage, client))
    yield find("poller", lambda: check_deployed.check_poller(stage, client, now_s()))
    public_url = find("public URL", lambda: check_deployed.check_public_url(stage, client))
    yield public_url
    if public_url.level is not Level.WRONG:
        yield find("health", lambda: check_deployed.check_health(public_url.text))
    yield find("throttle", lambda: check_deployed.check_throttle(stage, client))
    yield find("alarms", lambda: check_deployed.check_alarms(stage, client))
    yield find("alarm address", lambda: check_deployed.check_alarm_address(stage, client))


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
