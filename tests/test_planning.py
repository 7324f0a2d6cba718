"""From what a user writes to RunSpecs."""

import subprocess
import sys
from dataclasses import replace

import pytest
import toys

from collapsebench.errors import UsageError
from collapsebench.examples import TextSpec
from collapsebench.experiment.planning import Request, asks_for, plan
from collapsebench.metrics import default_metrics
from collapsebench.networks.decoders import LSTMDecoder
from collapsebench.spec import RunSpec
from collapsebench.syntax import print_value


def labels(plan):
    return [(spec.contender.label, spec.seed) for spec in plan.specs]


def test_the_baseline_runs_beside_the_contenders_seed_by_seed():
    plan = toys.planned("skip", "skip+sa-vae[steps=2]", seeds=(1, 2))
    rows = ["vae", "skip", "skip+sa-vae[steps=2]"]
    assert labels(plan) == [(label, seed) for seed in (1, 2) for label in rows]
    assert len({spec.protocol.protocol_id for spec in plan.specs}) == 1
    assert len({spec.run_id for spec in plan.specs}) == 6


def test_the_baseline_can_be_left_out_or_asked_for():
    assert labels(toys.planned("skip", baseline=False)) == [("skip", 1)]
    assert labels(toys.planned("vae")) == [("vae", 1)]
    assert labels(toys.planned("vae", "skip", baseline=False)) == [("vae", 1), ("skip", 1)]


def test_everything_is_resolved():
    protocol = toys.planned().specs[0].protocol
    assert protocol.setting.decoder.params["layers"] == 1
    assert protocol.setting.encoder.params == {"embedding": 3, "hidden": 4}
    assert protocol.dataset.params == {"documents": 24}
    metrics = {metric.name: metric.params for metric in protocol.setting.evaluation.metrics}
    assert metrics["active-units"] == {"threshold": 0.01}
    assert set(protocol.splits) == {"train", "valid", "test"}


def test_a_track_without_metrics_gets_the_default_set():
    protocol = toys.planned(settings=("evaluation.metrics=none",)).specs[0].protocol
    names = [metric.name for metric in protocol.setting.evaluation.metrics]
    assert names == list(default_metrics(TextSpec(2)))


def test_overrides_change_the_protocol_and_show_in_the_label():
    plain = toys.planned().specs[0].protocol
    changed = toys.planned(settings=("decoder.layers=2", "data.documents=16")).specs[0].protocol
    assert changed.protocol_id != plain.protocol_id
    assert changed.setting.decoder.params["layers"] == 2
    assert changed.track_label == "quick[data.documents=16,decoder.layers=2]"


def test_an_override_that_changes_nothing_is_the_same_protocol():
    plain = toys.planned().specs[0].protocol
    same = toys.planned(settings=("decoder.hidden=4", "optimizer.learning_rate=0.01")).specs[0].protocol
    assert same.protocol_id == plain.protocol_id
    assert same.track_label == "quick"


@pytest.mark.parametrize(
    "settings",
    [
        ("decoder=lstm[embedding=3,hidden=4,dropout=0.2,layers=2]",),
        ("decoder=lstm[ layers = 2, hidden=4, embedding=3, dropout=.2 ]",),
        ("decoder.layers=2",),
        ("decoder=lstm", "decoder.embedding=3", "decoder.hidden=4", "decoder.dropout=0.2", "decoder.layers=2"),
        ("decoder=lstm[embedding=3,hidden=4,dropout=0.2]", "decoder.layers=2"),
        ('decoder="lstm[embedding=3,hidden=4,dropout=0.2,layers=2]"',),
    ],
)
def test_a_network_in_one_word_is_the_same_protocol_as_its_parameters_one_by_one(settings):
    protocol = toys.planned(settings=settings).specs[0].protocol
    assert protocol.protocol_id == toys.planned(settings=("decoder.layers=2",)).specs[0].protocol.protocol_id
    again = tuple(f"{key}={print_value(value)}" for key, value in sorted(protocol.overrides.items()))
    assert toys.planned(settings=again).specs[0].protocol.protocol_id == protocol.protocol_id


