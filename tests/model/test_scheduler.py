"""What a program hears, and that nobody else's questions are taken for its own."""

import threading
import uuid

from tests.model.scheduler import Actor, Scheduler


def test_the_servers_of_other_tests_ask_for_ids_while_a_program_runs() -> None:
    scheduler = Scheduler()
    asked: list[uuid.UUID] = []

    def program() -> bool:
        asked.append(uuid.uuid4())
        other = threading.Thread(target=lambda: asked.append(uuid.uuid4()))
        other.start()
        other.join()
        scheduler.request("a request", lambda: None)
        return True

    stopped = scheduler.run(program, Actor())
    assert isinstance(stopped, Actor)
    assert [heard.answer for heard in stopped.heard] == [asked[0].hex]
