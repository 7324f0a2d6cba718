"""`python -m bench.imports`: imports mutated lines. Each is refused with its reason, or all boards can be drawn."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.hostile import LINES, boards, call
from collapsebench.spec import RunSpec
from collapsebench.store.labels import with_labels

NASTY: tuple[Any, ...] = (
    *(None, True, "", "x", "\x1b[2J", "\ud800", "a\nb", "\u202egnp", "=cmd|' /C calc'!A0", "<script>", "\\input{x}"),
    *(0, -1, 1, 7, 2**31, 2**63 - 1, 2**63, 10**30, 0.0, -0.5, 1e-320, 1e308, -1e308),
    *([], {}, [[[[]]]], {"kind": "nan", "value": None}, {"kind": "+inf", "value": None}),
    *({"kind": "-inf", "value": None}, {"kind": "finite", "value": 1e308}, {"kind": "finite", "value": -1e308}),
    *({"kind": "finite", "value": 0.0}, {"kind": "nan", "value": 1.0}, "x" * 5000, "ünïcode 🙂", "../../etc/passwd"),
)
RAW = (
    "NaN",
    "Infinity",
    "1e999",
    "-1e999",
    "9" * 5000,
    "[" * 3000 + "]" * 3000,
    '"\\ud800"',
    "1.0.0",
    '{"a": 1, "a": 2}',
)
"""Texts that are put in as they are, JSON or not."""
MARK = "-- here --"


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((*path, key), *paths(inner, (*path, key)))]


def put(content: Any, path: tuple[Any, ...], value: Any) -> None:
    """Set, add or delete what is at a path."""
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


def mutated(draw: random.Random) -> str:
    """Change one to three things of a line. Half of the changed specs get the ids that fit them."""
    content = json.loads(draw.choice(LINES))
    content["spec"]["seed"] = "99"  # a run that the store does not have
    content, raw = _with_ids(content), None
    for _ in range(draw.choice((1, 1, 2, 3))):
        area = draw.choice(("spec", "points", "values", ""))
        here = [path for path in paths(content) if not area or path[0] == area]
        path = draw.choice(here) if here else ("message",)
        action = draw.random()
        if action < 0.1:
            _double(content, path)
        elif action < 0.2:
            raw = draw.choice(RAW)
            put(content, path, MARK)
        elif action < 0.6:
            put(content, path, changed(content, path, draw))
        else:
            put(content, path, draw.choice(NASTY))
    if draw.random() < 0.7:
        content = _with_ids(content)
    line = json.dumps(content)
    return line if raw is None else line.replace(f'"{MARK}"', raw)


def changed(content: Any, path: tuple[Any, ...], draw: random.Random) -> Any:
    """Return something like what is at a path."""
    for key in path:
        content = content[key]
    if isinstance(content, bool) or content is None:
        return not content
    if isinstance(content, int | float):
        return draw.choice((content * 0, -content, content + 1, content * 1000, content / 7, content * 1e300, 1e-300))
    if isinstance(content, str):
        return draw.choice((f"{content}x", content[:-1], content.upper(), f"{content}\u200b", f"{content} {content}"))
    if isinstance(content, list):
        return draw.choice(([], content[:1], content[::-1], content[:-1], content + content))
    if "kind" in content:
        return draw.choice([each for each in NASTY if isinstance(each, dict) and each])
    return {key: inner for key, inner in content.items() if draw.random() < 0.8}


def _double(content: Any, path: tuple[Any, ...]) -> None:
    """Repeat an entry of a list, or rename a key."""
    for key in path[:-1]:
        content = content[key]
    key = path[-1]
    if isinstance(content, list):
        content.append(content[key])
    else:
        content[f"{key}\u00a0x"] = content.pop(key)


def _with_ids(content: dict[str, Any]) -> dict[str, Any]:
    """Give the record the ids and labels of its spec, as somebody would who knows the rules."""
    try:
        spec = RunSpec.model_validate(content["spec"])
        labelled = with_labels(spec, str(content["contender"]), str(content["track"]))
        ids = {"run_id": spec.run_id, "protocol_id": spec.protocol.protocol_id}
        return content | ids | {"contender": labelled.contender.label, "track": labelled.protocol.track_label}
    except Exception:  # noqa: BLE001 - the line is then nonsense anyway
        return content


def mistakes(line: str, template: Path, store: Path) -> tuple[bool, list[str]]:
    """Import a line beside the others. Return whether it was accepted, and what went wrong."""
    shutil.copyfile(template, store)
    file = store.with_suffix(".jsonl")
    file.write_text(line, encoding="utf-8", errors="surrogatepass")
    answer = call(store, "runs", "import", str(file))
    if answer.code:
        ok = answer.code in {1, 2} and "(a bug" not in answer.err and len(answer.err.splitlines()) == 1
        reason = "line 1: " in answer.err or "other content" in answer.err
        return False, [] if ok and reason and "\x1b" not in answer.err else [f"import: {answer.code} {answer.err:.300}"]
    found = []
    for command, drawn in (*boards(store), ("runs export", call(store, "runs", "export", "-"))):
        allowed = {0, 1} if command in {"leaderboard --at", "leaderboard --dialect"} else {0}
        if drawn.code not in allowed or "(a bug" in drawn.err or "cannot be read" in drawn.all:
            found.append(f"{command}: {drawn.code} {drawn.err:.300}")
        if "\x1b" in drawn.all:
            found.append(f"{command} prints a terminal escape")
    return True, found


def main() -> None:
    """Mutate, import, draw, report. The exit code is 1 if a line was a bug or poisoned a board."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    draw = random.Random(given.seed)  # noqa: S311 - trials, not secrets
    counted, failed = Counter[str](), 0
    with tempfile.TemporaryDirectory() as temporary:
        template, records = Path(temporary) / "template.sqlite", Path(temporary) / "records.jsonl"
        records.write_text("".join(LINES[1:]), encoding="utf-8")
        call(template, "runs", "import", str(records))
        for number in range(given.lines):
            line = mutated(draw)
            accepted, found = mistakes(line, template, Path(temporary) / f"{number}.sqlite")
            counted["accepted" if accepted else "refused"] += 1
            if found:
                failed += 1
                print(f"line {number}: {line:.100}", *found, sep="\n    ")
    print(json.dumps({"lines": given.lines, **counted, "failed": failed}))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
