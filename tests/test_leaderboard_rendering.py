"""Every format says the same: parsed back, it has the board's numbers, blanks and best cells."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import ENVIRONMENT, point, record, score_records, values

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Outcome, Value
from collapsebench.reporting.leaderboard import FORMATS, Presentation, RowOrder, Shown, page_pieces, render, select
from collapsebench.reporting.leaderboard.layout import lay_out, title
from collapsebench.reporting.leaderboard.numbers import BLANK
from collapsebench.reporting.leaderboard.pages import Page, TableCell, TextTable
from collapsebench.spec import PROTOCOL_VERSION

NASTY = r'a[x="<b> |&%$#_{}~^\\*`"]'
"""A label with every character that means something in one of the formats."""


def board(**fields):
    """Two seeds; skip is best in −ELBO, the nasty one lacks a seed, KL is NaN and infinite in places."""
    made = [
        record("vae", 1, columns={"neg_elbo": Estimate(31.5, 0.01), "kl": 1.0, "active_units": 2.0}),
        record("vae", 2, columns={"neg_elbo": 31.75, "kl": math.nan, "active_units": 2.0}),
        record("skip", 1, columns={"neg_elbo": 30.0, "kl": 2.0, "active_units": 2.0}, **fields),
        record("skip", 2, columns={"neg_elbo": 30.375, "kl": math.inf, "active_units": 2.0}),
        record(NASTY, 1, columns={"neg_elbo": 0.0, "kl": 0.0}),
        record(NASTY, 2, outcome=Outcome.DIVERGED, message="loss is <nan>\n| at 50 % of step_4"),
    ]
    return score_records(made)


def cells(page) -> list[list[list[str]]]:
    return [[list(table.headers), *([cell.text for cell in row] for row in table.rows)] for table in page.tables]


def test_layout():
    page = lay_out(board())
    results, differences, costs = page.tables
    assert results.headers == ("contender", "n", "−ELBO [nats] ↓", "KL [nats]", "AU ↑")
    assert [[cell.text for cell in row] for row in results.rows] == [
        ["vae", "2", "31.6 ± 1.6", "nan", "2 ± 0"],
        [NASTY, "1 of 2", f"{BLANK} 1 of 2 seeds", f"{BLANK} 1 of 2 seeds", f"{BLANK} 0 of 2 seeds"],
        ["skip", "2", "30.2 ± 2.4 ≠", "inf", "2 ± 0"],
    ]
    assert [[cell.text for cell in row] for row in differences.rows] == [
        [NASTY, "1", f"{BLANK} 1 of 2 seeds", f"{BLANK} 1 of 2 seeds", f"{BLANK} 0 of 2 seeds"],
        ["skip", "2", "−1.44 ± 0.79 ≠", "nan", "0 ± 0"],
    ]
    assert costs.headers[:4] == ("contender", "parameters", "Δ parameters", "steps")
    assert [cell.text for cell in costs.rows[2]][:4] == ["skip", "1,000", "0", "350"]
    assert [(row[0].text, [cell.bold for cell in row]) for row in results.rows] == [
        ("vae", [False, False, False, False, True]),
        (NASTY, [False] * 5),
        ("skip", [False, False, True, False, True]),
    ]


def test_a_column_that_does_not_apply_is_empty_and_not_blank():
    page = lay_out(score_records([record("vae", columns={"kl": 1.0}), record("no-latent", columns={"neg_elbo": 1.0})]))
    assert [[cell.text for cell in row] for row in page.tables[0].rows] == [
        ["vae", "1", "1", ""],
        ["no-latent", "1", "", "1"],
    ]


def test_title_and_notes():
    page = lay_out(board(environment={**ENVIRONMENT, "collapsebench": "0.2.0", "commit": "abc", "device": None}))
    assert page.title.startswith("digits · quick · 350steps · protocol ")
    assert page.title.endswith(f"(version {PROTOCOL_VERSION}) · collapsebench 0.1.0, 0.2.0")
    text = "\n".join(page.notes)
    assert "−ELBO = neg_elbo (nats, lower is better); KL = kl (nats); AU = active_units (no unit, higher" in text
    assert re.search(r"seed 2: diverged, run [0-9a-f]{16}: loss is <nan> \| at 50 % of step_4", text)
    assert "Runs: 6 (5 finished, 1 diverged)." in text
    assert "Machine (5 of 6): collapsebench 0.1.0, cpu_count 2, platform Linux x86_64" in text
    assert "Machine (1 of 6): collapsebench 0.2.0, commit abc, cpu_count 2, platform" in text
    assert "do not compare" in text


def test_without_baseline_there_are_no_differences():
    page = lay_out(score_records([record("skip"), record("a")]))
    assert [table.caption.partition(":")[0] for table in page.tables] == ["Results", "Costs"]
    assert "Δ parameters" not in page.tables[1].headers


@pytest.mark.parametrize("format_", FORMATS)
def test_formats_keep_boards_apart(format_):
    other = score_records([record("vae", protocol={"dataset": "ptb"}), record("zzz", protocol={"dataset": "ptb"})])
    text = render([board(), other], format_)
    one, two = render([board()], format_), render([other], format_)
    assert text.count("zzz") == two.count("zzz") > 0
    assert text.count("diverged") == one.count("diverged") > 0
    assert text.endswith("\n")


def test_table_in_a_pipe_is_plain_and_never_cut():
    wide = score_records([record("vae"), record("skip[" + ",".join(f"k{i}={i}" for i in range(60)) + "]")])
    text = render([wide, board()], "table")
    assert "\x1b" not in text
    assert "…" not in text
    assert text.count("k0=0,k1=1,k10=10") == 4  # three tables and the command
    lines = text.splitlines()
    assert next(line for line in lines if "30.2" in line).split() == [
        "skip",
        "2",
        "30.2",
        "±",
        "2.4",
        "≠",
        "*",
        "inf",
        "2",
        "±",
        "0",
        "*",
    ]
    assert all(line == line.rstrip() for line in lines)


def test_table_on_a_terminal_is_bold_where_it_is_best():
    text = render([board()], "table", width=200)
    assert re.search(r"\x1b\[1m *30\.2 ± 2\.4", text)
    assert not re.search(r"\x1b\[1m *31\.6 ± 1\.6", text)
    assert "*" not in text.replace("(in plain text: *)", "").replace(NASTY, "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert plain.count(NASTY) == render([board()], "table").count(NASTY)


def plain(made, width):
    return re.sub(r"\x1b\[[0-9;]*m", "", render([made], "table", width=width))


@pytest.mark.parametrize(("width", "parts"), [(1, 14), (60, 5), (100, 3), (200, 3)])
def test_tables_are_split_where_nothing_else_makes_them_fit_a_terminal(width, parts):
    text = plain(board(), width)
    tables = text.partition("Worse")[0].partition("Better")[0].splitlines()
    rules = [line for line in tables if line.startswith(" ─")]
    assert len(rules) == parts
    assert width < 60 or all(len(line) <= width for line in tables if "Costs" not in line)
    assert sum(line.split().count("KL") for line in tables) == 2
    assert sum(line.split()[:1] == ["skip"] for line in tables) == parts


def texts(table):
    """What a table says, whatever its width is: without spaces, and without the word that narrow tables leave out."""
    return [[re.sub(r"\s|seeds", "", cell.text) for cell in row] for row in table.rows]


@pytest.mark.parametrize("width", [60, 70, 80, 90, 120])
def test_no_number_of_a_table_is_lost_or_cut_on_a_narrow_terminal(width):
    made = replace(board(), presentation=Presentation(Shown.USUAL))
    results, differences = lay_out(made).tables
    text = "".join(plain(made, width).split()).replace("seeds", "")
    for table in (results, differences):
        for row in texts(table):
            assert "".join(row) in text


def test_where_no_label_has_room_each_stands_on_a_line_of_its_own():
    table = TextTable("t", ("contender", "setting"), ((TableCell("some name"), TableCell("x" * 35)),))
    text = "".join(page_pieces([Page("p", (table,), (), "c")], "table", width=44))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines()]
    assert lines.index("some name") + 1 == lines.index("x" * 35)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_name_in_a_long_note_gets_no_space(width):
    name = "sa-vae[clip=as-released,hvp=finite-difference]"
    labels = {"vae": 0.0, "skip": -2.0, "skip+sa-vae": -3.0, name: -4.0}
    runs = [measured(label, seed, **(USUAL | {"iw_nll": 30 + far})) for label, far in labels.items() for seed in (1, 2)]
    text = plain(usual(*runs), width)
    assert len(text.partition("Better than vae")[2].partition(".\n")[0]) > 60
    assert "as-released, " not in text
    assert "".join(name.split(",")) in re.sub(r",?\n? *", "", text)


def usual(*records):
    return replace(score_records(records), presentation=Presentation(Shown.USUAL, RowOrder.BY_DECISION))


def measured(label, seed, **columns):
    heads = {
        "neg_elbo": ("elbo", "nats", "−ELBO", Direction.LOWER),
        "iw_nll": ("iw-nll", "nats", "IW-NLL", Direction.LOWER),
        "perplexity": ("perplexity", "", "PPL", Direction.LOWER),
        "kl": ("kl", "nats", "KL", Direction.NONE),
        "mi_lower": ("mutual-information", "nats", "MI ≥", Direction.HIGHER),
        "mi_upper": ("mutual-information", "nats", "MI ≤", Direction.NONE),
        "active_units": ("active-units", "units", "AU", Direction.NONE),
        "delta_shuffle": ("latent-use", "nats", "Δ shuffle", Direction.HIGHER),
    }
    shown = (
        Value.of(heads[key][0], key, Estimate(number), unit=heads[key][1], title=heads[key][2], board=True,
                 direction=heads[key][3])
        for key, number in columns.items()
    )  # fmt: skip
    return record(label, seed, values=tuple(shown))


USUAL = {"neg_elbo": 31.0, "iw_nll": 30.5, "kl": 1.5, "mi_lower": 1.0, "mi_upper": 1.25, "active_units": 2.0}


def test_people_see_five_columns_and_are_told_of_the_others():
    runs = [measured("vae", seed, **USUAL, delta_shuffle=0.5) for seed in (1, 2)]
    page = lay_out(usual(*runs))
    (results,) = page.tables
    assert results.headers == ("contender", "−ELBO ↓", "IW-NLL ↓", "KL", "MI ↑ [lower, upper]", "AU")
    assert [cell.text for cell in results.rows[0]] == ["vae", "31 ± 0", "30.50 ± 0", "1.50 ± 0", "[1, 1.25]", "2 ± 0"]
    assert results.caption == "Results, 2 seeds"
    assert any(note.startswith("--columns all shows Δ shuffle, the costs") for note in page.notes)


sizes = st.fixed_dictionaries(
    {
        "neg_elbo": st.floats(0, 999),
        "iw_nll": st.floats(0, 999),
        "kl": st.floats(0, 99),
        "mi_lower": st.floats(0, 10),
        "mi_upper": st.floats(0, 99),
        "active_units": st.integers(0, 64).map(float),
    }
)


@given(st.lists(st.tuples(sizes, sizes, sizes), min_size=2, max_size=4))
def test_the_usual_view_is_not_split_at_80_characters(numbers):
    labels = ("vae", "skip", "kl-annealing[schedule=cyclical,cycles=4]", "sa-vae")
    runs = [
        measured(label, seed, **columns)
        for label, own in zip(labels, numbers, strict=False)
        for seed, columns in enumerate(own, start=1)
    ]
    lines = plain(usual(*runs), 80).partition("\n±")[0].splitlines()
    assert sum(line.startswith(" ─") for line in lines) == 2
    assert max(map(len, lines)) <= 80


def test_text_has_the_perplexity_in_place_of_the_likelihood_and_it_decides():
    runs = [
        measured(label, seed, **USUAL | {"iw_nll": 30.0 + size + seed, "perplexity": 100.0 - size + seed})
        for label, size in (("vae", 0.0), ("a", 1.0), ("b", 2.0))
        for seed in (1, 2)
    ]
    page = lay_out(usual(*runs))
    assert page.tables[0].headers[:3] == ("contender", "−ELBO ↓", "PPL ↓")
    assert [row[0].text for row in page.tables[0].rows] == ["vae", "b", "a"]
    assert "Better than vae by PPL: b −2 ± 0, a −1 ± 0." in page.notes


def test_intervals_and_means_that_cannot_be_are_cut_and_it_is_said():
    runs = [
        measured("vae", seed, **USUAL | {"kl": kl, "mi_lower": mi, "active_units": units})
        for seed, kl, mi, units in ((1, 0.0, -0.25, 2.0), (2, 0.25, 0.125, 1.0))
    ]
    page = lay_out(usual(*runs))
    assert [cell.text for cell in page.tables[0].rows[0]][3:] == ["0.1 [0, 1.7]", "[0.0, 1.25]", "1.5 [0, 2]"]
    assert "Intervals are cut to what is possible: KL, MI ≥ at least 0; AU from 0 to 2." in page.notes
    wrong = lay_out(usual(*(measured("vae", seed, **USUAL | {"kl": -1.0}) for seed in (1, 2))))
    assert wrong.tables[0].rows[0][3].text == "−1 ± 0 !", "an impossible number stays what it is"


def test_one_seed_decides_nothing_and_says_so():
    page = lay_out(usual(measured("vae", 1, **USUAL), measured("a", 1, **USUAL | {"iw_nll": 1.0})))
    assert not any(cell.bold for row in page.tables[0].rows for cell in row)
    assert page.notes[0].startswith("Nothing is decided: one seed cannot tell a contender from another.")
    assert any("nothing is bold" in note for note in page.notes)


def test_unequal_costs_are_told_beside_a_budget_that_does_not_count_them():
    def run(label, flops):
        counters = {"steps": 350.0, "flops": flops}
        return measured(label, 1, **USUAL).model_copy(
            update={"points": (point().model_copy(update={"counters": counters}),)}
        )

    runs = [run("vae", 1e9), run("a", 1.8e10), run("b", 1.01e9)]
    assert "FLOPs in multiples of those of vae: a 18." in lay_out(usual(*runs)).notes


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def test_markdown_parses_back():
    text = render([board()], "markdown")
    tables, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            tables.append([rows[0], *rows[2:]])
            rows = []
    bold = [[row[0], *(cell.removeprefix("**").removesuffix("**") for cell in row[1:])] for row in tables[0]]
    page = lay_out(board())
    assert [[unescaped(cell) for cell in row] for row in bold] == cells(page)[0]
    assert [[[unescaped(c) for c in row] for row in table] for table in tables[1:]] == cells(page)[1:]
    assert re.findall(r"\*\*([\d.]+ ± [\d.]+)\*\*", text) == ["2 ± 0", "2 ± 0"]
    assert "**30.2 ± 2.4 ≠**" in text
    assert f"    {page.command}\n" in text


class Tables(HTMLParser):
    """Reads tables and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.tables, self.bold = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.strip()
        if "b" in self.open:
            self.bold.append(data)


