"""SVI in its three uses: equalities that hold for every decoder family. (The authors' numbers: golden/.)"""

import pytest
import tiny
import torch
from pydantic import ValidationError

from collapsebench.inference.amortized import Amortized
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.sa_vae import HVP, SAVAE, SVI, VAESVI, Clip, EncoderLoss, StepSize

families = pytest.mark.parametrize("family", list(tiny.FAMILIES))


class FinalNoise(SeededNoise):
    """Noise whose child "final" is itself: where plain training draws z, SA-VAE draws that of its last sample."""

    def child(self, *labels):
        return self if labels == ("final",) else super().child(*labels)


def trained(method, family, noise=None, methods=None):
    """Terms and gradients of one training step."""
    model = tiny.vae(family, [method] if methods is None else methods)
    objective = Objective(SeededNoise(5) if noise is None else noise)
    terms = method.gradients(model, tiny.examples(family), objective)
    return terms, tiny.gradients(model)


@families
@pytest.mark.parametrize("hvp", list(HVP))
def test_without_steps_it_is_the_plain_vae(family, hvp):
    plain_terms, plain = trained(Amortized(), family, FinalNoise(5), methods=[])
    terms, found = trained(SAVAE(steps=0, hvp=hvp), family, FinalNoise(5))
    torch.testing.assert_close(terms.loss, plain_terms.loss)
    torch.testing.assert_close(found, plain)


def norms(method, family):
    """Norm of what every example's first step follows, mean and log-variance together."""
    model, x = tiny.vae(family, [method]), tiny.examples(family)
    objective = Objective(SeededNoise(5))
    noise = objective.noise.child("svi", 0)
    gradient = objective.gradient(model, x, model.encode(x).detach(), noise).posterior
    scale = len(x) if method.step_size is StepSize.PER_EXAMPLE else 1
    return scale * gradient.movedim(1, 0).flatten(1).norm(dim=1)


def biting(family, step_size=StepSize.BATCH_MEAN):
    """A norm that the first steps of some examples exceed, and of others do not."""
    return float(norms(SAVAE(step_size=step_size), family).sort().values[:2].mean())


@families
@pytest.mark.parametrize("clip", [Clip.OFF, Clip.STEP])
@pytest.mark.parametrize("step_size", list(StepSize))
def test_exact_and_finite_difference_agree(family, step_size, clip):
    settings = {"steps": 3, "learning_rate": 0.1, "learning_rate_logvar": 0.05, "step_size": step_size}
    settings |= {"clip": clip, "clip_norm": biting(family, step_size)}
    _, exact = trained(SAVAE(**settings), family)
    _, difference = trained(SAVAE(**settings, hvp=HVP.FINITE_DIFFERENCE, epsilon=1e-6), family)
    for name, expected in exact.items():
        torch.testing.assert_close(
            difference[name], expected, rtol=1e-4, atol=1e-6 + 1e-4 * float(expected.abs().max())
        )


@families
@pytest.mark.parametrize("clip", [Clip.OFF, Clip.STEP])
def test_the_exact_gradient_is_the_derivative_of_the_refined_loss(family, clip):
    """Against central differences of the whole K-step procedure along one direction of all parameters."""
    method = SAVAE(steps=2, learning_rate=0.2, clip=clip, clip_norm=biting(family))
    model, x = tiny.vae(family, [method]), tiny.examples(family)
    objective = Objective(SeededNoise(5))
    method.gradients(model, x, objective)
    found = tiny.gradients(model)
    generator = torch.Generator().manual_seed(9)
    direction = {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in model.named_parameters()}

    def move(shift):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(shift * direction[name])

    def loss_at(shift):
        move(shift)
        refined = method.refine(model, x, model.encode(x).detach(), objective)
        loss = objective(model, x, refined, objective.noise.child("final")).loss.detach()
        move(-shift)
        return loss

    step = 1e-5
    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    torch.testing.assert_close(
        slope, sum((found[name] * direction[name]).sum() for name in found), rtol=1e-5, atol=1e-7
    )


