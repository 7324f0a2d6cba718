"""Datasets of binary images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from collapsebench.components.interfaces import Dataset
from collapsebench.data.base import SPLITS, FromFiles, Seed

if TYPE_CHECKING:
    from collapsebench.data.images import Pictures
    from collapsebench.examples import Splits


class Images(FromFiles):
    """Pictures of one channel in three numpy files, STEM.train.npy, STEM.valid.npy and STEM.test.npy.

    Each file is an array (N, H, W) of bytes from 0 to 255, or of numbers from 0 to 1. The models see bits. If
    `labelled` is True, the files STEM.train.labels.npy, … hold the classes (N,) of the pictures, for probes and plots.

    >>> import io
    >>> import numpy as np
    >>> from collapsebench import Images
    >>> class Mine(Images):
    ...     name = "mine"
    ...     stem = "mine"
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((5, 8, 8), np.uint8))
    >>> splits = Mine().parse({f"mine.{split}.npy": file.getvalue() for split in ("train", "valid", "test")})
    >>> len(splits.train), splits.spec
    (5, ImageSpec(shape=(1, 8, 8)))
    """

    stem: ClassVar[str]
    labelled: ClassVar[bool] = False

    binarization: Literal["dynamic", "static", "threshold"] = Field(
        "dynamic",
        description="how pixels become bits: 'dynamic' draws training pictures anew in every pass, 'static' draws all "
        "of them once, 'threshold' takes 1 from one half on",
    )
    binarization_seed: Seed = Field(0, description="draws what is binarized once")

    def originals(self) -> list[str]:
        """See FromFiles."""
        endings = ("npy", "labels.npy") if self.labelled else ("npy",)
        return [f"{self.stem}.{split}.{ending}" for ending in endings for split in SPLITS]

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data import images

        train, valid, test = self._pictures(contents)
        if self.binarization == "threshold":
            return images.binary(*map(images.at_one_half, (train, valid, test)))
        binarize = images.static if self.binarization == "static" else images.dynamic
        return binarize(train, valid, test, self.binarization_seed)

    def own_examples(self, contents: Mapping[str, bytes]) -> dict[str, list[bytes]]:
        """Return the pixels of every picture, by split, as the files have them. Raises DataError."""
        pictures = zip(SPLITS, self._pictures(contents), strict=True)
        return {split: [picture.tobytes() for picture in each.pixels] for split, each in pictures}

    def _pictures(self, contents: Mapping[str, bytes]) -> list[Pictures]:
        """Return the pictures of `train`, `valid` and `test`. Raises DataError."""
        from collapsebench.data import images

        arrays = [images.read_npy(name, contents[name]) for name in self.originals()]
        return images.pictures(self.originals()[:3], arrays[:3], arrays[3:] or (None, None, None))


class Mnist(FromFiles):
    """MNIST, binarized anew in every pass over the training images."""

    name = "mnist"
    citation = "LeCun et al. (1998), Gradient-based learning applied to document recognition"
    static: ClassVar[bool] = False

    validation: PositiveInt = Field(10000, description="how many of the last training images validate")
    binarization_seed: Seed = Field(0, description="draws what is binarized once: validation and test images")

    def originals(self) -> list[str]:
        """See FromFiles."""
        return [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data import images

        train_images, train_labels, test_images, test_labels = self.originals()
        train = images.read_mnist(contents, train_images, train_labels)
        test = images.read_mnist(contents, test_images, test_labels)
        binarize = images.static if self.static else images.dynamic
        return binarize(*images.hold_out(train, self.validation), test, self.binarization_seed)


class MnistStatic(Mnist):
    """MNIST, all images binarized once."""

    name = "mnist-static"
    static = True

    binarization_seed: Seed = Field(0, description="draws the binarization of all images")


class MnistLarochelle(FromFiles):
    """MNIST as binarized once by Larochelle and Murray."""

    name = "mnist-larochelle"
    citation = "Larochelle and Murray (2011), The Neural Autoregressive Distribution Estimator"

    def originals(self) -> list[str]:
        """See FromFiles."""
        return [f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test")]

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data import images

        return images.binary(*(images.read_amat(name, contents[name]) for name in self.originals()))


class Omniglot(FromFiles):
    """Omniglot, all drawings of Lake et al. in 28x28, split by drawer."""

    name = "omniglot"
    citation = "Lake et al. (2015), Human-level concept learning through probabilistic program induction"

    label: Literal["alphabet", "character"] = Field("alphabet", description="what the class of an image is")
    binarization_seed: Seed = Field(0, description="draws what is binarized once: validation and test images")

    def originals(self) -> list[str]:
        """See FromFiles."""
        return ["omniglot_28x28_uint8.npz"]

    def make(self, name: str, archives: Mapping[str, bytes]) -> bytes:
        """See FromFiles."""
        from collapsebench.data.drawings import omniglot

        del name
        return omniglot(archives)

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles: drawers 1 to 14 train, 15 validates, 16 to 20 test."""
        from collapsebench.data import images

        (name,) = self.originals()
        drawings, drawer = images.read_drawings(name, contents[name], self.label)
        train, valid, test = (drawings[rows] for rows in (drawer < 15, drawer == 15, drawer > 15))
        return images.dynamic(train, valid, test, self.binarization_seed)


class OmniglotBurda(FromFiles):
    """Omniglot as split and scaled by Burda et al."""

    name = "omniglot-burda"
    citation = "Burda et al. (2016), Importance Weighted Autoencoders"

    validation: PositiveInt = Field(2000, description="how many of the last training images validate, once shuffled")
    shuffle_seed: Seed = Field(0, description="shuffles the training images before the validation images are taken")
    binarization_seed: Seed = Field(0, description="draws what is binarized once: validation and test images")

    def originals(self) -> list[str]:
        """See FromFiles."""
        return ["chardata.mat"]

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data import images

        train, test = images.chardata("chardata.mat", contents["chardata.mat"])
        train = images.shuffled(train, self.shuffle_seed)
        return images.dynamic(*images.hold_out(train, self.validation), test, self.binarization_seed)


class Digits(Dataset):
    """Handwritten digits of 8x8 pixels, real and small, shipped inside scikit-learn; binarized at a threshold."""

    name = "digits"
    citation = "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository"

    threshold: PositiveInt = Field(8, le=16, description="a pixel is ink if its value, 0 to 16, reaches this")
    validation: PositiveInt = Field(400, description="how many images validate")
    test: PositiveInt = Field(397, description="how many images test")
    shuffle_seed: Seed = Field(0, description="shuffles the images before they are split")

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data import images

        del folder
        return images.digits(self.threshold, self.shuffle_seed, self.validation, self.test)
