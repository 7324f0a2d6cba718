"""Images: reads the published files (IDX, .amat, .mat, .npz), splits them, and makes their pixels binary."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsebench.data.splits import BinaryImages, GreyImages, Ints
from collapsebench.errors import DataError
from collapsebench.examples import ImageSpec, Split, Splits

SIDE = 28
ROWS = 1000
"""The number of images that are binarized at a time. The draws do not depend on it."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pixels (N, H, W), and the class of each image (N,); None if the original has no classes."""

    pixels: NDArray[Any]
    classes: Ints | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Pictures:
        return Pictures(self.pixels[rows], None if self.classes is None else self.classes[rows])


def read_idx(name: str, content: bytes, ndim: int) -> NDArray[np.uint8]:
    """Read an array of bytes in the IDX format: two zeros, type 8, the number of axes, big-endian sizes, values."""
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes((0, 0, 8, ndim)):
        raise DataError(
            f"file '{name}' is not an IDX file of unsigned bytes with {ndim} axes: starts with {content[:4]!r}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", ndim, 4))
    values = np.frombuffer(content, np.uint8, offset=header)
    if values.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"file '{name}' should hold {shape} bytes by its header, got {values.size}")
    return values.reshape(shape)


def read_amat(name: str, content: bytes) -> Pictures:
    """Read binary 28x28 images from text (Larochelle's MNIST): one image a line, zeros and ones between blanks."""
    values = np.frombuffer(content.translate(None, b" \t\r\n"), np.uint8) - ord("0")
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    if values.size != lines * SIDE * SIDE or values.max(initial=0) > 1:
        raise DataError(f"file '{name}' should hold {SIDE * SIDE} zeros and ones on each of its {lines} lines")
    return Pictures(values.reshape(-1, SIDE, SIDE))


def read_npz(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    """Read the arrays of a numpy archive. Raises DataError."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"file '{name}' is not a numpy archive: {error}") from None


def read_npy(name: str, content: bytes) -> NDArray[Any]:
    """Read the array of a numpy file. Raises DataError for another file, and for one that holds Python objects."""
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"file '{name}' is not a numpy array: {error}") from None
    return array


def pictures(
    names: Sequence[str], pixels: Sequence[NDArray[Any]], classes: Sequence[NDArray[Any] | None]
) -> list[Pictures]:
    """Return the pictures of several files, all of one size. Raises DataError, which names the wrong file."""
    shape = pixels[0].shape[1:]
    for name, array in zip(names, pixels, strict=True):
        if array.ndim != 3 or array.shape[1:] != shape or not array.size:
            raise DataError(f"file '{name}' should hold pictures (N, H, W), all files of one size, got {array.shape}")
        highest = 255 if array.dtype == np.uint8 else 1
        if array.dtype.kind not in "buif" or not (array.min() >= 0 and array.max() <= highest):
            raise DataError(
                f"file '{name}' should hold bytes from 0 to 255 or numbers from 0 to 1, got {array.dtype} from "
                f"{array.min()} to {array.max()}"
            )
    return [_with_classes(*each) for each in zip(names, pixels, classes, strict=True)]


def _with_classes(name: str, pixels: NDArray[Any], classes: NDArray[Any] | None) -> Pictures:
    grey = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    if classes is None:
        return Pictures(grey)
    if classes.shape != (len(pixels),) or classes.dtype.kind not in "iu":
        raise DataError(
            f"file '{name}' has {len(pixels)} pictures and needs as many whole numbers as labels, got {classes.dtype} "
            f"{classes.shape}"
        )
    return Pictures(grey, classes.astype(np.int64))


def at_one_half(grey: Pictures) -> Pictures:
    """Return a bit for every pixel: 1 if the pixel has at least one half of the largest value."""
    half = 128 if grey.pixels.dtype == np.uint8 else 0.5
    return Pictures((grey.pixels >= half).astype(np.uint8), grey.classes)


def read_mat(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    """Read the arrays of a MATLAB file. Raises DataError."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays: dict[str, NDArray[Any]] = loadmat(io.BytesIO(content))
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, zlib.error) as error:
        raise DataError(f"file '{name}' is not a MATLAB file: {error}") from None
    return arrays


def chardata(name: str, content: bytes) -> tuple[Pictures, Pictures]:
    """Read Burda's Omniglot: training and test images, grey in [0, 1]; the class is the number of the alphabet.

    `data` and `testdata` are (784, N), and every image is stored by columns. `target` and `testtarget` are (50, N).
    """
    arrays = read_mat(name, content)
    missing = {"data", "target", "testdata", "testtarget"} - arrays.keys()
    if missing:
        raise DataError(f"file '{name}' has no array '{min(missing)}'")
    train = _by_columns(name, arrays["data"], arrays["target"])
    return train, _by_columns(name, arrays["testdata"], arrays["testtarget"])


