"""The shipped datasets that have addresses, fetched from a server of this machine in the formats of their publishers.

The facts are those of the registry, but for the addresses and the checksums, which are those of miniatures.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from originals import by_columns, mat, npz
from PIL import Image
from rich.console import Console
from serving import serving

import collapsebench
from collapsebench.components import discovery
from collapsebench.data.drawings import omniglot
from collapsebench.data.fetching import fetch
from collapsebench.data.files import CHECKSUMS
from collapsebench.data.located import locate
from collapsebench.errors import DataError
from collapsebench.facts import dataset_facts, dataset_names, registry_folder

RNG = np.random.default_rng(0)
REAL = Path(__file__).parents[2] / "shared" / "data" / "omniglot"


@pytest.fixture
def site():
    with serving() as site:
        yield site


def miniature(name, site, contents, folder):
    """Write the facts of a shipped dataset, with the addresses of this site and the checksums of these contents."""
    text = (registry_folder() / "datasets" / f"{name}.toml").read_text()
    head, tracks = text.split("\n[tracks", 1) if "\n[tracks" in text else (text, None)
    head = re.sub(r"^(size|sha256|md5|git_blob|arrays) = .*\n", "", head, flags=re.MULTILINE)
    head = re.sub(r"(https?://)[^\"]*/([^/\"]+)\"", lambda found: site.url(f"/{found[2]}") + '"', head)

    def known(found):
        content = contents.get(found[1])
        kind = "arrays" if found[1].endswith(".npz") else "git_blob"
        return found[0] if content is None else f'{found[0]}{kind} = "{CHECKSUMS[kind](content)}"\n'

    head = re.sub(r"^name = \"(.*)\"\n", known, head, flags=re.MULTILINE)
    path = folder / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head if tracks is None else f"{head}\n[tracks{tracks}")
    return path


def located(name, path, folder):
    """A shipped dataset with other facts."""
    return locate(name, discovery.load(), folder)._replace(facts=dataset_facts(path))


def quiet():
    return Console(file=io.StringIO())


def document():
    """A document as Yahoo's files have it: lower case, words split by blanks, rare ones as _UNK."""
    words = ["what", "is", "the", "best", "way", "to", "learn", "?", "_UNK", ".", "i", "do", "n't", "know", ","]
    return " ".join(RNG.choice(words, RNG.choice([5, 12, 60])))


@pytest.fixture
def yahoo():
    sizes = {"train": 200, "valid": 30, "test": 30}
    return {f"yahoo.{split}.txt": "".join(f"{document()}\n" for _ in range(n)).encode() for split, n in sizes.items()}


PUBLISHED = {"yahoo.train.txt": "/train.txt", "yahoo.valid.txt": "/val.txt", "yahoo.test.txt": "/test.txt"}
"""The names of Yahoo's files, and theirs where they are published."""


def tar_of_yahoo(contents):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"yahoo-answer-100k/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def test_every_shipped_dataset_that_needs_files_is_fetchable():
    needy = {name: dataset_facts(name) for name in dataset_names() if not dataset_facts(name).embedded}
    assert {"yahoo", "omniglot", "omniglot-burda", "mnist-larochelle", "ptb", "mnist"} <= needy.keys()
    for facts in needy.values():
        assert all(facts.fetchable(file) for file in facts.files if not file.optional), facts.name


def test_every_address_has_a_checksum():
    for name in dataset_names():
        facts = dataset_facts(name)
        for file in (*facts.files, *facts.archives):
            assert not file.addresses or file.sha256 or file.git_blob or file.md5, file.name


def test_the_page_on_data_names_every_address():
    """Those that could not be tried are told to the reader."""
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in dataset_names():
        facts = dataset_facts(name)
        addresses = [url for file in (*facts.files, *facts.archives) for url in file.addresses]
        assert all(str(urlsplit(url).hostname) in page for url in addresses), name
        assert not addresses or f"`{name}`" in page


