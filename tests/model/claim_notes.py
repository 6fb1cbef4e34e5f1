"""What happened to one unsafe step so far, and the rules that it must keep to.

What the design assumes of time: a worker ends within the handler's time-out, and any two clocks
differ by at most `MARGIN_S`: by what the lease is longer than that.
"""

from collections import Counter
from dataclasses import dataclass, field

from chalicelib.domain.documents import JsonDict
from tests.kit.basics import START, make_settings

TIMEOUT_S = 30  # .chalice/config.json: lambda_timeout
LEASE_S = make_settings().claim_lease_s
MARGIN_S = LEASE_S - TIMEOUT_S


@dataclass(frozen=True)
class Held:
    """A claim as a worker has it.

    Attributes
    ----------
    stood : bool
        Whether the document still waited for the step when it was taken.
    sure_until_s : float
        How long no clock can find it over.
    """

    pk: str
    holder: str
    stood: bool
    sure_until_s: float


@dataclass
class Worker:
    """What is known of a worker.

    Attributes
    ----------
    began_s : int or None
        Since when it handles its message.
    sent : str
        From its mail to the end of its claim: of which step it sent one.
    """

    skew_s: int
    has_message: bool = True
    began_s: int | None = None
    held: Held | None = None
    sent: str = ""


@dataclass
class Notes:
    """All that the rules ask for.

    Attributes
    ----------
    jumps, edits : int
        How often the time may still jump, and the document be edited by others.
    mails : list
        Of which step, with which token.
    excuses : Counter
        For each step, how many mails more there may be: a worker was gone between its mail and the
        end of its claim.
    """

    workers: dict[str, Worker]
    jumps: int
    edits: int
    may_stall: bool
    passed_s: int = 0
    is_edited: bool = False
    mails: list[tuple[str, str]] = field(default_factory=list)
    excuses: Counter[str] = field(default_factory=Counter)
    done: set[str] = field(default_factory=set)

    def take(self, name: str, item: JsonDict, *, stood: bool) -> None:
        """A worker was told that the step is its own."""
        worker, pk = self.workers[name], item["pk"]["S"]
        for held in [other.held for other in self.workers.values() if other.held]:
            if held.pk == pk:
                # Only where workers stall: else it had ended before.
                is_over = self.may_stall and held.sure_until_s < self.passed_s
                assert is_over, "two workers at once"
                self.excuses[pk] += 1  # it may send yet
        until_s = int(item["lease_until_ms"]["N"]) / 1000 - START.timestamp() - worker.skew_s
        worker.held = Held(pk, item["holder"]["S"], stood, until_s - MARGIN_S)

    def give_back(self, name: str, items: dict[str, JsonDict]) -> None:
        """A worker has finished or released its claim; `items` is how things were before."""
        worker = self.workers[name]
        assert worker.held is not None, "a claim was given back twice"
        holder = items.get(worker.held.pk, {}).get("holder", {}).get("S", worker.held.holder)
        assert holder == worker.held.holder, "another's claim was finished or released"
        worker.held, worker.sent = None, ""

    def leave(self, name: str) -> None:
        """A worker is gone, or knows not what became of its claim."""
        worker = self.workers[name]
        if worker.sent:
            self.excuses[worker.sent] += 1
        worker.held, worker.sent = None, ""

    def send(self, name: str, pk: str, token: str) -> None:
        """A mail goes out."""
        # One that stalled may have been overtaken: it was let in before.
        assert self.may_stall or pk not in self.done, "a finished step is run again"
        worker = self.workers[name]
        assert worker.held is None or worker.held.stood, "a mail for what had moved on"
        self.mails.append((pk, token))
        worker.sent = pk

    def jump(self, seconds: int) -> list[str]:
        """The time passes; the workers whose own is up, if they do not stall."""
        self.jumps -= 1
        self.passed_s += seconds
        if self.may_stall:
            return []
        ends_s = self.passed_s - TIMEOUT_S
        workers = self.workers.items()
        return [name for name, w in workers if w.began_s is not None and w.began_s < ends_s]

    def check(self, items: dict[str, JsonDict], state: str) -> None:
        """The rules that hold at any time."""
        self.done |= {pk for pk, item in items.items() if item["status"]["S"] == "done"}
        for pk in self.done:
            assert pk in items, "what is known of a finished step is gone"
            assert items[pk]["status"]["S"] == "done", "a finished step was taken again"
        for pk, count in Counter(pk for pk, _ in self.mails).items():
            assert count <= 1 + self.excuses[pk], "a mail too many"
            tokens = {token for of, token in self.mails if of == pk}
            assert len(tokens) == 1, "a mail was sent again with another token"
        assert state != "sent" or self.mails, "the document says sent, and no mail is"
        # One that stalled may still write what it decided before it was overtaken.
        is_both = state == "error" and self.done
        assert self.may_stall or not is_both, "a step was finished, and rejected too"
