"""What AWS does around the Lambdas: schedules, event source mappings and API Gateway."""

import functools
import importlib.util
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from chalice.app import ScheduledEventConfig, SQSEventConfig
from chalice.config import Config
from chalice.local import ChaliceRequestHandler, create_local_server

from chalicelib.settings import PollerSettings
from local.aws import ACCOUNT, REGION

log = logging.getLogger("local")

RECEIVE_WAIT_S = 1
HANDLER_TIMEOUT_MS = 30_000
PAUSE_AFTER_FAILURE_S = 0.5
DAY_S = 24 * 3600
Record = dict[str, Any]
Source = TypeVar("Source")

# Source: https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html
SCHEDULED_EVENT = {
    "version": "0",
    "id": "local",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": ACCOUNT,
    "time": "1970-01-01T00:00:00Z",
    "region": REGION,
    "resources": [],
    "detail": {},
}


def load_app(root: Path) -> ModuleType:
    """Load app.py again, so that it reads its settings from the present environment."""
    spec = importlib.util.spec_from_file_location("app", root / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"no app.py in {root}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loop(ABC):
    """A thread that calls `once` again and again, until it is stopped."""

    def __init__(self, name: str) -> None:
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def once(self) -> None:
        """Do the work of one call."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended, after `stopped` was set."""
        self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.once()
            except Exception as exc:  # noqa: BLE001 - as in AWS, a failed run does not end the next
                if self.stopped.is_set():
                    return
                log.warning("%s: %s: %s", self._thread.name, type(exc).__name__, exc)
                self.stopped.wait(PAUSE_AFTER_FAILURE_S)


class PollerLoop(Loop):
    """The schedule of the poller, with the environment of its Lambda."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__("poller")
        self._settings = PollerSettings.read(environment)

    def once(self) -> None:
        """Run the poller once."""
        # Imported after `prepare_process`, because its loggers read their level when created.
        from poller.app import run

        run(self._settings, self.stopped.is_set)


class ScheduleLoop(Loop):
    """A daily schedule of a function of app.py. It also runs at the start."""

    def __init__(self, module: ModuleType, source: ScheduledEventConfig) -> None:
        super().__init__(source.name)
        self._handler, self._name = _handler(module, source), source.name

    def once(self) -> None:
        """Call the function, then wait a day, because app.py has no other schedule."""
        self._handler(SCHEDULED_EVENT, _context(self._name))
        self.stopped.wait(DAY_S)


class QueueLoop(Loop):
    """The event source mapping of a queue and a function of app.py."""

    def __init__(self, module: ModuleType, source: SQSEventConfig, sqs: Any) -> None:
        super().__init__(source.name)
        self._handler, self._source, self._sqs = _handler(module, source), source, sqs
        self._queue_url = sqs.get_queue_url(QueueName=source.queue)["QueueUrl"]

    def once(self) -> None:
        """Receive a batch, call the function, and delete the batch if that succeeded."""
        source = self._source
        records = receive(self._sqs, self._queue_url, str(source.queue), source.batch_size)
        if not records:
            return
        try:
            self._handler({"Records": records}, _context(source.name))
        except Exception as exc:  # noqa: BLE001 - as in AWS, the batch becomes visible again
            log.info("%s: %s", source.name, exc)
        else:
            delete(self._sqs, self._queue_url, records)


def queue_loops(module: ModuleType, sqs: Any) -> list[Loop]:
    """Create the event source mappings of app.py, one for each queue."""
    return [QueueLoop(module, source, sqs) for source in queue_sources(module)]


def schedule_loops(module: ModuleType) -> list[Loop]:
    """Create the schedules of app.py."""
    return [ScheduleLoop(module, source) for source in _sources(module, ScheduledEventConfig)]


def invoke(module: ModuleType, function_name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Call a function of app.py with an event, and return its result."""
    result: dict[str, Any] = getattr(module, function_name)(event, _context(function_name))
    return result


def queue_sources(module: ModuleType) -> list[SQSEventConfig]:
    """Return app.py's functions that have a queue, with the names of the queues."""
    return _sources(module, SQSEventConfig)


def _sources(module: ModuleType, kind: type[Source]) -> list[Source]:
    return [source for source in module.app.event_sources if isinstance(source, kind)]


def _handler(module: ModuleType, source: Any) -> Callable[..., Any]:
    handler: Callable[..., Any] = getattr(module, source.handler_string.rpartition(".")[2])
    return handler


def _context(function_name: str) -> SimpleNamespace:
    return SimpleNamespace(
        aws_request_id="local",
        function_name=function_name,
        get_remaining_time_in_millis=lambda: HANDLER_TIMEOUT_MS,
    )


def receive(sqs: Any, queue_url: str, queue_name: str, batch_size: int) -> list[Record]:
    """Receive up to a batch of messages, in the form of an event for a Lambda.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    answer = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=min(batch_size, 10),
        WaitTimeSeconds=RECEIVE_WAIT_S,
        MessageSystemAttributeNames=["All"],
    )
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue_name}",
            "awsRegion": REGION,
        }
        for message in answer.get("Messages", [])
    ]


def delete(sqs: Any, queue_url: str, records: list[Record]) -> None:
    """Delete a batch that succeeded."""
    entries = [
        {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
        for number, record in enumerate(records)
    ]
    sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


class Api:
    """API Gateway: the routes of app.py on a local port, served by Chalice's local server."""

    def __init__(self, module: ModuleType, root: Path, port: int = 0) -> None:
        given = {"chalice_app": module.app, "project_dir": str(root)}
        config = Config(chalice_stage="local", user_provided_params=given)
        server = create_local_server(module.app, config, "127.0.0.1", port)
        self._http = server.server
        # Chalice's own handler prints a line for each request.
        self._http.RequestHandlerClass = functools.partial(
            _QuietHandler, app_object=module.app, config=config
        )
        self._http.handle_error = _log_error
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, name="api", daemon=True)

    def start(self) -> None:
        """Start to answer requests, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._http.shutdown()
        self._http.server_close()


def _log_error(request: object, client_address: object) -> None:
    """Log the error of a request, unless the client closed the connection."""
    exc = sys.exc_info()[1]
    if not isinstance(exc, ConnectionError):
        log.error("the API failed", exc_info=exc)


class _QuietHandler(ChaliceRequestHandler):
    def end_headers(self) -> None:
        """Send `Connection: close` if so, because Node.js would use the connection again."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""