@pytest.mark.parametrize("missing", [(), ("/train.txt",), tuple(PUBLISHED.values())])
def test_yahoo_is_fetched_from_its_addresses_and_else_from_one_archive(tmp_path, site, yahoo, missing):
    site.answers |= {PUBLISHED[name]: content for name, content in yahoo.items() if PUBLISHED[name] not in missing}
    site.answers["/yahoo-answer-100k.tar.gz"] = tar_of_yahoo(yahoo)
    known = located("yahoo", miniature("yahoo", site, yahoo, tmp_path / "facts"), tmp_path / "data")
    fetch(known, quiet())
    assert {path.name: path.read_bytes() for path in (tmp_path / "data" / "yahoo").iterdir()} == yahoo
    asked = [path for path, _ in site.asked]
    assert asked.count("/yahoo-answer-100k.tar.gz") == bool(missing)
    assert len(known.dataset.parse(yahoo).train) == 200


def test_a_file_of_an_archive_that_is_not_right_is_refused(tmp_path, site, yahoo):
    site.answers["/yahoo-answer-100k.tar.gz"] = tar_of_yahoo(yahoo | {"yahoo.train.txt": b"something else\n"})
    known = located("yahoo", miniature("yahoo", site, yahoo, tmp_path / "facts"), tmp_path / "data")
    with pytest.raises(DataError, match=r"yahoo\.train\.txt' is not the original") as caught:
        fetch(known, quiet())
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data" / "yahoo").iterdir()) == []


