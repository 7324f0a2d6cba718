"""The page of a league: what stands in it comes from the statistics, and nothing that is missing is passed over."""

from __future__ import annotations

import pytest

from collapsebench.reporting.leaderboard import page_pieces
from collapsebench.reporting.leaderboard.pages import TableCell, TextTable
from collapsebench.reporting.league import Bootstrap, Known, league, league_page

NAN = float("nan")
FEW = Bootstrap(resamples=100)
NLLS = {
    "text": {
        "vae": {1: 100.0, 2: 101.0, 3: 102.0},
        "skip": {1: 98.0, 2: 99.0, 3: 97.0},
        "lost": {1: 99.0, 2: NAN},
        "no-latent": {1: 101.0, 2: 101.0, 3: 101.0},
    },
    "digits": {
        "vae": {1: 22.0, 2: 23.0},
        "skip": {1: 21.0, 2: 22.5},
        "no-latent": {1: 20.0, 2: 21.0},
    },
}
INFORMATIONS = {
    task: {name: dict.fromkeys(runs, 2.0) for name, runs in own.items() if name != "no-latent"}
    for task, own in NLLS.items()
}
LEAGUE = league(NLLS, INFORMATIONS, baseline="vae", reference="no-latent", bootstrap=FEW)
PAGE = league_page(LEAGUE, "League small", "collapsebench league small")


def column(table, header):
    at = table.headers.index(header)
    return {row[0].text: row[at].text for row in table.rows}


def test_standings_have_a_row_for_each_contender_with_the_best_mean_rank_first():
    standings = PAGE.tables[0]
    assert [row[0].text for row in standings.rows] == list(LEAGUE.ranks.means) == ["skip", "no-latent", "vae", "lost"]
    assert all(len(row) == len(table.headers) for table in PAGE.tables for row in table.rows)
    assert column(standings, "better than vae")["vae"] == "—"
    assert column(standings, "better than vae")["skip"].startswith("0.75 [")
    assert column(standings, "mean rank")["lost"] == "4.0 [3.0, 4.0]"


def test_columns_say_what_the_statistics_say():
    standings = PAGE.tables[0]
    assert column(PAGE.tables[1], "≤ 1") == {"skip": "1.00", "no-latent": "1.00", "vae": "0.67", "lost": "0.33"}
    assert column(standings, "share of area") == {"skip": "1.00", "no-latent": "0.00", "vae": "0.00", "lost": "0.00"}
    assert column(standings, "no result") == {"skip": "", "no-latent": "", "vae": "", "lost": "4"}


def test_tasks_name_their_best_their_unit_and_their_front():
    text, digits = ([cell.text for cell in row] for row in PAGE.tables[2].rows)
    assert text == ["text", "3", "skip", "98", "101", "3", "6"]
    assert digits == ["digits", "2", "no-latent", "20.50", "20.50", "—", "0"]
    assert [note for note in PAGE.notes if note.startswith("Front")] == [
        "Front of text: skip.",
        "Front of digits: no-latent; skip.",
    ]


def test_what_is_known_beside_the_statistics_stands_around_them():
    table = TextTable("More", ("contender", "x"), ((TableCell("vae"), TableCell("1")),))
    known = Known(True, ("first",), {"skip"}, {"digits": ["lost"]}, (table,), ("last",))
    page = league_page(LEAGUE, "t", "", known)
    assert (page.tables[-1], page.notes[0], page.notes[-1]) == (table, "first", "last")
    assert [row[0].text for row in page.tables[0].rows] == ["skip ‡", "no-latent", "vae", "lost"]
    assert [row[0].text for row in page.tables[1].rows] == ["skip ‡", "no-latent", "vae", "lost"]
    assert not any(note.startswith("digits, 2 missing") for note in page.notes)
    assert "text, 1 missing, 1 diverged or impossible each: lost" in page.notes
    assert not any(note.startswith(("Better than", "Area", "In brackets")) for note in page.notes)


