"""How far one database is behind another."""

from chalicelib.couch import CouchError, Database

_PAGE = 1000


def behind(source: Database, target: Database, enough: int | None = None) -> int:
    """How many changed documents of one database the other does not have yet.

    Two requests for each thousand. All changes are compared: a database is filled from several
    sides at once, so what is missing may lie anywhere among them. Design documents do not count:
    a device's login may not write them.

    Parameters
    ----------
    enough : int, optional
        Stop when so many are known.

    Raises
    ------
    CouchError
        If one of them does not answer, or not as a CouchDB does.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-diff
    """
    count, since = 0, "0"
    while True:
        params = {"style": "all_docs", "since": since, "limit": str(_PAGE)}
        page = source.request("GET", "_changes", params=params)
        try:
            since, rows = str(page["last_seq"]), page["results"]
            revs = {
                row["id"]: [change["rev"] for change in row["changes"]]
                for row in rows
                if not row["id"].startswith("_design/")
            }
        except (AttributeError, KeyError, TypeError) as exc:  # a remote may lie anywhere
            raise CouchError(200, "bad_answer", f"{source.url} is no CouchDB's") from exc
        count += len(target.request("POST", "_revs_diff", body=revs))
        if not rows or (enough is not None and count >= enough):
            return count