def test_the_label_says_what_differs_from_the_track():
    def label(*settings):
        return toys.planned(settings=settings).specs[0].protocol.track_label

    assert label("decoder=lstm[embedding=3,hidden=4,dropout=0.2,layers=2]") == "quick[decoder.layers=2]"
    assert label("encoder=lstm[embedding=3,hidden=4]", "optimizer=adam[learning_rate=0.01]") == "quick"
    assert label("decoder=lstm[layers=2]") == "quick[decoder=lstm,decoder.layers=2]"


def test_a_part_that_is_named_has_its_defaults_for_what_is_not_said():
    setting = toys.planned(settings=("decoder=lstm[layers=2]", "optimizer=sgd[learning_rate=1,decay.factor=0.25]"))
    setting = setting.specs[0].protocol.setting
    assert setting.decoder.params["layers"] == 2
    assert setting.decoder.params["hidden"] == LSTMDecoder().hidden
    assert (setting.optimizer.name, setting.optimizer.decay.factor) == ("sgd", 0.25)


def test_metrics_can_be_listed_with_their_parameters():
    listed = toys.planned(settings=("evaluation.metrics=[kl, iw-nll[samples=7]]",)).specs[0].protocol
    metrics = listed.setting.evaluation.metrics
    assert [(metric.name, metric.params.get("samples")) for metric in metrics] == [("kl", None), ("iw-nll", 7)]
    assert listed.overrides == {"evaluation.metrics": ["kl", "iw-nll"], "evaluation.metrics.iw-nll.samples": 7}
    one_by_one = tuple(f"{key}={print_value(value)}" for key, value in listed.overrides.items())
    again = toys.planned(settings=one_by_one).specs[0].protocol
    assert (again.protocol_id, again.track_label) == (listed.protocol_id, listed.track_label)


def test_every_component_of_a_setting_can_be_named_with_its_parameters():
    settings = ("encoder=lstm[hidden=5]", "posterior=gaussian", "initialization=uniform[scale=0.5]")
    setting = toys.planned(settings=settings).specs[0].protocol.setting
    assert setting.encoder.params["hidden"] == 5
    assert setting.initialization.params == {"scale": 0.5}
    assert setting.posterior.name == "gaussian"


def test_several_requests_are_one_plan_seed_by_seed():
    one = Request(methods=("skip",), dataset="toy", seeds=(1, 2), name="one")
    two = Request(methods=("skip",), dataset="toy", seeds=(1, 2), settings=("decoder.layers=2",), baseline=False)
    components = toys.load()
    splits = toys.splits(components)
    both = plan([one, two, one], components, splits)
    layers = [(spec.seed, spec.contender.label, spec.protocol.setting.decoder.params["layers"]) for spec in both.specs]
    assert layers == [(seed, *rest) for seed in (1, 2) for rest in (("vae", 1), ("skip", 1), ("skip", 2))]
    assert both.protocol_names == {both.specs[0].protocol.protocol_id: "one"}
    assert splits.of(both.specs[0].protocol.dataset) is splits.of(both.specs[-1].protocol.dataset)
    shared = plan([one, replace(one, name="same"), two], components, splits)
    assert shared.protocol_names == {both.specs[0].protocol.protocol_id: "one and 1 more"}


def test_a_request_asks_for_its_protocol_on_whatever_data():
    request = Request(methods=(), dataset="toy", settings=("decoder.layers=2",))
    components = toys.load()
    resolved = plan([request], components, toys.splits(components))
    planned = resolved.specs[0].protocol
    elsewhere = planned.model_copy(update={"splits": dict.fromkeys(planned.splits, "other data")})
    assert elsewhere.protocol_id != planned.protocol_id
    assert asks_for(request, planned, components)
    assert asks_for(request, elsewhere, components)
    for other in (replace(request, settings=()), replace(request, budget="4steps")):
        assert not asks_for(other, planned, components)