def test_tasks_that_agree_in_everything_have_the_p_value_of_a_statistic_that_is_finite():
    numbers = {task: {"vae": {1: 3.0}, "a": {1: 2.0}, "b": {1: 1.0}} for task in ("t", "u")}
    found = league(numbers, numbers, baseline="vae", reference="vae", bootstrap=FEW)
    notes = league_page(found, "t", "").notes
    assert "Test of all contenders being alike: p = 0.14 by Friedman, roughly, as there are 2 tasks." in notes


def test_notes_name_each_run_without_a_result_and_each_task_that_is_left_out():
    notes = "\n".join(PAGE.notes)
    assert "text, 1 missing, 1 diverged or impossible each: lost\ndigits, 2 missing each: lost\n" in notes
    assert "better than no-latent there, or this one has no result: digits." in notes
    assert "bootstrap over seeds, 100 resamples from seed 0" in notes
    assert "tell no contenders apart by mean ranks: these differ by 3 at most, and would have to by 3.3 (Nemen" in notes


def test_many_tasks_that_agree_tell_contenders_apart():
    numbers = {f"t{number}": {"vae": {1: 3.0}, "a": {1: 2.0}, "b": {1: 1.0}} for number in range(6)}
    found = league(numbers, numbers, baseline="vae", reference="vae", bootstrap=FEW)
    notes = "\n".join(league_page(found, "t", "").notes)
    assert "mean ranks differ by at least 1.4 (Nemenyi, 5%); not told apart: b to a; a to vae." in notes


@pytest.mark.parametrize("format_", ["table", "markdown", "latex", "html"])
def test_a_page_is_written_in_each_format_of_boards(format_):
    text = "".join(page_pieces([PAGE], format_))
    assert all(name in text for name in ("League small", "skip", "lost", "digits"))


def test_where_z_never_helps_there_is_neither_regret_nor_area():
    numbers = {"t": {"vae": {1: 2.0}, "no-latent": {1: 1.0}}}
    found = league(numbers, numbers, baseline="vae", reference="no-latent", bootstrap=FEW)
    page = league_page(found, "t", "")
    assert [table.caption for table in page.tables] == ["Standings", "Tasks"]
    assert [[cell.text for cell in row] for row in page.tables[0].rows] == [
        ["no-latent", "1.00", "1.0", "—", ""],
        ["vae", "—", "2.0", "—", ""],
    ]
    assert "Every run has a result." in page.notes
    assert not any("Regret:" in note for note in page.notes)
    assert found.share_of_area("vae") is None


def test_a_share_of_area_is_the_mean_over_the_tasks_that_have_an_area():
    nlls = {
        "t": {"z": {1: 4.0}, "a": {1: 3.0}, "b": {1: 2.0}},
        "u": {"z": {1: 4.0}, "a": {1: 2.0}, "b": {1: 5.0}},
        "idle": {"z": {1: 1.0}, "a": {1: 2.0}, "b": {1: 2.0}},
    }
    found = league(
        nlls,
        {task: {name: {1: 1.0} for name in own} for task, own in nlls.items()},
        baseline="a",
        reference="z",
        bootstrap=FEW,
    )
    assert [found.share_of_area(name) for name in ("a", "b", "z")] == [(1 / 2 + 1) / 2, (1 + 0) / 2, 0]
    notes = league_page(found, "t", "").notes
    assert "Left out of shares of area, as nobody with MI is better than z there: idle." in notes


def test_a_task_without_any_result_and_a_league_of_one_contender_have_a_page():
    numbers = {"t": {"vae": {1: NAN, 2: None}}}
    found = league(numbers, numbers, baseline="vae", reference="vae", bootstrap=FEW)
    page = league_page(found, "t", "")
    assert [cell.text for cell in page.tables[0].rows[0]] == ["vae", "—", "1.0 [1.0, 1.0]", "—", "2"]
    assert [cell.text for cell in page.tables[1].rows[0]] == ["t", "2", "—", "—", "—", "—", "0"]
    assert not any("Nemenyi" in note for note in page.notes)
