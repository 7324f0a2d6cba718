"""Hostile names and texts stay texts in every format: parsed back, each has its cells and nothing that acts."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from records import record, score_records, values

from collapsebench.printable import printable
from collapsebench.record import DeclinedColumn, Outcome
from collapsebench.reporting import escaping
from collapsebench.reporting.leaderboard import FORMATS, render
from collapsebench.reporting.leaderboard.layout import lay_out

ATTACKS = (
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "zero\u200bwidth",
    '=cmd|"/c calc"!A1',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "a;=1",
    "\n\\input{/etc/passwd}",
    "\\write18{ls}%",
    "$\\frac{",
    "^^M\\input{x}",
    "[x](javascript:alert(1))",
    "![x](http://a.b/c.png)",
    "[x]: http://a.b",
    "[^1]: note",
    "<script>alert(1)</script>",
    "<!-- -->",
    "<http://a.b>",
    "&lt;b&gt;&#60;",
    "http://a.b www.a.b a@b.c",
    "a | b\n|---|---|",
    "# head",
    "1. one",
    "> quote",
    "- item",
    "```\ncode",
    "~~~",
    "---",
    "**b** _i_ `c` ~~s~~",
    "</td></tr></table><img src=x onerror=alert(1)>",
    '" onmouseover="x',
    "\\",
    "{}_{$&%#^~}",
    "\ud800",
    "β−±≥α²é中",
    "",
    " ",
    "[ ] task",
)
texts = st.sampled_from(ATTACKS) | st.text(max_size=12) | st.lists(st.sampled_from(ATTACKS), max_size=3).map("".join)


def hostile(label, title, unit, message, environment, reason):
    """A board whose names and texts were all written by somebody else."""
    shown = [value.model_copy(update={"title": title, "unit": unit}) for value in values(kl=1.0, neg_elbo=2.0)]
    machine = {"collapsebench": title, "platform": environment, message: unit}
    named = record("skip", 1, values=tuple(shown), environment=machine).model_copy(update={"contender": label})
    runs = [record("vae", 1), record("vae", 2), named, record("skip", 2).model_copy(update={"contender": label})]
    runs.append(record("a", 1, outcome=Outcome.FAILED, message=message))
    declined = (DeclinedColumn(metric="kl", column="kl", reason=reason),)
    runs += [record("b", seed, columns={"neg_elbo": 2.0}, declined=declined) for seed in (1, 2)]
    made = score_records(runs)
    track = made.protocol.model_copy(update={"track": title})
    return replace(made, protocol=track)


reasons = texts.map(lambda text: printable(text)[:100]).filter(str.strip)
boards = st.builds(hostile, texts, texts, texts, texts, texts, reasons)


def cells(board, escape):
    """The tables of a board, with the texts that a reader sees."""
    return [
        [[*map(escape, table.headers)], *([escape(cell.text) for cell in row] for row in table.rows)]
        for table in lay_out(board).tables
    ]


def seen(text):
    """A text as it is seen, without the spaces at its ends, and with one for each kind of space between words."""
    return " ".join(printable(text).split())


@pytest.mark.parametrize("format_", FORMATS)
@given(board=boards)
def test_nothing_reaches_a_terminal_but_what_is_seen(format_, board):
    text = render([board], format_)
    assert all(printable(line) == line for line in text.split("\n"))
    text.encode()


@given(board=boards)
def test_the_lines_of_a_table_are_those_of_its_rows(board):
    page = lay_out(board)
    rows = sum(len(table.rows) + 5 for table in page.tables)
    assert render([board], "table").count("\n") == 1 + rows + len(page.notes) + 1


@given(board=boards)
def test_csv_has_the_same_cells_and_no_formula(board):
    rows = list(csv.reader(io.StringIO(render([board], "csv"), newline="")))
    head = rows[0].index("contender"), rows[0].index("unit")
    expected = [(row.label, column.unit) for row in board.rows for column in board.columns]
    assert [tuple(row[place] for place in head) for row in rows[1:]] == [
        tuple(map(escaping.csv, texts)) for texts in expected
    ]
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        assert cell.strip()[:1] not in set("=+-@") or float(cell) is not None
        assert not re.search(r"[\t;]\s*[=+\-@]", cell)


@given(board=boards)
def test_json_has_the_same_texts(board):
    (found,) = json.loads(render([board], "json"))["boards"]
    assert [row["contender"] for row in found["rows"]] == [row.label for row in board.rows]
    assert found["columns"] == [json.loads(json.dumps(column._asdict())) for column in board.columns]
    assert found["track"] == board.protocol.track_label
    assert [each["environment"] for each in found["environments"]] == [dict(where) for where, _ in board.environments]


class Page(HTMLParser):
    """Reads tables, notes and every tag with its attributes."""

    def __init__(self):
        super().__init__()
        self.tables, self.tags, self.open, self.notes = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *(name for name, _ in attrs)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        elif tag == "li":
            self.notes.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        elif "li" in self.open:
            self.notes[-1] += data

    def handle_comment(self, data):
        pytest.fail(data)


PLAIN = re.findall(r"\w+", "head title style body h1 h2 table caption thead tbody tr th td b ul li p pre")
HTML_TAGS = {("html", "lang"), ("meta", "charset"), ("td", "style"), ("th", "style"), *((tag,) for tag in PLAIN)}


@given(board=boards)
def test_html_has_the_same_cells_and_no_other_tag(board):
    page = Page()
    page.feed(render([board], "html"))
    page.close()
    assert page.tags <= HTML_TAGS
    assert [[[seen(cell) for cell in row] for row in table] for table in page.tables] == cells(board, seen)
    assert [seen(note) for note in page.notes] == [seen(note) for note in lay_out(board).notes]


TOKENS = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item", "strong"}
"""What Markdown is allowed to become, beside texts and the block with the command."""


@given(board=boards)
def test_markdown_has_the_same_cells_and_nothing_that_acts(board):
    parser = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"])
    tables, notes, kinds, listed = [], [], set(), False
    for token in parser.parse(render([board], "markdown")):
        kinds.add(token.type.removesuffix("_open").removesuffix("_close"))
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in {"bullet_list_open", "bullet_list_close"}:
            listed = token.type == "bullet_list_open"
        if token.type == "inline":
            kinds |= {child.type.removesuffix("_open").removesuffix("_close") for child in token.children}
            text = "".join(child.content for child in token.children)
            if token.level > 3 and not listed:
                tables[-1][-1].append(text)
            elif listed:
                notes.append(text)
    assert kinds <= TOKENS | {"inline", "text", "code_block"}
    assert [[[seen(cell) for cell in row] for row in table] for table in tables] == cells(board, seen)
    assert [seen(note) for note in notes] == [seen(note) for note in lay_out(board).notes]


@pytest.mark.parametrize("text", ["http://a.b/c", "www.a.b", "mailto:a", "https://a.b", "_www.a.b_"])
def test_addresses_do_not_become_links_by_themselves(text):
    """GitHub and others look for these texts; between their parts stands a backslash."""
    assert re.search(r"[a-z]:(?=//)|www\.|mailto:", escaping.markdown(text)) is None


COMMANDS = {
    *re.findall(r"\w+", "toprule midrule bottomrule begin end centering caption textbf textbackslash textasciitilde"),
    *re.findall(r"\w+", "textasciicircum textasciigrave ldots circ bullet ss ae AE o O oe OE l L i S u r H v d c b"),
    *re.findall(
        r"\w+", "copyright scriptsize tiny setlength tabcolsep textsuperscript par smallskip parbox columnwidth"
    ),
    *re.findall(r"\w+", "multicolumn allowbreak"),
    *escaping.LETTERS.values(),
    *escaping.SYMBOLS.values(),
}


@given(board=boards)
def test_latex_has_no_command_of_others_and_comments_stay_comments(board):
    text = render([board], "latex")
    code = [line for line in text.split("\n") if not line.startswith("%")]
    assert set(re.findall(r"\\([A-Za-z]+)", "\n".join(code))) <= COMMANDS
    assert "\n".join(code).isascii()
    assert not any(re.search(r"(?<!\\)(\\\\)*%", line) for line in code)
    page = lay_out(board)
    assert sum(line.startswith("%") for line in text.split("\n")) == 1 + 1 + len(page.notes) + 1
    tables = [table for table in page.tables if table.part in page.printed]
    for table, tabular in zip(tables, re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL), strict=True):
        rows = [row for row in tabular.split("\\\\\n")[:-1] if not row.startswith(r"\multicolumn")]
        assert len(table.rows) <= len(rows) <= 2 * len(table.rows)
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(table.headers) - 1 for row in rows)
        assert not any(row.startswith(("[", "*")) for row in rows)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("β − 1 ≥ α² ± é", r"$\beta$ $-$ 1 $\geq$ $\alpha$$^2$ $\pm$ \'{e}"),
        ("Ωmega Ώ ő ñ ç Å ß", r"$\Omega$mega \'{$\Omega$} \H{o} \~{n} \c{c} \r{A} \ss{}"),
        ("a\u2009中", r"a [U+4E2D]"),
        ("[x] *", r"{}[x] *"),
        ("a\n\\input{x}", r"a\textbackslash{}n\textbackslash{}input\{x\}"),
        ("\u202e", r"\textbackslash{}u202e"),
    ],
)
def test_symbols_are_translated_for_latex(text, written):
    assert escaping.latex(text) == written


@given(st.floats() | st.integers())
def test_numbers_stay_numbers_in_csv(number):
    assert escaping.csv(repr(number)) == repr(number)


@given(st.recursive(texts | st.integers() | st.none(), lambda inner: st.dictionaries(texts, inner, max_size=3)))
def test_json_parses_back_to_what_it_was(value):
    text = escaping.to_json(value)
    assert json.loads(text) == value
    assert all(printable(line) == line for line in text.split("\n"))
