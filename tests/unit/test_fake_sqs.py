"""The fake queue is fair as AWS describes its fair queues; moto does not show when."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.basics import FakeClock
from tests.kit.fakes.sqs_queue import FakeQueue, Message

VISIBILITY_S, MAX_RECEIVES = 180, 5


def a_queue(clock: FakeClock) -> FakeQueue:
    return FakeQueue("q", lambda: clock().timestamp(), VISIBILITY_S, MAX_RECEIVES)


def send(queue: FakeQueue, group: str | None, *bodies: object) -> None:
    for body in bodies:
        queue.send(str(body), group)


def receive(queue: FakeQueue, count: int) -> list[Message]:
    messages = [queue.receive() for _ in range(count)]
    return [message for message in messages if message is not None]


def texts(messages: list[Message]) -> list[str]:
    return [message.body for message in messages]


def finish(queue: FakeQueue, messages: list[Message]) -> None:
    for message in messages:
        queue.delete(message.receipt)


def test_messages_come_in_their_order_while_nobody_is_noisy(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", *range(40))
    send(queue, "ben", "late")
    assert texts(receive(queue, 29)) == [str(number) for number in range(29)]


def test_a_group_with_thirty_in_flight_lets_the_others_go_first(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", *range(40))
    send(queue, "ben", "late")
    send(queue, None, "of nobody")
    receive(queue, 30)
    assert texts(receive(queue, 3)) == ["late", "of nobody", "30"]


def test_a_group_that_took_a_tenth_of_the_time_lets_the_others_go_first(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", *range(40))
    first = receive(queue, 1)
    clock.move(2)
    finish(queue, first)
    send(queue, "ben", "late")
    assert texts(receive(queue, 2)) == ["late", "1"]


def test_time_counts_less_the_longer_ago_it_was(clock: FakeClock) -> None:
    """Ada's two seconds are a small part of the time once somebody has taken one much later."""
    queue = a_queue(clock)
    send(queue, "ada", *range(40))
    first = receive(queue, 1)
    clock.move(2)
    finish(queue, first)
    clock.move(600)
    send(queue, None, "other")
    others = receive(queue, 1)
    clock.move(1)
    finish(queue, others)
    send(queue, "ben", "late")
    assert texts([*others, *receive(queue, 1)]) == ["other", "1"]


def test_a_group_that_has_none_waiting_begins_again(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", "first", "second")
    for _ in range(2):
        messages = receive(queue, 1)
        clock.move(2)
        finish(queue, messages)
    send(queue, "ada", "third")
    send(queue, "ben", "later")
    assert texts(receive(queue, 2)) == ["third", "later"]


def test_of_noisy_groups_the_one_with_fewest_in_flight_is_next(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", *(f"a{number}" for number in range(40)))
    receive(queue, 31)
    send(queue, "ben", *(f"b{number}" for number in range(40)))
    receive(queue, 30)
    assert texts(receive(queue, 3)) == ["b30", "a31", "b31"]


def test_a_message_that_failed_is_in_its_group_again(clock: FakeClock) -> None:
    queue = a_queue(clock)
    send(queue, "ada", *range(31))
    receive(queue, 30)
    clock.move(VISIBILITY_S)
    send(queue, "ben", "late")
    assert texts(receive(queue, 2)) == ["late", "30"]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(["ada", "ben", None])),
        st.tuples(st.just("receive"), st.integers(1, 40)),
        st.tuples(st.just("finish"), st.integers(1, 40)),
        st.tuples(st.just("wait"), st.integers(1, 100)),
    ),
    max_size=60,
)


@given(steps)
def test_whoever_goes_first_each_message_comes_once_in_its_groups_order(
    done: list[tuple[str, str | int | None]],
) -> None:
    clock = FakeClock()
    queue, sent = a_queue(clock), Counter[str | None]()
    received: list[Message] = []
    in_flight: list[Message] = []
    for what, how in done:
        if what == "send":
            group = None if how is None else str(how)
            queue.send(str(sent[group]), group)
            sent[group] += 1
        elif what == "receive":
            new = receive(queue, int(how or 0))
            received += new
            in_flight += new
        elif what == "finish":
            finish(queue, in_flight[: int(how or 0)])
            del in_flight[: int(how or 0)]
        elif not in_flight:  # else some would come back
            clock.move(int(how or 0))
    received += receive(queue, sum(sent.values()))
    for group, count in sent.items():
        of_group = [message.body for message in received if message.group == group]
        assert of_group == [str(number) for number in range(count)]
    assert queue.waiting() == 0
