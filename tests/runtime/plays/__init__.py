"""Each sample event, handed to its function after what must come before it; and what it does.

A play is a sentence about a function: its name. It begins with a cast of its own, invokes the
function in the real runtime, and asserts what is answered and what has changed.
"""

from tests.runtime.plays import functions, routes
from tests.runtime.plays.registry import PLAYS, ensure, login_status

__all__ = ["PLAYS", "ensure", "functions", "login_status", "routes"]
