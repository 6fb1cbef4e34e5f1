"""How far one database is behind another."""

from chalicelib.couch import CouchError, Database

# Replication goes in order, so what is missing is among the newest; no more than these are counted.
MOST = 1000


def behind(source: Database, target: Database) -> int:
    """How many changed documents of one database the other does not have yet. Two requests.

    Design documents do not count: a device's login may not write them.

    Returns
    -------
    int
        At most `MOST`: so many or more.

    Raises
    ------
    CouchError
        If one of them does not answer, or not as a CouchDB does.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-diff
    """
    params = {"descending": "true", "style": "all_docs", "limit": str(MOST)}
    answer = source.request("GET", "_changes", params=params)
    try:
        revs = {
            row["id"]: [change["rev"] for change in row["changes"]]
            for row in answer["results"]
            if not row["id"].startswith("_design/")
        }
    except (AttributeError, KeyError, TypeError) as exc:  # a remote may lie anywhere
        raise CouchError(200, "bad_answer", f"{source.url} is no CouchDB's") from exc
    return len(target.request("POST", "_revs_diff", body=revs))
