"""Discovery: what is found, where it comes from, and every way in which a plugin can be wrong."""

import sys
from importlib import import_module, metadata
from textwrap import dedent
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field

from collapsebench.components import catalog, composition, discovery
from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Method
from collapsebench.errors import PluginError, UsageError
from collapsebench.experiment.assembly import kl_weight_at
from collapsebench.model.progress import Progress

GOOD = """
from typing import ClassVar
from pydantic import Field, PositiveFloat
from collapsebench import Method, hookimpl

class Fixed(Method):
    "Constant KL weight (Higgins et al., 2017)."
    name: ClassVar[str] = "fixed-weight"
    beta: PositiveFloat = Field(4.0, description="weight of the KL term")

    @hookimpl
    def kl_weight(self):
        return self.beta

@hookimpl
def collapsebench_components():
    return [Fixed]
"""


@pytest.fixture
def plugin(tmp_path):
    def write(source=GOOD, name="mine.py"):
        path = tmp_path / name
        path.write_text(dedent(source))
        return path

    return write


@pytest.fixture(scope="module")
def installed():
    return discovery.load()


def test_shipped_methods_come_through_entry_points(installed):
    assert {"skip", "kl-annealing", "sa-vae", "svi", "vae-svi", "no-latent"} <= set(installed.names("method"))
    entry = installed.entry("method", "skip")
    assert entry.plugin == "skip"
    assert entry.version == metadata.version("collapsebench")
    assert entry.origin.endswith("collapsebench_plugins/skip.py")
    assert entry.hooks == ["connect_latent"]
    assert installed.failed == ()


def test_built_ins_enter_through_the_same_hook(installed):
    assert {"lstm", "pixelcnn", "mlp", "linear"} <= set(installed.names("decoder"))
    assert "amortized" in installed.names("inference")
    assert "in-process" in installed.names("executor")


@pytest.mark.parametrize(
    "kind", sorted({kind for kinds in discovery.BUILTINS.values() for kind in kinds} | {"method", "prior"})
)
def test_a_catalogue_of_one_kind_has_all_of_that_kind(installed, kind):
    assert discovery.load(kinds={kind}).names(kind) == installed.names(kind)


def test_a_plugin_imports_what_lies_beside_it(plugin, monkeypatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if type(entry) is str])  # not beside other plugins
    plugin("def share(): return 0.25", "beside_mine.py")
    source = GOOD.replace("Field(4.0", "Field(share()").replace(
        "from pydantic", "from beside_mine import share\nfrom pydantic", 1
    )
    path = plugin(source)
    assert discovery.load([path]).make("method", "fixed-weight", {}).beta == 0.25
    assert sys.path[-1] == str(path.parent)