@pytest.mark.slow
@pytest.mark.torch
def test_the_first_example_of_the_project_works(tmp_path, site, yahoo):
    """The very command of the README, in a process of its own, on a miniature of Yahoo; only the budget is smaller.

    The package is copied with another registry, which is how it finds the addresses of this machine.
    """
    package = tmp_path / "package" / "collapsebench"
    shutil.copytree(Path(collapsebench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(registry_folder(), package / "_registry", dirs_exist_ok=True)
    miniature("yahoo", site, yahoo, package / "_registry" / "datasets")
    home = tmp_path / "home"
    home.mkdir()
    paths = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COLLAPSEBENCH", "XDG"))}
    environment |= {"PYTHONPATH": paths, "HOME": str(home), "NO_PROXY": "127.0.0.1"}

    def command(*arguments):
        program = "from collapsebench.cli import main; main()"
        whole = [sys.executable, "-c", program, *arguments]
        return subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    wanted = ["run", "--method", "skip", "--method", "sa-vae", "--dataset", "yahoo", "--budget", "3steps"]
    refused = command(*wanted)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "get it with 'collapsebench data fetch yahoo', or run with --fetch" in refused.stderr
    assert "fetchable" in command("data", "list").stdout.split("yahoo ")[1].splitlines()[0]

    site.answers |= {PUBLISHED[name]: content for name, content in yahoo.items()}
    done = command(*wanted, "--fetch")
    assert done.returncode == 0, done.stderr
    assert "yahoo: licence: Yahoo! Webscope" in done.stderr
    assert done.stdout.count("finished") == 3
    assert all(name in done.stdout for name in ("  vae seed 1", "  skip seed 1", "  sa-vae seed 1"))
    fetched = {
        path.name: path.read_bytes() for path in (home / ".cache" / "collapsebench" / "data" / "yahoo").iterdir()
    }
    assert fetched == yahoo
    assert "skip" in command("leaderboard", "--dataset", "yahoo").stdout

    again = command("data", "fetch", "yahoo")
    assert (again.returncode, again.stdout, again.stderr) == (0, "yahoo: all files are here\n", "")
    assert command("data", "verify", "yahoo").stdout.count("right: ") == 3


@pytest.mark.slow
@pytest.mark.torch
def test_python_fetches_before_it_runs(tmp_path, site, monkeypatch):
    """As `run --fetch` does: a dataset of a script whose files are elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents = {f"mine.{split}.txt": b"we came back\nthe food was good\n" * 4 for split in ("train", "valid", "test")}
    site.answers |= {f"/{name}": content for name, content in contents.items()}
    names = "".join(f'[[files]]\nname = "{name}"\nurl = "{site.url("/" + name)}"\n' for name in contents)
    (tmp_path / "mine.toml").write_text(MINE + names)

    class Mine(collapsebench.Text):
        """A text."""

        name = "mine"
        stem = "mine"
        facts = tmp_path / "mine.toml"

    def run(*, fetch):
        places = {"store": tmp_path / "runs.sqlite", "data_dir": tmp_path / "data"}
        return collapsebench.run(dataset=Mine(), budget="1steps", fetch=fetch, progress=False, **places)

    with pytest.raises(DataError, match=r"get it with 'collapsebench data fetch mine .*', or run with --fetch"):
        run(fetch=False)
    assert [each.outcome for each in run(fetch=True)] == ["finished"]
    assert len(site.asked) == 3
    run(fetch=True)
    assert len(site.asked) == 3


MINE = """
tracks_of = "ptb"
[card]
title = "Mine"
kind = "text"
description = "mine"
licence = "mine"
comparability = "none"
[tracks.quick]
description = "tiny"
budget = "1steps"
latent_dim = 2
batch_size = 4
encoder = { name = "lstm", embedding = 4, hidden = 4 }
decoder = { name = "lstm", embedding = 4, hidden = 4 }
optimizer = { name = "adam", learning_rate = 1e-3 }
evaluation = { every = "1steps", metrics = { neg-elbo = {} } }
"""


def drawings(count=6, drawers=2):
    """Drawings as the archives of Lake et al. have them, with the file that is made of them."""
    names = [("background", "Zulu", 1), ("background", "Zulu", 2), ("background", "Alpha", 3)]
    names += [("evaluation", "Beta", 4), ("evaluation", "Beta", 5), ("evaluation", "Able", 6)]
    archives, ink = {}, []
    for part in ("background", "evaluation"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir(f"images_{part}")
            for _, alphabet, number in sorted(name for name in names if name[0] == part):
                for drawer in range(1, drawers + 1):
                    paper = np.ones((105, 105), bool)
                    paper[number * 10 : number * 10 + 9, drawer * 20 : drawer * 20 + 7 * number] = False
                    picture = io.BytesIO()
                    Image.fromarray(paper).save(picture, "PNG")
                    path = f"images_{part}/{alphabet}/character{number:02}/{number:04}_{drawer:02}.png"
                    archive.writestr(path, picture.getvalue())
                    ink.append((number, drawer, (~paper).mean()))
        archives[f"images_{part}.zip"] = file.getvalue()
    return archives, [share for *_, share in sorted(ink)]


def test_omniglot_is_made_by_the_stated_rule():
    archives, ink = drawings()
    with np.load(io.BytesIO(omniglot(archives))) as made:
        assert made["images"].shape == (12, 28, 28)
        assert made["images"].mean((1, 2)) / 255 == pytest.approx(ink, abs=0.01)  # an average of areas keeps the ink
        assert made["images"].min() == 0  # paper
        assert made["character"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert made["alphabet_names"].tolist() == ["Zulu", "Alpha", "Beta", "Able"]
        assert made["alphabet"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
        assert made["drawer"].tolist() == [1, 2] * 6
        assert made["background"].tolist() == [True] * 6 + [False] * 6


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_drawing_that_is_no_picture_is_one_line(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images_background/A/character01/0001_01.png", content)
    with pytest.raises(DataError, match=r"0001_01\.png' is not a picture") as caught:
        omniglot({"images_background.zip": file.getvalue()})
    assert "\n" not in str(caught.value)


def test_archives_without_drawings_are_one_line():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(DataError, match=r"no archive of images_background\.zip holds a drawing"):
        omniglot({"images_background.zip": file.getvalue()})


def test_omniglot_is_fetched_and_made(tmp_path, site):
    archives, _ = drawings(drawers=20)
    site.answers |= {f"/{name}": content for name, content in archives.items()}
    contents = archives | {"omniglot_28x28_uint8.npz": omniglot(archives)}
    known = located("omniglot", miniature("omniglot", site, contents, tmp_path / "facts"), tmp_path / "data")
    (path,) = fetch(known, quiet())
    assert list((tmp_path / "data" / "omniglot").iterdir()) == [path]
    assert path.read_bytes() == contents[path.name]


def test_archives_that_a_person_has_put_there_are_used_and_stay(tmp_path, site):
    archives, _ = drawings()
    contents = archives | {"omniglot_28x28_uint8.npz": omniglot(archives)}
    known = located("omniglot", miniature("omniglot", site, contents, tmp_path / "facts"), tmp_path / "data")
    (tmp_path / "data" / "omniglot").mkdir(parents=True)
    for name, content in archives.items():
        (tmp_path / "data" / "omniglot" / name).write_bytes(content)
    fetch(known, quiet())
    assert {path.name for path in (tmp_path / "data" / "omniglot").iterdir()} == contents.keys()
    assert site.asked == []


@pytest.mark.slow
def test_the_real_drawings_give_the_real_file():
    """All 32,460 drawings, packed as their authors have it: the arrays of the registry, and so its splits."""
    if not REAL.is_dir():
        pytest.skip(f"the drawings of Lake et al. are not here: {REAL.name} belongs into shared/data")
    with np.load(REAL / "omniglot_28x28_uint8.npz") as known:
        alphabets, names = known["alphabet"][::20], known["alphabet_names"]
    archives, first = {}, 0
    for part in ("background", "evaluation"):
        with np.load(REAL / f"images_{part}.npz") as packed:
            images = packed["images"]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for i in np.argsort(names[alphabets[first : first + len(images)]], kind="stable"):
                for drawer, paper in enumerate(images[i], 1):
                    picture = io.BytesIO()
                    Image.fromarray(paper).save(picture, "PNG")
                    number = first + i + 1
                    folder = f"images_{part}/{names[alphabets[number - 1]]}/character{i + 1:02}"
                    archive.writestr(f"{folder}/{number:04}_{drawer:02}.png", picture.getvalue())
        archives[f"images_{part}.zip"] = file.getvalue()
        first += len(images)
    made = omniglot(archives)
    facts = dataset_facts("omniglot")
    assert CHECKSUMS["arrays"](made) == facts.files[0].arrays
    splits = locate("omniglot", discovery.load(), Path()).dataset.parse({facts.files[0].name: made})
    assert splits.hashes() == {name: split.sha256 for name, split in facts.splits.items()}


def test_chardata_is_fetched_from_its_mirror(tmp_path, site):
    grey, alphabets = RNG.random((5, 28, 28)), np.array([3, 0, 49, 3, 7])
    data, target = by_columns(grey, alphabets)
    content = mat(data=data, target=target, testdata=data[:, :2], testtarget=target[:, :2])
    path = miniature("omniglot-burda", site, {"chardata.mat": content}, tmp_path / "facts")
    mirrored = path.read_text().replace('mirrors = ["', 'mirrors = ["http://127.0.0.1:9/gone", "')
    path.write_text(mirrored)
    site.answers["/chardata.mat"] = content
    known = located("omniglot-burda", path, tmp_path / "data")
    assert [path.name for path in fetch(known, quiet())] == ["chardata.mat"]
    assert (tmp_path / "data" / "omniglot" / "chardata.mat").read_bytes() == content


def test_larochelle_s_files_are_fetched(tmp_path, site):
    names = [f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test")]
    contents = dict.fromkeys(names, b"0 1 " * 392 + b"\n")
    site.answers |= {f"/{name}": content for name, content in contents.items()}
    known = located("mnist-larochelle", miniature("mnist-larochelle", site, contents, tmp_path / "facts"), tmp_path)
    assert len(fetch(known, quiet())) == 3
    assert known.dataset.parse(contents).train.pixels.shape == (1, 28, 28)


def test_another_numpy_archive_is_refused_by_its_arrays(tmp_path):
    known = locate("omniglot", discovery.load(), tmp_path)
    (tmp_path / "omniglot_28x28_uint8.npz").write_bytes(npz(images=np.zeros((2, 28, 28), np.uint8)))
    with pytest.raises(DataError, match="is not the original: expected arrays 7f774c81"):
        known.dataset.load(tmp_path)