def test_html_is_a_whole_page_that_parses_back():
    text = render([board()], "html")
    reader = Tables()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert reader.tables == cells(lay_out(board()))
    assert reader.bold == ["2 ± 0", "30.2 ± 2.4 ≠", "2 ± 0"]
    assert text.startswith("<!doctype html>")


def balanced(latex: str) -> bool:
    depth = 0
    for brace in re.sub(r"\\[{}]", "", latex):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


def check_latex(text: str) -> None:
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert balanced(code)
    assert len(re.findall(r"(?<!\\)\$", code)) % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", code) == [
        e for _ in range(code.count(r"\begin{table}")) for e in ("table", "tabular")
    ]
    assert re.findall(r"\\end\{(\w+)\}", code) == [
        e for _ in range(code.count(r"\end{table}")) for e in ("tabular", "table")
    ]
    for columns, rows in re.findall(r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}(.*?)\\end\{tabular\}", code, re.DOTALL):
        for row in rows.split("\\\\\n")[:-1]:
            spans = re.search(r"^\\multicolumn\{(\d+)\}", row, re.MULTILINE)
            width = int(spans[1]) if spans else 1 + len(re.findall(r"(?<!\\)&", row))
            assert width == len(columns)
    assert code.isascii()


def test_latex():
    text = render([board()], "latex")
    check_latex(text)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1
    assert r"skip & 2 & \textbf{30.2}\textsuperscript{$\neq$} & inf & \textbf{2} \\" in text
    assert r" &  & {\tiny{}$\pm$2.4} &  & {\tiny{}$\pm$0} \\" in text
    assert "\n% ± half of the 95 % interval" in text
    assert "\n$\\pm$ half of the 95 \\% interval" in text
    assert r"$-$ELBO [nats] $\downarrow$" in text
    assert r'a[x="$<$b$>$ $|$\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}' in text
    assert "\n% Made by: collapsebench run " in text


