"""Datasets: fixed, checksummed splits. The classes describe; the modules beside this one read, parse and generate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component, Dataset, Estimate

if TYPE_CHECKING:
    from collapsebench.data.synthetic import Sample
    from collapsebench.examples import Splits
    from collapsebench.spec import Setting

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class FromFiles(Dataset):
    """A dataset parsed from original files."""

    @abstractmethod
    def originals(self) -> list[str]:
        """The names of the files that it reads."""

    @abstractmethod
    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """The splits, from the content of every original file by name. Raises DataError."""

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.loading import load_files

        return load_files(self, self.originals(), self.parse, folder)


class Generated(Dataset):
    """A dataset drawn from a known distribution: no files, and the truth can be computed."""

    @abstractmethod
    def truth(self) -> Mapping[str, Estimate]:
        """`entropy`, H(x), which no model beats in expectation, and `mutual-information`, I(x; z); nats per example."""

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """What the best model of a setting scores on the test split, by column of the metrics: the truth, by default.

        Standard errors are those of an estimated truth; None where the number is that of the test split itself.
        """
        del setting
        truth = self.truth()
        return {
            "iw_nll": truth["entropy"],
            "mi_lower": truth["mutual-information"],
            "mi_upper": truth["mutual-information"],
        }


class Text(FromFiles):
    """Text in three files, one document a line, under the published preprocessing."""

    stem: ClassVar[str]

    vocabulary_size: PositiveInt = Field(20000, description="how many of the most frequent training words are known")
    count_above: NonNegativeInt | None = Field(
        None, description="know the words that occur more often than this in training, instead of the most frequent"
    )
    max_tokens: PositiveInt = Field(200, description="documents of more words are dropped")
    test_documents: PositiveInt | None = Field(
        None, description="test on the first so many documents that are left; none: on all"
    )
    shuffle_seed: Seed | None = Field(
        None, description="shuffle the documents of every split first; none: they keep the order of the files"
    )

    def originals(self) -> list[str]:
        """See FromFiles."""
        return [f"{self.stem}.{split}.txt" for split in ("train", "valid", "test")]

    def lines(self, contents: Mapping[str, bytes]) -> Mapping[str, Sequence[str]]:
        """The documents of `train`, `valid` and `test`, one a line."""
        from collapsebench.data.text import read_lines

        names = {split: f"{self.stem}.{split}.txt" for split in ("train", "valid", "test")}
        return {split: read_lines(name, contents[name]) for split, name in names.items()}

    def given(self, contents: Mapping[str, bytes]) -> Sequence[str] | None:
        """The words to know; None: they are found in the training documents."""
        del contents
        return None

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data.text import Preprocessing, preprocess

        options = Preprocessing(
            vocabulary_size=self.vocabulary_size,
            count_above=self.count_above,
            max_tokens=self.max_tokens,
            shuffle_seed=self.shuffle_seed,
            given=self.given(contents),
            test_documents=self.test_documents,
        )
        return preprocess(self.lines(contents), options)


class PennTreebank(Text):
    """Mikolov's Penn Treebank, one sentence a line."""

    name = "ptb"
    citation = "Mikolov et al. (2010), Recurrent neural network based language model; Marcus et al. (1993)"
    stem = "ptb"


class Yahoo(Text):
    """Yahoo Answers, 100,000 training documents."""

    name = "yahoo"
    citation = "Yang et al. (2017), Improved Variational Autoencoders for Text Modeling using Dilated Convolutions"
    stem = "yahoo"
    given_file: ClassVar[str] = "vocab_from_train.txt"

    vocabulary: Literal["train", "given"] = Field(
        "train",
        description="where the known words come from: this dataset's training documents, or the given list of those of "
        "the official 100,000 (then vocabulary_size and count_above say nothing)",
    )

    def originals(self) -> list[str]:
        """See FromFiles."""
        return super().originals() + self._vocabulary_files()

    def _vocabulary_files(self) -> list[str]:
        return [self.given_file] if self.vocabulary == "given" else []

    def given(self, contents: Mapping[str, bytes]) -> Sequence[str] | None:
        """See Text: the given list without the four markers that it starts with."""
        from collapsebench.data.text import MARKERS, read_lines

        files = self._vocabulary_files()
        return read_lines(files[0], contents[files[0]])[len(MARKERS) :] if files else None


class Yahoo9k(Yahoo):
    """Yahoo Answers without its large training file: the official validation file is split into two."""

    name = "yahoo-9k"
    split_at: ClassVar[int] = 9000

    def originals(self) -> list[str]:
        """See FromFiles."""
        return ["yahoo.valid.txt", "yahoo.test.txt", *self._vocabulary_files()]

    def lines(self, contents: Mapping[str, bytes]) -> Mapping[str, Sequence[str]]:
        """See Text: lines 1 to 9,000 of the official validation file train, the others validate."""
        from collapsebench.data.text import read_lines

        valid, test = (read_lines(name, contents[name]) for name in ("yahoo.valid.txt", "yahoo.test.txt"))
        return {"train": valid[: self.split_at], "valid": valid[self.split_at :], "test": test}


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


