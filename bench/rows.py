"""`python -m bench.rows`: damages rows of a store one by one. Each must be named, and cost its own run and no other."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bench.hostile import LINES, boards, call

DEEP = "[" * 3000 + "]" * 3000
ANYTHING: tuple[object, ...] = (
    *(None, "", "garbage", b"\xff\xfe\x00", -1, 7, 3.5, 2**63 - 1, float("inf")),
    *("\x1b[2J", "null", "[]", "{}", "[1", DEEP),
)
"""Values of any type, for any column."""
NOT_UTF8 = "CAST(x'c328' AS TEXT)"
COUNTERS = ('{"steps": Infinity}', '{"steps": NaN}', '{"steps": -1}', '{"steps": "x"}', '{"steps": null}', '{"a": {}}')
POINT = ('{"kl": 3}', '{"kl": {"kind": "nan", "value": 1}}', '{"kl": {"kind": "finite", "value": null}}', '{"kl": {}}')
IDS = ("../victim/thesis", "A" * 16, "0" * 17, "0123", "a*", "--yes", "'; DROP TABLE runs; --", "/etc/passwd", "0" * 16)
TIMES = ("yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00+00:00", "9" * 40)
TRAJECTORIES = tuple(
    zlib.compress(text.encode())
    for text in (
        *("", "{}", "null", "[3]", "[{}]", DEEP),
        *(f'[{{"counters": {each}, "values": {{}}, "selected": true}}]' for each in COUNTERS),
        *(f'[{{"counters": {{}}, "values": {each}, "selected": true}}]' for each in POINT),
        '[{"counters": {}, "values": {}, "selected": "yes"}]',
    )
)
"""Points that are none, packed as those of a run."""
SPECIAL: dict[tuple[str, str], tuple[object, ...]] = {
    ("runs", "run_id"): IDS,
    ("runs", "protocol_key"): IDS,
    ("runs", "contender_key"): IDS,
    ("runs", "counters"): COUNTERS,
    ("runs", "outcome"): ("exploded", "FINISHED"),
    ("runs", "started_at"): TIMES,
    ("runs", "finished_at"): TIMES,
    ("runs", "seed"): (-1, "one", 1.5, 99),
    ("runs", "parameters"): (-5, "many", 1e300),
    ("runs", "code"): ('{"method a": 1}', '["a"]'),
    ("runs", "findings"): ('[{"guard": "x", "text": "y"}]', '[{"guard": "work"}]', '[{"guard": "work", "text": 1}]'),
    ("runs", "declined"): (
        '[{"metric": "kl", "column": "kl"}]',
        '[{"metric": "kl", "column": "kl", "reason": "a\\u001b"}]',
    ),
    ("runs", "environment"): ("[]", "3", '{"python": '),
    ("trajectories", "points"): (*TRAJECTORIES, zlib.compress(b" " * 2**28), TRAJECTORIES[0][:-3]),
    ("metric_values", "kind"): ("huge", "nan", "+inf"),
    ("metric_values", "standard_error_kind"): ("huge", "nan"),
    ("metric_values", "value"): ("1,5", 1e999, b"1"),
    ("metric_values", "direction"): ("sideways",),
    ("metric_values", "board"): (2, "x"),
    ("metric_values", "run_id"): ("0" * 16,),
}
TABLES = ("runs", "trajectories", "metric_values")
"""The tables whose rows are of one run alone."""


class Damage(NamedTuple):
    """One change of one row."""

    table: str
    column: str
    what: str
    """The value, as Python writes it."""
    sql: str
    values: tuple[object, ...]


def damages(columns: dict[str, list[str]]) -> Iterator[Damage]:
    """Yield every kind of damage."""
    for table in TABLES:
        for column in columns[table]:
            set_ = f'SET "{column}" ='
            for value in (*ANYTHING, *SPECIAL.get((table, column), ())):
                yield Damage(table, column, f"{value!r:.40}", f"{set_} ?", (value,))
            yield Damage(table, column, NOT_UTF8, f"{set_} {NOT_UTF8}", ())
    for table in TABLES[1:]:
        yield Damage(table, "", "rows are gone", "", ())


def template(folder: Path) -> tuple[Path, dict[str, list[str]]]:
    """Make a store whose columns take anything, and return it with the columns of its tables."""
    path = folder / "template.sqlite"
    records = folder / "records.jsonl"
    records.write_text("".join(LINES), encoding="utf-8")
    answer = call(path, "runs", "import", str(records))
    if answer.code:
        sys.exit(answer.err)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name != 'metric_values'")
        found = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in TABLES}
    return path, {name: [column[1] for column in info] for name, info in found.items()}


def apply(path: Path, damage: Damage, draw: random.Random) -> str | None:
    """Damage one row of one run, and return the id of the run; None if the database refuses it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        ids = [row[0] for row in connection.execute("SELECT run_id FROM runs ORDER BY run_id")]
        run_id = draw.choice(ids)
        if not damage.sql:
            connection.execute(f"DELETE FROM {damage.table} WHERE run_id = ?", (run_id,))  # noqa: S608 - a table of ours
            return str(run_id)
        key = {"runs": "run_id", "trajectories": "run_id", "metric_values": '"column"'}[damage.table]
        query = f"SELECT {key} FROM {damage.table} WHERE run_id = ?"  # noqa: S608 - a table of ours
        which = draw.choice([row[0] for row in connection.execute(query, (run_id,))])
        update = f"UPDATE {damage.table} {damage.sql} WHERE run_id = ? AND {key} = ?"
        try:
            connection.execute(update, (*damage.values, run_id, which))
        except (sqlite3.IntegrityError, sqlite3.OperationalError):
            return None
    return str(run_id)