def test_latex_is_one_line_a_row_where_that_fits_and_has_the_differences_if_they_are_asked_for():
    runs = [record(label, seed, columns={"kl": seed + len(label)}) for label in ("vae", "skip") for seed in (1, 2)]
    (chosen,) = select([score_records(runs)], ["kl"])
    assert r"skip & 2 & 5.5\textsuperscript{$\neq$}{\tiny{}~{}[0, 11.9]} \\" in render([chosen], "latex")
    both = render([replace(chosen, presentation=Presentation(print_differences=True))], "latex")
    check_latex(both)
    assert both.count(r"\toprule") == 2
    assert "Paired difference to vae" in both
    (costs,) = select([score_records(runs)], ["parameters"])
    assert render([costs], "latex").count(r"\toprule") == 1, "a board of costs alone is a table of costs"


def test_latex_has_no_row_of_three_lines_where_most_labels_stand_above_their_numbers():
    runs = [
        record(f"{label * 8}", seed, columns=dict.fromkeys(("neg_elbo", "kl", "iw_nll"), seed + 0.5))
        for label in ("a-long-", "another")
        for seed in (1, 2, 3)
    ]
    (chosen,) = select([score_records(runs)], ["neg_elbo", "kl"])
    text = render([chosen], "latex")
    check_latex(text)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert len(body.splitlines()) == 1 + 2 * len(chosen.rows)
    assert body.count(r"\multicolumn") == len(chosen.rows)
    assert body.count(r"{\tiny{}$\pm$2.5}") == 2 * len(chosen.rows)


