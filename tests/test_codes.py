"""Codes: what a run's test split looks like to its posterior, in a file."""

from __future__ import annotations

import numpy as np
import pytest

from collapsebench.errors import DataError
from collapsebench.metrics.codes import Codes


def codes(labels):
    rng = np.random.default_rng(0)
    return Codes(rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32), labels)


@pytest.mark.parametrize("labels", [None, np.arange(5)])
def test_what_is_written_is_read(tmp_path, labels):
    kept = codes(labels)
    kept.write(tmp_path / "a" / "codes.npz")
    found = Codes.read(tmp_path / "a" / "codes.npz")
    np.testing.assert_array_equal(found.mean, kept.mean)
    np.testing.assert_array_equal(found.logvar, kept.logvar)
    assert found.mean.dtype == np.float32
    assert (found.labels is None) == (labels is None)
    assert labels is None or (found.labels == labels).all()


def test_posteriors_without_log_variances_have_none(tmp_path):
    Codes(codes(None).mean, None, np.arange(5)).write(tmp_path / "codes.npz")
    found = Codes.read(tmp_path / "codes.npz")
    assert found.logvar is None
    assert len(found.mean) == len(found.labels) == 5


def test_equal_codes_are_equal_bytes_and_a_file_is_replaced(tmp_path):
    for name in ("one.npz", "two.npz", "one.npz"):
        codes(np.arange(5)).write(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


def test_what_is_no_codes_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the codes '.*none.npz'"):
        Codes.read(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("codes")
    with pytest.raises(DataError, match="cannot read the codes"):
        Codes.read(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(DataError, match="means, log-variances and labels do not fit together"):
        Codes.read(tmp_path / "other.npz")