@families
def test_refinement_improves_the_elbo_and_leaves_the_model_alone(family):
    method = VAESVI(steps=40, learning_rate=0.05, momentum=0.0, step_size=StepSize.PER_EXAMPLE)
    model, x = tiny.vae(family, [method]).eval(), tiny.examples(family)
    refined = method.posterior(model, x, SeededNoise(1))
    plain = Objective(SeededNoise(2), training=False)
    draws = range(40)
    before = sum(plain(model, x, model.encode(x), SeededNoise(d)).loss for d in draws)
    after = sum(plain(model, x, refined, SeededNoise(d)).loss for d in draws)
    assert after < before
    assert not refined.mean.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_batch_mean_step_shrinks_with_the_batch_and_the_per_example_step_does_not():
    x = tiny.examples("linear", 4)
    one, four = x[:1], x

    def first_mean(method, data):
        model = tiny.vae("linear", [method])
        start = model.encode(data).detach()
        noise = _Zero()
        return method.refine(model, data, start, Objective(noise)).mean[0] - start.mean[0]

    released, own = (SVI(steps=1, step_size=step_size, clip=Clip.OFF) for step_size in StepSize)
    torch.testing.assert_close(first_mean(released, one), 4 * first_mean(released, four))
    torch.testing.assert_close(first_mean(own, one), first_mean(own, four))


class _Zero:
    """No noise at all."""

    def child(self, *labels):
        return self

    def normal(self, shape, like):
        return like.new_zeros(shape)

    uniform = normal


def test_svi_needs_no_encoder_and_trains_the_decoder_only():
    method = SVI(steps=2)
    terms, found = trained(method, "lstm")
    assert {name.split(".")[0] for name in found} == {"decoder"}
    assert any(gradient.abs().max() > 0 for gradient in found.values())
    assert terms.kl.shape == (3, 2)


@pytest.mark.parametrize("loss", list(EncoderLoss))
def test_vae_svi_trains_the_encoder_by_its_own_loss(loss):
    _, found = trained(VAESVI(steps=3, encoder_loss=loss), "mlp")
    assert all(gradient.abs().max() > 0 for name, gradient in found.items() if name.startswith("encoder"))


def test_released_clipping_bounds_every_step():
    free = SVI(steps=1, learning_rate=1.0, step_size=StepSize.PER_EXAMPLE, clip=Clip.OFF)
    clipped = SVI(steps=1, learning_rate=1.0, clip=Clip.AS_RELEASED, clip_norm=1e-3)
    model, x = tiny.vae("mlp"), tiny.examples("mlp")
    start, objective = model.encode(x).detach(), Objective(SeededNoise(0))
    moved = clipped.refine(model, x, start, objective)
    torch.testing.assert_close(
        (moved.mean - start.mean).norm(), torch.tensor(1e-3, dtype=torch.float64), rtol=1e-2, atol=0
    )
    assert (free.refine(model, x, start, objective).mean - start.mean).norm() > 1e-2


@families
@pytest.mark.parametrize("step_size", list(StepSize))
def test_clipping_leaves_short_steps_and_bounds_the_others(family, step_size):
    limit = biting(family, step_size)
    method = VAESVI(steps=1, clip_norm=limit, step_size=step_size)
    found = norms(method, family)
    model, x = tiny.vae(family, [method]), tiny.examples(family)
    start, objective = model.encode(x).detach(), Objective(SeededNoise(5))

    def moves(chosen):
        step = chosen.refine(model, x, start, objective).parameters - start.parameters
        return step.movedim(1, 0).flatten(1)

    clipped, free = moves(method), moves(method.model_copy(update={"clip": Clip.OFF}))
    torch.testing.assert_close(clipped.norm(dim=1), found.clamp(max=limit))
    torch.testing.assert_close(clipped[found < limit], free[found < limit])
    assert (found < limit).any()
    assert (found > limit).any()


def test_clipping_does_not_depend_on_the_other_examples():
    method = SVI(steps=2, clip_norm=0.05, step_size=StepSize.PER_EXAMPLE)
    x = tiny.examples("linear", 4)
    model = tiny.vae("linear", [method])
    alone, together = (
        method.refine(model, data, model.encode(data).detach(), Objective(_Zero())).mean[0] for data in (x[:1], x)
    )
    torch.testing.assert_close(alone, together)


def test_released_clipping_needs_finite_differences():
    with pytest.raises(ValidationError, match="needs hvp=finite-difference"):
        SAVAE(clip=Clip.AS_RELEASED)


@families
def test_no_latent_is_the_decoder_alone(family):
    method = NoLatent()
    model = tiny.vae(
        family,
        [
            method,
        ],
    )
    assert model.encode(tiny.examples(family)).mean.shape == (3, 0)
    terms = method.inference().gradients(model, tiny.examples(family), Objective(SeededNoise(0)))
    assert terms.kl.shape == (3, 0)
    torch.testing.assert_close(terms.loss, terms.reconstruction.mean())