@given(st.text(st.characters(max_codepoint=126, exclude_categories=["Cc"]), max_size=12))
def test_latex_of_any_title_is_balanced(name):
    shown = [value.model_copy(update={"title": name, "unit": name}) for value in values(kl=1.0)]
    check_latex(render([score_records([record("vae", values=tuple(shown))])], "latex"))


def test_csv_parses_back_exactly():
    made = board()
    lines = list(csv.DictReader(io.StringIO(render([made], "csv"))))
    assert len(lines) == len(made.rows) * len(made.columns)
    for line, (row, column) in zip(lines, ((row, c) for row in made.rows for c in made.columns), strict=True):
        assert (line["contender"], line["column"], line["direction"]) == (row.label, column.key, column.direction)
        assert line["protocol_id"] == made.protocol_id
        stored = row.samples[column.key].seeds if column.key in row.samples else {}
        assert {s: line[f"seed {s}"] for s in (1, 2)} == {s: repr(stored[s]) if s in stored else "" for s in (1, 2)}
        sample, difference = row.sample(column.key), made.difference(row, column.key)
        assert line["mean"] == ("" if sample is None else repr(sample.mean))
        assert line["half_width"] == ("" if sample is None else repr(sample.half_width))
        assert line["difference"] == ("" if difference is None else repr(difference.mean))
        assert (line["best"] == "1") == (row.label in made.best(column))
    assert {line["problems"] for line in lines if line["contender"] == NASTY} == {"seed 2 diverged"}
    assert list(lines[0])[-1] == "runs"
    for row in made.rows:
        ids = {line["runs"] for line in lines if line["contender"] == row.label}
        assert ids == {f"seed 1 {row.runs[1]}; seed 2 {row.runs[2]}"}