def test_files_beside_plugins_are_not_mixed_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    paths = []
    for folder, weight in (("a", 0.25), ("b", 0.5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside_both.py").write_text(f"WEIGHT = {weight}")
        source = GOOD.replace("Field(4.0", "Field(WEIGHT").replace("fixed-weight", f"method-{folder}")
        paths.append(tmp_path / folder / f"mine_{folder}.py")
        paths[-1].write_text(source.replace("from pydantic", "from beside_both import WEIGHT\nfrom pydantic", 1))
    made = [discovery.load([path]).make("method", f"method-{path.parent.name}", {}).beta for path in paths]
    assert made == [0.25, 0.5]
    (tmp_path / "a" / "beside_both.py").write_text("WEIGHT = 0.75")
    assert discovery.load(paths[:1]).make("method", "method-a", {}).beta == 0.75
    with pytest.raises(PluginError, match="another plugin has a file 'beside_both' beside it, too"):
        discovery.load(paths)


def test_modules_of_a_folder_that_python_searches_anyway_stay_what_they_are(plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    plugin("VALUE = 1", "users_own.py")
    own = import_module("users_own")
    discovery.load([plugin(GOOD.replace("from pydantic", "import users_own\nfrom pydantic", 1))])
    assert sys.modules.pop("users_own") is own


@pytest.mark.parametrize("kinds", [None, {"method"}])
def test_a_field_that_cannot_be_validated_is_the_plugins_failure(plugin, kinds):
    """In every catalogue, and not at its first use, where it would look like a bug of ours."""
    source = GOOD.replace("class Fixed", "class Thing: ...\n\nclass Fixed").replace("PositiveFloat =", "Thing =")
    with pytest.raises(PluginError, match=r"plugin file '.*mine\.py' failed: PydanticSchemaGenerationError"):
        discovery.load([plugin(source)], kinds=kinds)


def test_a_catalogue_of_methods_leaves_the_networks_out(installed):
    found = discovery.load(kinds={"method"})
    assert set(found.entries) < set(installed.entries)
    assert not found.names("decoder")


def test_a_file_is_a_plugin(plugin):
    found = discovery.load([plugin()])
    assert found.entry("method", "fixed-weight").origin.endswith("mine.py")
    contender, (method,) = found.contender("fixed-weight[beta=2]")
    assert contender.label == "fixed-weight[beta=2.0]"
    assert composition.compose([method]).kl_weight(progress=None) == [2.0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("kl_weight(self)", "kl_wait(self)"), "unknown hook 'kl_wait'. Did you mean 'kl_weight'?"),
        (("kl_weight(self)", "kl_weight(self, epoch)"), "asks for epoch, but the hook gives progress"),
        (("def collapsebench_components", "def collapsebench_component"), "unknown hook 'collapsebench_component'"),
        (("@hookimpl\ndef coll", "def coll"), "has no hook collapsebench_components"),
        (
            ("return [Fixed]", "return [Fixed, int]"),
            "int must be a complete subclass of a kind of component",
        ),
        (("return [Fixed]", "return [Fixed()]"), "must be a complete subclass of a kind"),
        (('"fixed-weight"', '"Beta VAE"'), "needs a class variable `name` of small letters"),
        (('"fixed-weight"', '"vae"'), "needs a class variable `name`"),
        ((', description="weight of the KL term"', ""), "must describe its field 'beta'"),
        (('"fixed-weight"', '"skip"'), "method 'skip' is registered twice: by plugin 'skip'"),
        (("from typing", "import nothing_of_this_name\nfrom typing"), "No module named 'nothing_of_this_name'"),
        (("from typing", "1 / 0\nfrom typing"), "ZeroDivisionError: division by zero"),
        (("class Fixed(Method)", "class Fixed(Method"), "SyntaxError"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_mistake(plugin, change, expected):
    source = GOOD.replace(*change)
    assert source != GOOD
    with pytest.raises(PluginError) as caught:
        discovery.load([plugin(source)])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "line", "expected"),
    [
        ((', description="weight of the KL term"', ""), "class Fixed", "must describe its field 'beta'"),
        (("kl_weight(self)", "kl_weight(self, epoch)"), "class Fixed", "asks for epoch, but the hook gives progress"),
    ],
)
def test_what_is_wrong_with_a_class_begins_with_its_place(plugin, change, line, expected):
    source = GOOD.replace(*change)
    number = next(number for number, text in enumerate(source.splitlines(), 1) if line in text)
    with pytest.raises(PluginError) as caught:
        discovery.load([path := plugin(source)])
    assert f"{path.name}:{number}, plugin '{path.stem}': Fixed" in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        discovery.load([tmp_path / "none.py"])


class Point:
    """An entry point as importlib.metadata gives it."""

    def __init__(self, name, load):
        self.name, self.load, self.value, self.dist = name, load, f"package_{name}", None


def test_an_installed_plugin_that_fails_fails_only_the_runs_that_name_it(monkeypatch):
    def broken():
        raise ImportError("libfoo is missing\nsecond line")

    real = metadata.entry_points(group="collapsebench")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [*real, Point("foo", broken)])
    found = discovery.load()
    assert found.contender("skip")[0].label == "skip"
    assert found.failed == (catalog.FailedPlugin("foo", "package_foo", "ImportError: libfoo is missing second line"),)
    with pytest.raises(UsageError, match=r"unknown method 'foo'.*plugin 'foo' failed: ImportError: libfoo is missing"):
        found.contender("foo")


def test_the_environment_limits_which_plugins_are_loaded(monkeypatch):
    monkeypatch.setenv(discovery.PLUGINS_VARIABLE, "skip")
    assert discovery.load().names("method") == ["skip"]
    monkeypatch.setenv(discovery.PLUGINS_VARIABLE, "")
    assert discovery.load().names("method") == []
    monkeypatch.setenv(discovery.PLUGINS_VARIABLE, "skipp")
    with pytest.raises(UsageError, match="Did you mean 'skip'"):
        discovery.load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skp", "unknown method 'skp'. Did you mean 'skip'? Known: "),
        ("mine", "unknown method 'mine'. One of your own needs --plugin FILE. Known: "),
        ("sa_vae", "unknown method 'sa_vae'. Did you mean 'sa-vae'?"),
        ("Skip", "unknown method 'Skip'. Did you mean 'skip'?"),
        ("sa-vae[stepz=3]", "method 'sa-vae': unknown parameter 'stepz'. Did you mean 'steps'?"),
        ("sa-vae[steps=many]", "method 'sa-vae': steps: Input should be a valid integer"),
        ("sa-vae[steps=-1]", "steps: Input should be greater than or equal to 0, got -1"),
        ("vmf[kappa=inf]", "method 'vmf': kappa: Input should be a finite number, got 'inf'"),
        ("vamp-prior[mean=nan]", "method 'vamp-prior': mean: Input should be a finite number, got 'nan'"),
        ("critic[weight=inf]", "method 'critic': weight: Input should be a finite number, got 'inf'"),
        ("sa-vae[hvp=magic]", "hvp: Input should be 'exact' or 'finite-difference', got 'magic'"),
        ("sa-vae[clip=as-released]", "it needs hvp=finite-difference"),
        ("skip+no-latent", "methods 'skip' and 'no-latent' both give connect_latent"),
        ("beta-vae+no-latent", "method 'beta-vae' gives kl_weight, which has no meaning beside 'no-latent'"),
        ("no-latent+free-bits", "method 'free-bits' gives kl_penalty, which has no meaning beside 'no-latent'"),
        ("mae+no-latent", "method 'mae' gives extra_loss, which has no meaning beside 'no-latent'"),
        ("sa-vae+svi", "methods 'sa-vae' and 'svi' both give inference"),
        ("skip+skip", "method 'skip' is named twice in one contender"),
        ("vae+skip", "'vae' is the baseline without any method"),
        ("vae[x=1]", "'vae' is the baseline without any method"),
    ],
)
def test_bad_contenders_are_one_clear_line(installed, text, expected):
    with pytest.raises(UsageError) as caught:
        installed.contender(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_contenders_are_printed_canonically(installed):
    contender, _ = installed.contender("skip + sa-vae[steps=20, momentum=0.5, hvp=exact]")
    assert contender.label == "skip+sa-vae[steps=20]"
    assert [method.name for method in contender.methods] == ["skip", "sa-vae"]
    again, _ = installed.contender(contender.label)
    assert again == contender
    assert installed.contender("vae")[0].label == "vae"


def test_defaults_are_filled_into_the_identity(installed):
    written = installed.contender("sa-vae[steps=10,learning_rate=1]")[0]
    plain = installed.contender("sa-vae")[0]
    assert written.methods[0].params == plain.methods[0].params
    assert plain.methods[0].params["steps"] == 10


def test_a_catalogue_is_a_value(plugin):
    path = plugin()
    assert "fixed-weight" in discovery.load([path]).names("method")
    assert "fixed-weight" not in discovery.load().names("method")


def test_hooks_must_return_their_kind(plugin):
    source = GOOD.replace("def kl_weight(self):\n        return self.beta", "def inference(self):\n        return 3")
    _, methods = discovery.load([plugin(source)]).contender("fixed-weight")
    with pytest.raises(
        PluginError,
        match=r"\.py:\d+, inference of method 'fixed-weight': returned 3, expected an instance",
    ):
        composition.inference_of(composition.compose(methods), None)


@pytest.mark.parametrize(
    "value", [None, "0.5", 1j, [0.5], 10**400, np.zeros(2), torch.zeros(2)], ids=lambda value: type(value).__name__
)
def test_a_kl_weight_that_is_no_number_is_an_error_that_names_its_place(value):
    class Weighty(Method):
        name = "weighty"

        @hookimpl
        def kl_weight(self):
            return value

    hooks = composition.compose([Weighty()])
    with pytest.raises(
        PluginError, match=r"^test_catalog.py:\d+, kl_weight of method 'weighty': returned .+, expected a n"
    ):
        kl_weight_at(hooks, Progress(0.0, 0))


@pytest.mark.parametrize("value", [0.5, np.float64(0.5), torch.tensor(0.5, requires_grad=True)])
def test_a_kl_weight_may_be_a_number_of_any_kind(value):
    class Weighty(Method):
        name = "weighty"

        @hookimpl
        def kl_weight(self):
            return value

    assert kl_weight_at(composition.compose([Weighty()]), Progress(0.0, 0)) == 0.5


class Bare(Method):
    """Two settings without a default, one of them with an example."""

    name: ClassVar[str] = "bare"
    goal: float = Field(description="the goal", examples=[100])
    way: str = Field(description="the way")
    weight: float = Field(1.0, description="a weight")

    @hookimpl
    def kl_weight(self) -> float:
        return self.weight


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("bare", " needs goal and way: write bare[goal=100,way=…] (goal is the goal; way is the way)"),
        ("bare[way=x,weight=2]", " needs goal: write bare[goal=100,way=x,weight=2] (goal is the goal)"),
        ("bare[wya=x]", ": unknown parameter 'wya'. Did you mean 'way'? Known: goal, way, weight"),
    ],
)
def test_a_setting_without_a_default_is_asked_for_by_what_to_write(text, line):
    with pytest.raises(UsageError) as caught:
        discovery.extended(catalog.Catalog({}), [Bare]).contender(text)
    assert str(caught.value) == f"method 'bare'{line}"


REQUIRED = [
    name
    for (kind, name), entry in discovery.load(kinds={"method"}).entries.items()
    if kind == "method" and any(info.is_required() for info in entry.component.model_fields.values())
]


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_proposed_for_a_shipped_method_can_be_written(name):
    components = discovery.load(kinds={"method"})
    with pytest.raises(UsageError, match="needs") as caught:
        components.contender(name)
    proposed = str(caught.value).partition(": write ")[2].partition(" (")[0]
    assert components.contender(proposed)[0].label.startswith(f"{name}[")
