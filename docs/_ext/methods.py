r"""The parts of docs/methods.md that are computed, from what plugins say of themselves and from the league.

cog writes them. The league is what `collapsebench league league/small --format json` has made of the committed records.
"""

import inspect
import json
import re
from collections.abc import Iterable
from functools import cache
from itertools import takewhile

from as_markdown import as_markdown
from field import COSTS
from league import DIVISIONS, league
from paper import table

from collapsebench.components.descriptions import Description, describe_methods
from collapsebench.components.interfaces import Family
from collapsebench.syntax import parse_composition

TRAINED, COST = "What is trained", "Cost of a step: "
"""How a plugin begins to say what it does to the bound, and what it costs."""


@cache
def shipped() -> dict[Family, list[Description]]:
    """The methods by family."""
    found: dict[Family, list[Description]] = {family: [] for family in Family}
    for method in describe_methods():
        if method.family is not None:
            found[method.family].append(method)
    return {family: methods for family, methods in found.items() if methods}


def overview() -> str:
    """All methods: what each does, and what a step of it costs."""
    rows = (
        [
            f"[`{each.name}`](#method-{each.name})",
            family,
            said(each)[0].rstrip("."),
            *times(each.name),
            *ranks(each.name),
        ]
        for family, methods in shipped().items()
        for each in methods
    )
    heads = [f"rank, {division}" for division in DIVISIONS]
    return table(["method", "family", "what it does", "time of a step, text", "time of a step, images", *heads], rows)


def entries(family: str) -> str:
    """The methods of a family: equation, what is trained, cost and source of each."""
    return "\n" + "\n".join(map(entry, shipped()[Family(family)]))


def entry(method: Description) -> str:
    """One method."""
    paragraphs = said(method)
    return "\n".join(
        [
            f"(method-{method.name})=",
            f"**`{method.name}`** {paragraphs[0]}",
            "",
            equation(paragraphs),
            "",
            f"*Bound*: {sentence(paragraphs, TRAINED)} *Cost*: {cost(paragraphs)} *Source*:",
            f"{method.entry.component.citation}.",
            "",
        ]
    )


def said(method: Description) -> list[str]:
    """What the docstring of a method says, one line for each paragraph and each point of a list."""
    text = as_markdown(inspect.cleandoc(method.entry.component.__doc__ or ""))
    return [" ".join(part.split()) for part in re.split(r"\n{2,}|\n(?=- )", text)]


def equation(paragraphs: list[str]) -> str:
    """The paragraph with the equation, the first one behind the summary, with the points that it introduces."""
    first, *others = paragraphs[1:]
    if first.endswith(":"):
        return "\n".join([first, "", *takewhile(lambda each: each.startswith("- "), others)])
    return first if first.endswith(".") else f"{first} {others[0]}"


def cost(paragraphs: list[str]) -> str:
    """What a step costs."""
    return sentence(paragraphs, COST).removeprefix(COST)


def sentence(paragraphs: Iterable[str], start: str) -> str:
    """The paragraph or point that starts so."""
    found = [each.removeprefix("- ") for each in paragraphs if each.removeprefix("- ").startswith(start)]
    if len(found) != 1:
        raise ValueError(f"one paragraph should start with {start!r}, got {len(found)}")
    return found[0]


@cache
def measured() -> dict[tuple[str, str], float]:
    """The time of a training step as a multiple of the plain VAE's, by method and kind of data."""
    costs = json.loads(COSTS.read_text(encoding="utf-8"))["costs"]
    return {(parse_composition(cost["contender"])[0].name, cost["kind"]): cost["time"] for cost in costs}


def times(name: str) -> list[str]:
    """The times of a method on text and on images; empty where it was not measured."""
    return [f"{measured()[name, kind]:.2f}" if (name, kind) in measured() else "" for kind in ("text", "images")]


@cache
def models() -> dict[str, str]:
    """The model of the league that is a method alone, by the name of the method, the plainest one if there are two."""
    found: dict[str, tuple[int, str]] = {}
    for run in filter(lambda each: each["setting"], league()["divisions"]["default"]["runs"]):
        (call, *others) = parse_composition(run["setting"])
        if not others and run["ranked"]:
            found[call.name] = min(found.get(call.name, (99, "")), (len(call.params), run["contender"]))
    return {name: model for name, (_, model) in found.items()}


def ranks(name: str) -> list[str]:
    """The mean rank of a method over the tasks of the league, in each division; empty for one that is not ranked."""
    return [rank(name, division) for division in DIVISIONS]


def rank(name: str, division: str) -> str:
    """The mean rank of a method in a division, with its interval over seeds."""
    if name not in models():
        return ""
    own = league()["divisions"][division]["statistics"]["contenders"][models()[name]]
    interval = "" if own["mean_rank_interval"] is None else " [{:.1f}, {:.1f}]".format(*own["mean_rank_interval"])
    return f"{own['mean_rank']:.1f}{interval}"


def tasks() -> str:
    """How many contenders are ranked, and on which tasks."""
    statistics = league()["divisions"]["default"]["statistics"]
    ranked, named = len(statistics["contenders"]), ", ".join(statistics["tasks"])
    return f"\nThe league has {ranked} ranked contenders, compositions among them, on these tasks so far: {named}.\n\n"