def test_json_parses_back_exactly():
    made = board()
    (content,) = json.loads(render([made], "json"), parse_constant=pytest.fail)["boards"]
    assert content["protocol_id"] == made.protocol_id
    assert [Direction(column["direction"]) for column in content["columns"]] == [c.direction for c in made.columns]
    for written, row in zip(content["rows"], made.rows, strict=True):
        assert written["contender"] == row.label
        assert set(written["runs"]) == {"1", "2"}
        for key, numbers in written["scores"].items():
            sample = row.samples.get(key)
            seeds = {int(seed): float(number["value"]) for seed, number in numbers["seeds"].items()}
            assert repr(seeds) == repr({} if sample is None else dict(sample.seeds))
            assert (numbers["aggregate"] is None) == (row.sample(key) is None)
    vae, nasty, skip = content["rows"]
    assert vae["scores"]["neg_elbo"]["seeds"]["1"] == {"value": 31.5, "standard_error": 0.01}
    assert vae["scores"]["kl"]["aggregate"] == {"n": 2, "mean": "nan", "half_width": "nan"}
    assert skip["scores"]["kl"]["aggregate"]["mean"] == "+inf"
    assert skip["scores"]["neg_elbo"]["best"] is True
    assert skip["scores"]["neg_elbo"]["difference"]["mean"] == -1.4375
    assert nasty["problems"][0]["outcome"] == "diverged"
    assert content["runs"] == {"finished": 5, "diverged": 1}
    assert content["command"] in render([made], "table")


