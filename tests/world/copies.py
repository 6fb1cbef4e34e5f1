"""Copies of the fakes as they stand, so that a story goes on from its middle many times.

What is never changed in place (revisions, DynamoDB's items, mails) is shared.
"""

import copy
import functools
from collections.abc import Callable

from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_docs import Document, StoredDatabase
from tests.kit.fakes.sqs_queue import FakeQueue


def copy_aws(aws: FakeAws, now_s: Callable[[], float]) -> FakeAws:
    copied = FakeAws(now_s)
    copied.mails.extend(aws.mails)
    copied._dynamodb.tables = {name: dict(items) for name, items in aws._dynamodb.tables.items()}
    copied._secrets.secrets = dict(aws._secrets.secrets)
    copied._ssm.parameters = dict(aws._ssm.parameters)
    copied._sqs.queues = {name: _queue(one, now_s) for name, one in aws._sqs.queues.items()}
    return copied


def copy_couch(couch: FakeCouch) -> FakeCouch:
    copied = FakeCouch(config=dict(couch.config), is_telling=couch.is_telling)
    copied.databases = {name: _database(one, copied) for name, one in couch.databases.items()}
    return copied


def _queue(queue: FakeQueue, now_s: Callable[[], float]) -> FakeQueue:
    return copy.deepcopy(queue, {id(queue._now_s): now_s})


def _database(database: StoredDatabase, couch: FakeCouch) -> StoredDatabase:
    copied = copy.copy(database)
    copied.on_write = functools.partial(couch.tell, database.name, "updated")
    copied.documents = {
        doc_id: Document(doc_id, dict(one.revs), set(one.leaves), one.seq)
        for doc_id, one in database.documents.items()
    }
    copied.local_docs = dict(database.local_docs)
    copied.log = list(database.log)
    return copied