def _by_columns(name: str, data: NDArray[Any], target: NDArray[Any]) -> Pictures:
    if data.ndim != 2 or len(data) != SIDE * SIDE or target.shape[1:] != data.shape[1:]:
        raise DataError(f"file '{name}' should hold ({SIDE * SIDE}, N) images and (50, N) targets, got {data.shape}")
    if not (data.min(initial=0) >= 0 and data.max(initial=0) <= 1):
        raise DataError(f"file '{name}' should hold grey values between 0 and 1")
    pixels = data.T.astype(np.float32).reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return Pictures(np.ascontiguousarray(pixels), target.argmax(0).astype(np.int64))


def read_mnist(contents: Mapping[str, bytes], images: str, labels: str) -> Pictures:
    """Read the images and labels of two IDX files."""
    classes = read_idx(labels, contents[labels], 1)
    return _pictures_28(images, read_idx(images, contents[images], 3), classes)


def read_drawings(name: str, content: bytes, label: str) -> tuple[Pictures, Ints]:
    """Read Omniglot's drawings, 28x28 bytes, and the drawer (1…20) of each. `label` names the array of classes."""
    arrays = read_npz(name, content)
    missing = {"images", "drawer", label} - arrays.keys()
    if missing:
        raise DataError(f"file '{name}' has no array '{min(missing)}'")
    drawings = _pictures_28(name, arrays["images"], arrays[label])
    if arrays["drawer"].shape != (len(drawings),):
        raise DataError(f"file '{name}' should name the drawer of each of its {len(drawings)} images")
    return drawings, arrays["drawer"].astype(np.int64)


def _pictures_28(name: str, pixels: NDArray[np.uint8], classes: NDArray[Any]) -> Pictures:
    """Return images of 28x28 with their classes. Raises DataError for another size or another number of classes."""
    if pixels.shape != (*classes.shape, SIDE, SIDE):
        raise DataError(f"file '{name}' should hold {classes.size} images of {SIDE}x{SIDE}, got {pixels.shape}")
    return Pictures(pixels, classes.astype(np.int64))


def shuffled(pictures: Pictures, seed: int) -> Pictures:
    """Return the images in an order drawn from numpy's legacy generator, whose stream never changes."""
    return pictures[np.random.RandomState(seed).permutation(len(pictures))]


def hold_out(pictures: Pictures, validation: int) -> tuple[Pictures, Pictures]:
    """Split off the last `validation` images. Return the others, then these. Raises DataError if none are left."""
    if validation >= len(pictures):
        raise DataError(f"validation={validation} leaves none of {len(pictures)} images for training")
    return pictures[:-validation], pictures[-validation:]


def dynamic(train: Pictures, valid: Pictures, test: Pictures, seed: int) -> Splits:
    """Return splits that binarize training images anew in every pass, and the other images once, by the seed."""
    return _splits(GreyImages(train.pixels, train.classes), _binarized(valid, seed, 1), _binarized(test, seed, 2))


def static(train: Pictures, valid: Pictures, test: Pictures, seed: int) -> Splits:
    """Return splits whose images are all binarized once, by the seed."""
    return _splits(*(_binarized(part, seed, i) for i, part in enumerate((train, valid, test))))


def binary(train: Pictures, valid: Pictures, test: Pictures) -> Splits:
    """Return splits of images that are already zeros and ones."""
    return _splits(*(BinaryImages(part.pixels, part.classes) for part in (train, valid, test)))


def _splits(train: Split, valid: BinaryImages, test: BinaryImages) -> Splits:
    height, breadth = test.pixels.shape[1:]
    return Splits(ImageSpec((1, height, breadth)), train, valid, test)


def _binarized(pictures: Pictures, seed: int, split: int) -> BinaryImages:
    """Draw Bernoulli(grey) for every pixel. The stream of numpy's legacy generator never changes, nor does the hash."""
    rng = np.random.RandomState([seed, split])
    scale = 255 if pictures.pixels.dtype == np.uint8 else 1
    pixels = np.empty(pictures.pixels.shape, np.uint8)
    for at in range(0, len(pictures), ROWS):
        grey = pictures.pixels[at : at + ROWS]
        pixels[at : at + ROWS] = scale * rng.random_sample(grey.shape) < grey
    return BinaryImages(pixels, pictures.classes)


def digits(threshold: int, seed: int, validation: int, test: int) -> Splits:
    """Return the 8x8 digits of scikit-learn, shuffled by the seed.

    A pixel is ink if its count (0…16) reaches the threshold.
    """
    # The file is read without scikit-learn: its import takes longer than the whole start of a command.
    file = metadata.distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), dtype=np.int64, delimiter=",")
    pictures = Pictures((table[:, :-1] >= threshold).astype(np.uint8).reshape(-1, 8, 8), table[:, -1])
    rest, last = hold_out(shuffled(pictures, seed), test)
    return binary(*hold_out(rest, validation), last)
