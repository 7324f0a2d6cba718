"""`collapsebench leaderboard`, through the command line's own entry."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from records import record, spec

from collapsebench.cli import leaderboard as options
from collapsebench.cli import main
from collapsebench.reporting.leaderboard import DIALECTS, FORMATS
from collapsebench.store import Store


@pytest.fixture
def cli(tmp_path, capsys):
    """Call the command on a store; gives exit code, output and error output."""
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        for label in ("vae", "skip", "a"):
            for seed in (1, 2):
                store.finish(record(label, seed, columns={"neg_elbo": 30.0 + len(label) + seed, "kl": 1.0}))
        store.finish(record("vae", protocol={"dataset": "ptb"}))
        store.finish(record("skip", protocol={"overrides": {"decoder.layers": 3}, "budget": "1epochs"}))

    def call(*arguments, store=path):
        with pytest.raises(SystemExit) as left:
            main(["leaderboard", *map(str, arguments), "--store", str(store)])
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


def boards(out: str) -> list[dict]:
    return json.loads(out)["boards"]


def test_one_board_a_protocol(cli):
    code, out, err = cli("--format", "json")
    assert (code, err) == (0, "")
    assert [(board["dataset"], board["track"], len(board["rows"])) for board in boards(out)] == [
        ("digits", "quick", 3),
        ("digits", "quick[decoder.layers=3]", 1),
        ("ptb", "quick", 1),
    ]
    assert len({board["protocol_id"] for board in boards(out)}) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--dataset", "ptb"), 1),
        (("--dataset", "digits", "--track", "quick"), 2),
        (("--track", "quick[decoder.layers=3]"), 1),
        (("--protocol", spec().protocol.protocol_id), 1),
        (("--protocol", spec().protocol.protocol_id[:6]), 1),
    ],
)
def test_choosing_boards(cli, arguments, expected):
    assert len(boards(cli(*arguments, "--format", "json")[1])) == expected


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_to_a_file_and_to_standard_output(cli, tmp_path, format_):
    out = cli("--format", format_)[1]
    assert "skip" in out
    assert cli("--format", format_, "--output", tmp_path / "new" / "board")[1] == ""
    assert (tmp_path / "new" / "board").read_text(encoding="utf-8") == out


def test_people_see_the_usual_columns_and_exports_have_all(cli):
    usual, every = (cli("--dataset", "digits", *more)[1] for more in ((), ("--columns", "all")))
    assert [word for word in ("Costs:", "Machine (", "parameters") if word in usual] == []
    assert [word for word in ("Costs:", "Machine (", "parameters") if word in every] != []
    plain = cli("--format", "csv")[1]
    assert plain == cli("--format", "csv", "--columns", "all")[1]
    assert ",parameters," in plain


def test_chosen_contenders_are_shown_with_the_one_that_they_are_compared_with(cli):
    def rows(*arguments):
        return [
            row["contender"] for row in boards(cli("--dataset", "digits", *arguments, "--format", "json")[1])[0]["rows"]
        ]

    assert rows("--contender", "a") == ["vae", "a"]
    assert rows("--contender", " a ", "--contender", "skip", "--against", "skip") == ["skip", "a"]
    assert "unknown contender 'b'" in cli("--contender", "b")[2]


def test_a_table_of_differences_is_for_print(cli):
    latex = ("--dataset", "digits", "--track", "quick", "--format", "latex")
    assert [cli(*latex, *more)[1].count(r"\caption") for more in ((), ("--differences",))] == [2, 3]
    assert cli("--differences") == (
        2,
        "",
        "error: --differences goes with --format latex alone: table has the differences\n",
    )


LABELLED = ("--label", "skip=Skip-VAE (ours)", "--label", "vae = VAE")


def test_labels_are_for_people_and_exports_keep_the_contenders(cli):
    plain, out = cli("--dataset", "digits")[1], cli("--dataset", "digits", *LABELLED)[1]
    assert sum(line.startswith("  Skip-VAE (ours) ") for line in out.splitlines()) == sum(
        line.startswith("  skip ") for line in plain.splitlines()
    )
    assert "Paired difference to VAE" in out
    made = [line for line in plain.splitlines() if line.startswith("Made by")]
    assert [line for line in out.splitlines() if line.startswith("Made by")] == made
    for format_ in ("csv", "json"):
        assert cli("--format", format_, *LABELLED)[1] == cli("--format", format_)[1]


def test_labels_of_contenders_that_are_not_shown_are_no_error(cli):
    out = cli("--dataset", "digits", "--contender", "a", *LABELLED)[1]
    assert "VAE" in out
    assert "Skip-VAE" not in out


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (["skip"], "cannot read 'skip': expected '=', got the end"),
        (["skip="], "expected a label, got the end"),
        (["skip=A", "skip = B"], "--label skip = B: 'skip' has a label already, 'A'"),
        (["skpi=A"], "unknown contender 'skpi'. Did you mean 'skip'?"),
        (["skip=vae"], "two contenders cannot both be called 'vae'"),
    ],
)
def test_labels_that_cannot_be(cli, labels, error):
    code, out, err = cli(*(word for label in labels for word in ("--label", label)))
    assert (code, out) == (2, "")
    assert error in err


def test_sort_and_columns(cli):
    out = cli("--dataset", "digits", "--sort", "neg_elbo", "--columns", "kl, neg_elbo", "--format", "json")[1]
    assert [row["contender"] for row in boards(out)[0]["rows"]] == ["vae", "a", "skip"]
    assert [column["key"] for column in boards(out)[0]["columns"]] == ["kl", "neg_elbo"]


def test_against_another_contender(cli):
    out = cli("--dataset", "digits", "--against", " skip ", "--format", "json")[1]
    board = boards(out)[0]
    assert (board["against"], board["rows"][0]["contender"]) == ("skip", "skip")
    scores = {row["contender"]: row["scores"]["neg_elbo"] for row in board["rows"]}
    assert scores["skip"]["difference"] is None
    assert scores["vae"]["difference"]["mean"] == pytest.approx(
        scores["vae"]["aggregate"]["mean"] - scores["skip"]["aggregate"]["mean"]
    )
    code, out, err = cli("--against", "skop")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "unknown contender 'skop'. Did you mean 'skip'?" in err
    assert "--suite does not go with --against" in cli("--suite", "dieng-2019/table-3", "--against", "skip")[2]


@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_an_unknown_column(cli, option):
    code, out, err = cli(option, "neg_elb")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "unknown column 'neg_elb'. Did you mean 'neg_elbo'? Known: encoder_evaluations, examples, kl" in err


def test_no_runs(cli, tmp_path):
    code, out, err = cli("--dataset", "mnist")
    assert (code, out) == (1, "")
    assert err == (
        "error: no runs of dataset 'mnist' in the store (it has: digits quick, digits quick[decoder.layers=3], "
        "ptb quick); make some: collapsebench run --method skip --dataset mnist\n"
    )
    assert cli("--dataset", "mnist", "--track", "mine.toml")[2].endswith("--dataset mnist --track mine.toml\n")
    assert cli("--dataset", "mnist", "--track", "quick[a=1]")[2].endswith("--dataset mnist\n")
    code, _, err = cli(store=tmp_path / "none.sqlite")
    assert code == 1
    assert "there is no store" in err
    with Store.open(tmp_path / "none.sqlite") as empty:
        assert empty.count() == 0
    assert "no runs of anything in the store (it has: none)" in cli(store=tmp_path / "none.sqlite")[2]


def test_the_options_name_what_there_is():
    assert options.FORMATS == FORMATS
    assert tuple(DIALECTS) == options.DIALECTS


def test_wrong_format(cli):
    code, _, err = cli("--format", "pdf")
    assert code == 2
    assert "'markdown'" in err


def test_no_torch_is_loaded(tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([record("vae", 1), record("vae", 2)])
    script = (
        "import sys\nfrom collapsebench.cli import main\n"
        "try: main(['leaderboard', '--store', sys.argv[1]])\n"
        "finally: assert 'torch' not in sys.modules and 'scipy.stats' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "runs.sqlite"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "30 ± 0" in done.stdout.decode()
