"""Posterior samples: by dropout with one mask for all examples, or of an ensemble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers import methods
from keepers.data import DensePool
from keepers.errors import KeepersError, ParameterError
from keepers.ledger import Tally
from keepers.methods import METHODS, as_posterior, choose
from keepers.models.posterior import sample_posterior
from keepers.scores import bald
from keepers.signals import extract, store
from keepers.training import Hardware
from keepers.types import EvalView, Signals

RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
POSTERIOR = {"posterior_log_probs"}


def view(n: int = 40) -> EvalView:
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=draw, dtype=torch.uint8)
    images[n // 2] = images[1]  # a copy, in another batch
    return EvalView(pool=DensePool(images))


def network(rate: float = 0.3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(rate),
            nn.Flatten(),
            nn.Dropout(rate),
            nn.Linear(256, 3),
        )


def posterior(module: nn.Module, seed: int = 0, batch_size: int = 7, samples: int = 4) -> Tensor:
    signals = extract(
        module,
        view(),
        runtime=RUNTIME,
        wanted=POSTERIOR,
        samples=samples,
        seed=seed,
        batch_size=batch_size,
    )
    assert signals.log_probs is None
    return signals.get("posterior_log_probs")


def test_the_seed_alone_decides_and_nothing_is_left_behind() -> None:
    module, pictures = network().train(), torch.ones(2, 1, 8, 8)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = posterior(module, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert all(part.training for part in module.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(module.eval()(pictures), network().eval()(pictures))  # no hook is left
    module.train()
    assert first.shape == (40, 4, 3)
    torch.testing.assert_close(first.exp().sum(-1), torch.ones(40, 4))
    torch.manual_seed(4)
    assert torch.equal(posterior(module, seed=5), first)
    assert not torch.equal(posterior(module, seed=6), first)


def test_a_sample_is_one_draw_of_the_weights_for_all_examples() -> None:
    module = network()
    found = posterior(module)
    torch.testing.assert_close(found[20], found[1])  # the copy
    assert not torch.allclose(found[1, 0], found[1, 1])
    for batch_size in (1, 40):
        torch.testing.assert_close(posterior(module, batch_size=batch_size), found)


def test_each_half_of_the_samples_drops_each_unit_as_often_as_the_rate_says() -> None:
    layer, inputs = nn.Dropout(0.2), torch.ones(2, 3000)
    found = sample_posterior(nn.Sequential(layer), lambda: layer(inputs), samples=10, seed=0)
    dropped = found[0] < found[0].mean(1, keepdim=True)  # (samples, units)
    first, second = dropped[:5], dropped[5:]
    assert bool((first.sum(0) == 1).all())
    assert bool((second.sum(0) == 1).all())
    # Which of the passes drops it is drawn for each unit and half by itself.
    passes = first.byte().argmax(0) * 5 + second.byte().argmax(0)
    torch.testing.assert_close(
        passes.bincount() / 3000, torch.full((25,), 0.04), atol=0.015, rtol=0
    )
    together = first.double() @ first.double().roll(1, 1).T / 3000  # neighbours, by pass
    torch.testing.assert_close(together, torch.full_like(together, 0.04), atol=0.015, rtol=0)


def test_the_masks_are_those_of_dropout() -> None:
    layer, inputs = nn.Dropout(0.25), torch.ones(3, 2000)
    passes = [
        sample_posterior(nn.Sequential(layer), lambda: layer(inputs), samples=2, seed=seed)
        for seed in range(4)
    ]
    for found in passes:
        # Logits are 0, or 4/3 where kept, so that log-probabilities have two values.
        assert len(found[0, 0].unique()) == 2
        kept = (found[0, 0] > found[0, 0].mean()).double().mean()
        assert abs(float(kept) - 0.75) < 0.04
        gap = found[0, 0].max() - found[0, 0].min()
        torch.testing.assert_close(gap, torch.tensor(4 / 3), atol=1e-5, rtol=0.0)
    channels, pictures = nn.Dropout2d(0.5), torch.ones(2, 500, 2, 2)

    def logits() -> Tensor:
        dropped = channels(pictures)
        assert torch.equal(dropped[0], dropped[1])
        assert torch.equal(dropped[:, :, 0, 0], dropped[:, :, 1, 1])
        assert 0.4 < float((dropped == 0).float().mean()) < 0.6
        return dropped[:, :, 0, 0]

    sample_posterior(nn.Sequential(channels), logits, samples=3, seed=0)


def test_the_mean_over_many_samples_comes_near_that_of_masks_for_each_example() -> None:
    module = network(rate=0.2).eval()
    (inputs,) = view().pool.gather(torch.arange(40))
    shared = posterior(module, samples=400).exp().mean(1)
    for part in module.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        own = torch.stack([F.softmax(module(inputs), 1) for _ in range(400)]).mean(0)
    torch.testing.assert_close(shared, own, atol=0.05, rtol=0.0)


def test_all_passes_are_booked_and_plain_signals_are_as_without() -> None:
    module = network()
    alone, both, sampled = Tally(), Tally(), Tally()
    wanted = {"log_probs", "features"}
    plain = extract(module, view(), runtime=RUNTIME, wanted=wanted, tally=alone)
    signals = extract(
        module, view(), runtime=RUNTIME, wanted=wanted | POSTERIOR, samples=4, tally=both
    )
    extract(module, view(), runtime=RUNTIME, wanted=POSTERIOR, samples=4, tally=sampled)
    assert alone.flops > 0
    assert both.flops == 5 * alone.flops
    assert sampled.flops == 4 * alone.flops
    assert alone.examples == both.examples == sampled.examples == 40
    for name in wanted:
        assert torch.equal(signals.get(name), plain.get(name))


def test_a_large_posterior_is_mapped_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = posterior(network())
    monkeypatch.setattr(store, "LARGE_BYTES", 1000)
    extract(
        network(),
        view(),
        runtime=RUNTIME,
        wanted=POSTERIOR,
        samples=4,
        batch_size=7,
        folder=tmp_path,
    )
    assert torch.equal(store.read(tmp_path)["posterior_log_probs"], expected)


def test_a_model_that_cannot_be_sampled_is_refused_with_a_remedy() -> None:
    remedy = r"mlp with the option dropout=0\.1, or an ensemble"
    with pytest.raises(ParameterError, match=f"model: .* no dropout layer.* {remedy}"):
        posterior(network(rate=0.0))
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    module[1].register_module("idle", nn.Dropout(0.5))  # there, and never asked
    with pytest.raises(ParameterError, match="dropout changes nothing here"):
        posterior(module)
    with pytest.raises(ParameterError, match="samples: got 0"):
        posterior(network(), samples=0)
    broken = network().train()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(KeepersError, match="gives NaN"):
        posterior(broken)
    assert broken.training


# An ensemble instead


def ensemble(num: int = 3, n: int = 30) -> list[Signals]:
    return [
        Signals(
            log_probs=torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(
                -1
            )
        )
        for seed in range(num)
    ]


def test_the_predictions_of_an_ensemble_are_posterior_samples() -> None:
    members = ensemble()
    joined = as_posterior(members)
    for number, member in enumerate(members):
        assert torch.equal(joined.get("posterior_log_probs")[:, number], member.get("log_probs"))
    scores = methods.score(METHODS["bald"], [joined])
    assert torch.equal(scores, bald(joined.get("posterior_log_probs")))
    assert torch.equal(methods.score(METHODS["bald"], members), scores)
    with pytest.raises(KeepersError, match="'posterior_log_probs' is missing"):
        methods.score(METHODS["bald"], members[:1])
    with pytest.raises(ParameterError, match=r"members: got 1\. Give an ensemble of 2"):
        as_posterior(members[:1])


@pytest.mark.parametrize("name", ["bald", "batch-bald", "mc-entropy"])
def test_members_with_dropout_have_their_samples_joined(name: str) -> None:
    samples = [as_posterior(ensemble(4)), as_posterior(ensemble(6))]
    whole = replace(
        samples[0],
        posterior_log_probs=torch.cat([part.get("posterior_log_probs") for part in samples], 1),
    )
    for seed in range(2):
        together, apart = (
            choose(METHODS[name], members, 5, generator=torch.Generator().manual_seed(seed))[0]
            for members in ([whole], samples)
        )
        assert torch.equal(together.positions, apart.positions)


def test_badge_and_cluster_margin_take_an_ensemble_as_one_model() -> None:
    draw = torch.Generator().manual_seed(0)
    members = [replace(part, features=torch.randn(30, 3, generator=draw)) for part in ensemble()]
    mean = torch.stack([part.get("log_probs").exp() for part in members]).mean(0).log()
    features = torch.cat([part.get("features") for part in members], 1)
    one = Signals(log_probs=mean, features=features)
    for name in ("badge", "cluster-margin"):
        together, apart = (
            choose(METHODS[name], given, 6, generator=torch.Generator().manual_seed(2))[0]
            for given in ([one], members)
        )
        assert torch.equal(together.positions, apart.positions), name