class SyntheticText(Generated):
    """Documents from a known latent-variable language model: z ~ N(0, I_2), x_t ~ softmax(A[x_{t-1}] + B z)."""

    name = "synthetic-text"

    vocabulary: PositiveInt = Field(100, ge=2, description="number of words V")
    length: PositiveInt = Field(12, description="words a document T, before EOS")
    a: PositiveFloat = Field(1.0, description="scale of the transition logits A = a N(0, 1)")
    b: PositiveFloat = Field(1.0, description="scale of the latent directions B = b N(0, 1)")
    train: PositiveInt = Field(16000, description="number of training documents")
    valid: PositiveInt = Field(1000, description="number of validation documents")
    test: PositiveInt = Field(1000, ge=2, description="number of test documents")
    seed: Seed = Field(0, description="draws A, B and the documents")

    def _samples(self) -> list[Sample]:
        from collapsebench.data import synthetic

        model = synthetic.language_model(self.vocabulary, self.a, self.b, self.seed)
        return synthetic.samples(model, self.length, (self.train, self.valid, self.test), self.seed)

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.text import MARKERS
        from collapsebench.examples import Splits, TextSpec

        del folder
        train, valid, test = (sample.split() for sample in self._samples())
        return Splits(TextSpec(self.vocabulary + len(MARKERS)), train, valid, test)

    def truth(self) -> Mapping[str, Estimate]:
        """See Generated: H(x) and I(x; z) over the test documents; cached, as it takes seconds."""
        from collapsebench.data import cache, synthetic

        def compute() -> cache.Arrays:
            model = synthetic.language_model(self.vocabulary, self.a, self.b, self.seed)
            return synthetic.exact_entropy(model, self._samples()[-1].words)._asdict()

        key = {"version": self.version, "params": self.model_dump(mode="json"), "tolerance": synthetic.TOLERANCE}
        arrays = cache.cached(f"{self.name}-truth", key, compute)
        return {
            "entropy": Estimate(arrays["entropy"].item(), arrays["entropy_error"].item()),
            "mutual-information": Estimate(
                arrays["mutual_information"].item(), arrays["mutual_information_error"].item()
            ),
        }

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """See Generated: the true model. `truth` averages its likelihood of the test documents, so that it is exact."""
        from math import exp

        best = super().best_possible(setting)
        nll = best["iw_nll"].value
        return {**best, "iw_nll": Estimate(nll), "perplexity": Estimate(exp(nll / (self.length + 1)))}


class LinearGaussian(Generated):
    """Gaussian vectors with a chosen spectrum, on which the linear VAE has a closed form."""

    name = "linear-gaussian"
    citation = "Lucas et al. (2019), Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse"

    spectrum: tuple[PositiveFloat, ...] = Field((9.0, 4.0, 2.0, 1.0, 0.5), description="largest variances of x")
    noise_variance: PositiveFloat = Field(0.25, description="variance of x in every other direction")
    dimension: PositiveInt = Field(10, description="dimension of x")
    train: PositiveInt = Field(10000, description="number of training examples")
    valid: PositiveInt = Field(1000, description="number of validation examples")
    test: PositiveInt = Field(1000, description="number of test examples")
    seed: Seed = Field(0, description="draws the examples")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.spectrum) > self.dimension:
            raise ValueError(f"a spectrum of {len(self.spectrum)} values needs at least this dimension")
        return self

    @property
    def eigenvalues(self) -> tuple[float, ...]:
        """Every eigenvalue of the covariance of x."""
        return (*self.spectrum, *[self.noise_variance] * (self.dimension - len(self.spectrum)))

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.linear_gaussian import draw
        from collapsebench.examples import Splits, VectorSpec

        del folder
        return Splits(
            VectorSpec(self.dimension), *draw(self.eigenvalues, (self.train, self.valid, self.test), self.seed)
        )

    def truth(self) -> Mapping[str, Estimate]:
        """See Generated: H(x), and I(x; z) of the linear model that has this covariance and its noise variance."""
        from collapsebench.data.linear_gaussian import entropy, optimum

        best = optimum(self.eigenvalues, len(self.spectrum), self.noise_variance)
        return {
            "entropy": Estimate(entropy(self.eigenvalues)),
            "mutual-information": Estimate(float(best.kl.sum())),
        }

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """See Generated: probabilistic PCA with the decoder's variance, or with the best one if that is learned.

        Its information is what that decoder has use for, which is less than the data's if its variance is larger.
        """
        from collapsebench.data.linear_gaussian import best_variance, draw, neg_log_likelihood, optimum

        decoder = setting.decoder.params
        learned, units = decoder.get("learn_variance"), setting.latent_dim
        if setting.decoder.name != "linear" or (learned and units >= self.dimension):
            return {}  # another decoder, or one whose likelihood has no maximum
        variance = best_variance(self.eigenvalues, units) if learned else decoder["variance"]
        best = optimum(self.eigenvalues, units, variance)
        test = draw(self.eigenvalues, (self.train, self.valid, self.test), self.seed)[-1]
        nll = Estimate(float(neg_log_likelihood(test.values, self.eigenvalues, units, variance).mean()))
        information = Estimate(float(best.kl.sum()))
        return {
            "neg_elbo": nll,
            "iw_nll": nll,
            "kl": information,
            "mi_lower": information,
            "mi_upper": information,
            "active_units": Estimate(float(best.active)),
        }


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The shipped datasets."""
    return [
        SyntheticText,
        LinearGaussian,
        Digits,
        Mnist,
        MnistStatic,
        MnistLarochelle,
        Omniglot,
        OmniglotBurda,
        PennTreebank,
        Yahoo,
        Yahoo9k,
    ]