def mistakes(path: Path, runs: int) -> tuple[bool, list[str]]:
    """Read a damaged store with every command. Return whether a run was named, and what went wrong."""
    found = []
    export = call(path, "runs", "export", "-")
    written = len(export.out.splitlines())
    named = "cannot be read: " in export.err
    if export.code or written + named != runs:
        found.append(f"export: {written} of {runs} runs, {export.err:.200}")
    for command, answer in (("runs export", export), *boards(path)):
        if answer.code not in {0, 1} or "(a bug" in answer.err or "Traceback" in answer.err:
            found.append(f"{command}: {answer.code} {answer.err:.300}")
        if "\x1b" in answer.all:
            found.append(f"{command} prints a terminal escape")
        if answer.code == 1 and command not in {"leaderboard --dialect", "leaderboard --at"}:
            found.append(f"{command}: {answer.err:.300}")
    return named, found + (undeletable(path, export.err) if named else [])


def undeletable(path: Path, line: str) -> list[str]:
    """Delete the run that a line names, as the line says, and return what went wrong."""
    command = line.rpartition("`; ")[0] if "`; " in line else line.partition("`")[2].partition("`")[0]
    words = command.split()[1:]
    if words[-1] != "--unreadable":
        words[-1] = words[-1][:12]  # a prefix is enough
    answer = call(path, *words, "--yes")
    again = call(path, "runs", "export", "-")
    if answer.code or "1 runs deleted" not in answer.err or "cannot be read" in again.err:
        return [f"{command}: {answer.code} {answer.err:.200} then {again.err:.200}"]
    return []


def main() -> None:
    """Damage, read, report. The exit code is 1 if a row was not named or took something down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    draw = random.Random(given.seed)  # noqa: S311 - trials, not secrets
    counted, failed = Counter[str](), 0
    with tempfile.TemporaryDirectory() as temporary:
        path, columns = template(Path(temporary))
        kinds = list(damages(columns))
        draw.shuffle(kinds)
        number = 0
        while number < given.rows:
            damage = kinds[number % len(kinds)] if number + 1 < len(kinds) else draw.choice(kinds)
            number += 1
            store = Path(temporary) / "damaged.sqlite"
            shutil.copyfile(path, store)
            if apply(store, damage, draw) is None:
                counted["refused by the database"] += 1
                continue
            named, found = mistakes(store, len(LINES))
            counted["named" if named else "still readable"] += 1
            if found:
                failed += 1
                print(f"{damage.table}.{damage.column} = {damage.what}", *found, sep="\n    ")
    print(json.dumps({"rows": given.rows, "kinds": len(kinds), **counted, "failed": failed}))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