def test_title_names_the_overrides():
    made = score_records([record(protocol={"overrides": {"decoder.layers": 3}}), record("vae")])
    assert "quick ·" in title(made), "the shorter of two spellings of one protocol"
    only = score_records([record(protocol={"overrides": {"decoder.layers": 3}})])
    assert "digits · quick[decoder.layers=3] · 350steps" in title(only)


def test_numbers_that_cannot_be_are_marked_and_listed():
    wrong = {"neg_elbo": Estimate(31.0, 0.01), "iw_nll": Estimate(32.0, 0.02)}
    good = {"neg_elbo": 31.0, "iw_nll": 30.5}
    made = score_records([record("vae", columns=good), record("skip", columns=wrong)])
    results = lay_out(made).tables[0]
    column = results.headers.index("IW-NLL [nats] ↓")
    assert [row[column].text for row in results.rows] == ["30.50", "32.000 !"]
    notes = lay_out(made).notes
    place = notes.index("! marks numbers that cannot be, whatever the model, and are never the best; these 1:")
    run_id = made.rows[1].runs[1]
    assert notes[place + 1] == f"skip, seed 1, run {run_id}: iw_nll 32 is above neg_elbo 31"
    vae, skip = json.loads(render([made], "json"))["boards"][0]["rows"]
    assert vae["impossible"] == {}
    assert skip["impossible"] == {"1": ["iw_nll 32 is above neg_elbo 31"]}


def test_a_lower_bound_that_can_get_no_higher_is_marked():
    def informed(label, seed, lower, *, saturated):
        bound = Value.of("mutual-information", "mi_lower", Estimate(lower, 0.01), title="MI ≥", unit="nats", board=True)
        entry = Value.of("mutual-information", "mi_saturated", Estimate(float(saturated)))
        return record(label, seed).model_copy(update={"values": (*values(kl=99.0), bound, entry)})

    runs = [informed("vae", seed, 2.0, saturated=False) for seed in (1, 2)]
    runs += [informed("skip", seed, 9.2 * seed / 2, saturated=seed == 2) for seed in (1, 2)]
    made = score_records(runs)
    results = lay_out(made).tables[0]
    marked = [[cell.text.endswith("†") for cell in row] for row in results.rows]
    assert marked == [[False] * 4, [False, False, False, True]]
    assert "† marks lower bounds on the mutual information within 0.1 nats of log N" in render([made], "table")
    assert [row["saturated"] for row in json.loads(render([made], "json"))["boards"][0]["rows"]] == [[], [2]]
    assert "†" not in render([score_records(runs[:2])], "table")
