"""The picture of a table and a figure in a paper: `python docs/_ext/paper_column.py` makes it from records.

It needs `pdflatex` with booktabs, and `pdftoppm`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from collapsebench.cli import cli

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "leaderboards" / "mnist-quick-flops.jsonl"
PICTURE = ROOT / "docs" / "_static" / "paper-column.png"
CONTENDERS = {"vae": "VAE", "skip": "Skip-VAE", "sa-vae": "SA-VAE", "skip+sa-vae": "Skip + SA"}
PAPER = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[paperwidth=8.5in,paperheight=3.9in,vmargin=0.2in,hmargin=0.82in,columnsep=0.25in]{geometry}
\usepackage{booktabs,graphicx}
\pagestyle{empty}
\begin{document}
\input{board}
\begin{figure}\includegraphics{curves}\caption{The bound and the KL over the FLOPs of training.}\end{figure}
\end{document}
"""
"""A paper of two columns, each of 3.3 inches."""


def write_paper(folder: Path) -> str:
    """Write `paper.pdf` into a folder: the left column has the table, the right one the figure. Return the log."""
    store = ["--store", str(folder / "runs.sqlite")]
    chosen = ["--dataset", "mnist", *(word for name in CONTENDERS for word in ("--contender", name))]
    labels = [word for name, text in CONTENDERS.items() for word in ("--label", f"{name}={text}")]
    _call("runs", "import", str(RECORDS), *store)
    _call("leaderboard", *chosen, *labels, "--format", "latex", "--output", str(folder / "board.tex"), *store)
    figure = ["--x", "flops", "--y", "neg_elbo,kl", "--size", "3.3,2.6", "--title", ""]
    _call("plot", "trajectories", *chosen, *labels, *figure, "--output", str(folder / "curves.pdf"), *store)
    (folder / "paper.tex").write_text(PAPER, encoding="utf-8")
    return _program(folder, "pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex")


def make(picture: Path = PICTURE) -> None:
    """Make the picture."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_paper(folder)
        _program(folder, "pdftoppm", "-r", "110", "-png", "-singlefile", "paper.pdf", "paper")
        picture.write_bytes((folder / "paper.png").read_bytes())


def _call(*words: str) -> None:
    cli.main(list(words), standalone_mode=False)


def _program(folder: Path, *words: str) -> str:
    """Run a program in a folder, and return what it says."""
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True, errors="replace").stdout  # noqa: S603 - fixed


if __name__ == "__main__":
    make()