def test_a_stored_spec_is_the_planned_one():
    spec = toys.planned("skip", settings=("decoder.layers=2",)).specs[1]
    assert RunSpec.model_validate_json(spec.model_dump_json()).run_id == spec.run_id


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dataset": "tot"}, "unknown dataset 'tot'. Did you mean 'toy'?"),
        ({"track": "quik"}, "dataset 'toy': unknown track 'quik'. Did you mean 'quick'?"),
        ({"budget": "many"}, "cannot read budget 'many'"),
        ({"budget": "0steps"}, "must be greater than zero"),
        ({"budget": "7examples"}, "is smaller than one step (8 examples)"),
        ({"seeds": (1, 2, 1)}, "seed '1' is given twice"),
        ({"settings": ("decoder.layer=2",)}, "decoder 'lstm': unknown parameter 'layer'. Did you mean 'layers'?"),
        ({"settings": ("decoder.layers=two",)}, "decoder 'lstm': layers: Input should be a valid integer"),
        ({"settings": ("optimizer.rate=2",)}, "unknown parameter 'optimizer.rate'"),
        ({"settings": ("optimizer.name=adamw",)}, "optimizer.name: String should match pattern"),
        (
            {"settings": ("latent_dims=2",)},
            "unknown parameter 'latent_dims'. Did you mean 'latent_dim'?",
        ),
        ({"settings": ("latent_dim=0",)}, "latent_dim: Input should be greater than 0, got 0"),
        ({"settings": ("latent_dim.x=0",)}, "setting 'latent_dim' is a value, it has no 'x'"),
        ({"settings": ("latent_dim=3", "latent_dim=4")}, "setting 'latent_dim' is given twice"),
        ({"settings": ("latent_dim",)}, "cannot read 'latent_dim': expected '='"),
        ({"settings": ("decoder=lstm[layer=2]",)}, "decoder 'lstm': unknown parameter 'layer'. Did you mean 'layers'?"),
        ({"settings": ("decoder=ltsm[layers=2]",)}, "unknown decoder 'ltsm'. Did you mean 'lstm'?"),
        (
            {"settings": ("decoder=lstm[layers=2",)},
            "cannot read 'decoder=lstm[layers=2': expected ',' or ']', got the end",
        ),
        ({"settings": ("decoder=lstm[layers=2]x",)}, "expected the end, got 'x'"),
        ({"settings": ("decoder=lstm[layers=2,layers=3]",)}, "'layers' is given twice"),
        ({"settings": ("decoder=lstm[name=lstm]",)}, "setting 'decoder' has two names: 'lstm' and 'lstm'"),
        ({"settings": ("decoder=lstm[layers=2]", "decoder.layers=3")}, "setting 'decoder.layers' is given twice"),
        ({"settings": ("decoder=lstm[layers=2]", "decoder=lstm")}, "setting 'decoder' is given twice"),
        (
            {"settings": ("decoder.layers=3", "decoder=lstm[hidden=4]")},
            "setting 'decoder.layers' is undone by 'decoder', which comes after it: give 'decoder' first",
        ),
        (
            {"settings": ("latent_dim=lstm[hidden=4]",)},
            "setting 'latent_dim' is no name with parameters; these are: encoder, decoder, posterior, initialization",
        ),
        ({"settings": ("evaluation.metrics=[kl[x=1]]",)}, "metric 'kl': unknown parameter 'x'"),
        ({"settings": ("evaluation.metrics=[kl,kl[x=1]]",)}, "metric 'kl' is given twice"),
        ({"settings": ("evaluation.metrics=[kl,kl]",)}, "metric 'kl' is given twice"),
        ({"settings": ("evaluation.metrics=[kl[x=1]",)}, "expected ',' or ']', got the end"),
        ({"settings": ("evaluation.metrics=[kl[x=1],[2]]",)}, "setting 'metrics' is a value, it has no 'kl.x'"),
        ({"settings": ("decoder=[lstm[layers=2]]",)}, "setting 'decoder' is no list of names with parameters"),
        ({"settings": ("data.pages=3",)}, "dataset 'toy': unknown parameter 'pages'"),
        ({"settings": ("decoder.name=gru",)}, "unknown decoder 'gru'"),
        ({"settings": ("evaluation.metrics.auc.x=1",)}, "unknown metric 'auc'"),
        ({"settings": ("evaluation.metrics.iw-nll.samples=0",)}, "metric 'iw-nll': samples: Input should be greater"),
        ({"baseline": False}, "nothing to run"),
    ],
)
def test_bad_requests_are_one_clear_line(given, expected):
    with pytest.raises(UsageError) as caught:
        toys.planned(**given)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_contender_twice_is_refused_however_it_is_written():
    with pytest.raises(UsageError, match="contender 'sa-vae' is given twice"):
        toys.planned("sa-vae", "sa-vae[steps=10]")


def test_planning_imports_no_torch():
    program = f"""
import sys
sys.path.insert(0, {str(toys.PLUGIN.parent)!r})
import toys
toys.planned("skip", "sa-vae", "kl-annealing", "no-latent")
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
