"""What AWS does around the Lambdas: the schedule, the event source mappings, the API."""

import functools
import importlib.util
import logging
import sys
import threading
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
    """The app.py that ships, loaded anew: its settings are those of the environment now."""
    spec = importlib.util.spec_from_file_location("app", root / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"no app.py in {root}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loop:
    """Calls something again and again in a thread, until it is stopped."""

    def __init__(self, name: str, once: Callable[[], None]) -> None:
        self._once = once
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended; ask it to first."""
        self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._once()
            except Exception as exc:  # noqa: BLE001 - as Lambda: the next run comes, whatever failed
                if self.stopped.is_set():
                    return
                log.warning("%s: %s: %s", self._thread.name, type(exc).__name__, exc)
                self.stopped.wait(PAUSE_AFTER_FAILURE_S)


def poller_loop(environment: Mapping[str, str]) -> Loop:
    """The schedule: the poller that ships, run after run, with the environment of its Lambda."""
    # Imported once the process is prepared: its loggers read their level when they are made.
    from poller.app import run

    settings = PollerSettings.read(environment)

    def once() -> None:
        run(settings, loop.stopped.is_set)

    loop = Loop("poller", once)
    return loop


def queue_loops(module: ModuleType, sqs: Any) -> list[Loop]:
    """The event source mappings: for each queue that app.py names, the function that it names."""
    return [_queue_loop(module, source, sqs) for source in queue_sources(module)]


def schedule_loops(module: ModuleType) -> list[Loop]:
    """The schedules that app.py names; each begins with a run, and then goes by its rate."""
    return [_schedule_loop(module, source) for source in _sources(module, ScheduledEventConfig)]


def invoke(module: ModuleType, function_name: str, event: dict[str, Any]) -> dict[str, Any]:
    """What a function of app.py answers to an event, as a Lambda that is called by name."""
    answer: dict[str, Any] = getattr(module, function_name)(event, _context(function_name))
    return answer


def queue_sources(module: ModuleType) -> list[SQSEventConfig]:
    """The queues that feed app.py's functions; each is known by its name."""
    return _sources(module, SQSEventConfig)


def _sources(module: ModuleType, kind: type[Source]) -> list[Source]:
    return [source for source in module.app.event_sources if isinstance(source, kind)]


def _schedule_loop(module: ModuleType, source: ScheduledEventConfig) -> Loop:
    handler = _handler(module, source)

    def once() -> None:
        handler(SCHEDULED_EVENT, _context(source.name))
        loop.stopped.wait(DAY_S)  # the only rate there is

    loop = Loop(source.name, once)
    return loop


def _handler(module: ModuleType, source: Any) -> Callable[..., Any]:
    handler: Callable[..., Any] = getattr(module, source.handler_string.rpartition(".")[2])
    return handler


def _context(function_name: str) -> SimpleNamespace:
    return SimpleNamespace(
        aws_request_id="local",
        function_name=function_name,
        get_remaining_time_in_millis=lambda: HANDLER_TIMEOUT_MS,
    )


def _queue_loop(module: ModuleType, source: SQSEventConfig, sqs: Any) -> Loop:
    handler = _handler(module, source)
    queue_url = sqs.get_queue_url(QueueName=source.queue)["QueueUrl"]

    def once() -> None:
        records = receive(sqs, queue_url, str(source.queue), source.batch_size)
        if not records:
            return
        try:
            handler({"Records": records}, _context(source.name))
        except Exception as exc:  # noqa: BLE001 - as Lambda does: whatever it is, the batch comes back
            log.info("%s: %s", source.name, exc)
        else:
            delete(sqs, queue_url, records)

    return Loop(source.name, once)


def receive(sqs: Any, queue_url: str, queue_name: str, batch_size: int) -> list[Record]:
    """Up to a batch of messages, as Lambda puts them into an event.

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
    """What Lambda does when a batch succeeded."""
    entries = [
        {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
        for number, record in enumerate(records)
    ]
    sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


class Api:
    """API Gateway: app.py's routes on a port of this machine, by Chalice's own local server."""

    def __init__(self, module: ModuleType, root: Path, port: int = 0) -> None:
        given = {"chalice_app": module.app, "project_dir": str(root)}
        config = Config(chalice_stage="local", user_provided_params=given)
        server = create_local_server(module.app, config, "127.0.0.1", port)
        self._http = server.server
        # Chalice's handler writes a line for each request; nobody asked for those.
        self._http.RequestHandlerClass = functools.partial(
            _QuietHandler, app_object=module.app, config=config
        )
        self._http.handle_error = _log_error
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, name="api", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()


def _log_error(request: object, client_address: object) -> None:
    """What went wrong while a request was answered; clients that hang up are no news."""
    exc = sys.exc_info()[1]
    if not isinstance(exc, ConnectionError):
        log.error("the API failed", exc_info=exc)


class _QuietHandler(ChaliceRequestHandler):
    def end_headers(self) -> None:
        """Say that the connection ends where it does, or Node.js sends its next request into it."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Write nothing."""
