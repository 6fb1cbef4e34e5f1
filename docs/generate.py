"""`make docs`: generate parts of the docs from the code; a test checks that they are up to date.

Such a part is between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from bench import cost, estimate
from chalicelib.domain.moves import TYPES, TypeRules
from chalicelib.handlers import devices, invitations
from chalicelib.handlers.all import registry
from chalicelib.settings import Count, PollerSettings, Settings, Variable, queue_name
from local.lambdas import load_app, queue_sources
from ops.front import FrontSettings
from syncpoint_device.transitions import registry as on_device

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# Sorted, since their order in the registry depends on what was imported first.
TRANSITIONS = sorted(registry, key=lambda t: t.doc_type)
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str) -> str:
    """Return a page's text with all generated parts up to date."""
    return _BLOCK.sub(lambda block: block[1] + BLOCKS[block[2]]() + block[3], text)


def states() -> str:
    """Return the states, and who or what changes them, as a Mermaid diagram."""
    lines = [
        f"    {t.doc_type}/{t.state} --> {t.doc_type}/{state}: {'unsafe' if t.unsafe else 'safe'}"
        for t in TRANSITIONS
        for state in t.to
    ]
    lines += [f"    {here} --> {there}: {by}" for here, there, by in _answers()]
    names = sorted({name for line in lines for name in re.findall(r"\w+/\w+", line)})
    aliases = [f'    state "{name.split("/")[1]}" as {_alias(name)}' for name in names]
    diagram = [re.sub(r"\w+/\w+", lambda name: _alias(name[0]), line) for line in lines]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join([*aliases, *diagram]) + "\n```\n"


def queues() -> str:
    """Return the queues and the functions that read them, as a table."""
    sources = queue_sources(load_app(ROOT))
    functions = {str(source.queue).split("-", 2)[2]: source.name for source in sources}
    rows = [
        (
            f"{t.doc_type}/{t.state}",
            "unsafe" if t.unsafe else "safe",
            f"`{queue_name('{stage}', t.doc_type, t.state)}`",
            f"`{functions[f'{t.doc_type}-{t.state}']}`",
        )
        for t in TRANSITIONS
    ]
    return _table(("document", "mode", "queue", "function in app.py"), rows)


def routes() -> str:
    """Return the routes of the API as a table, with the first lines of their docstrings."""
    app = load_app(ROOT).app
    methods_of: dict[tuple[str, str], list[str]] = {}
    for path, methods in app.routes.items():
        for method, entry in methods.items():
            does = (entry.view_function.__doc__ or "").strip().splitlines()[0]
            methods_of.setdefault((path, does), []).append(method)
    rows = [
        (f"`{', '.join(methods)} {path}`", does) for (path, does), methods in methods_of.items()
    ]
    return _table(("route", "what it does"), rows)


def device_transitions() -> str:
    """Return the transitions of the device agent as a table."""
    states: dict[tuple[str, str], list[str]] = {}
    for t in on_device:
        what = (t.run.__doc__ or "").strip().splitlines()[0]
        states.setdefault((t.doc_type, what), []).append(t.state)
    rows = [(f"{kind}/{', '.join(sorted(each))}", what) for (kind, what), each in states.items()]
    return _table(("document", "what the device does"), rows)


def device_moves() -> str:
    """Return what devices may write over what, step by step, as a table."""
    rows = [
        (name, f"`{state}`" if state else "nothing", *_steps(rules, state))
        for name, rules in TYPES.items()
        for state in ("", *sorted({*rules.moves, *rules.ends}))
        if state or rules.made
    ]
    return _table(("type", "over", "a device may write", "and delete it"), rows)


def _steps(rules: TypeRules, state: str) -> tuple[str, str]:
    after = rules.moves.get(state, ()) if state else rules.made
    words = [
        f"`{one}` with a higher `{rules.again.counter}`"
        if rules.again and state and rules.is_again(state, one)
        else f"`{one}`"
        for one in after
    ]
    return ", ".join(words) or "nothing", "yes" if state in rules.ends else "no"


def handler_settings() -> str:
    """Return the settings of the handlers and routes as a table."""
    return _variables(Settings.variables())


def poller_settings() -> str:
    """Return the settings of the poller as a table."""
    return _variables(PollerSettings.variables())


def front_settings() -> str:
    """Return the settings of the front as a table."""
    return _variables(FrontSettings.variables())


def resources() -> str:
    """Return the resources of template.yaml as a table."""
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    rows = [
        (f"`{name}`", f"`{resource['Type']}`", f"`{_name_of(resource['Properties'])}`")
        for name, resource in template["Resources"].items()
    ]
    return _table(("resource", "type", "name"), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "states": states,
    "queues": queues,
    "routes": routes,
    "device_transitions": device_transitions,
    "device_moves": device_moves,
    "handler_settings": handler_settings,
    "poller_settings": poller_settings,
    "front_settings": front_settings,
    "resources": resources,
    "cost_registration": lambda: cost.registration_table() + "\n",
    "cost_steps": lambda: cost.steps_table() + "\n",
    "cost_bounds": lambda: estimate.bounds_table() + "\n",
}


def main() -> int:
    """Update the generated parts of every page; return 0."""
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _answers() -> Iterator[tuple[str, str, str]]:
    """Yield the changes of state that no transition makes: by people, by devices, for a guest."""
    for state, by in devices.NEXT_STATES.items():
        yield "device/confirming", f"device/{state}", by
    for name, rules in TYPES.items():
        for here, states in rules.moves.items():
            for there in states:
                if there != here:
                    yield f"{name}/{here}", f"{name}/{there}", "a device of the owner's"
    for state, by in invitations.NEXT_STATES.items():
        yield "invitation/sent", f"invitation/{state}", by
    yield "channel/shared", "channel/closed", "the owner removes the guest, or closes it"


def _alias(name: str) -> str:
    return name.replace("/", "_")


def _variables(variables: list[Variable]) -> str:
    rows = [(f"`{v.name}`", _default(v), _bounds(v), v.help) for v in variables]
    return _table(("variable", "default", "values", "what it is"), rows)


def _bounds(variable: Variable) -> str:
    parse = variable.parse
    return f"{parse.minimum} to {parse.maximum}" if isinstance(parse, Count) else "text"


def _default(variable: Variable) -> str:
    if variable.default is None:
        return "must be set"
    return f"`{variable.default}`" if variable.default else "empty"


def _name_of(properties: dict[str, dict[str, str]]) -> str:
    names = [properties[key] for key in properties if key.endswith("Name")]
    texts = [name["Fn::Sub"] for name in names if "Fn::Sub" in name]
    return texts[0].replace("${Stage}", "{stage}") if texts else "-"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
