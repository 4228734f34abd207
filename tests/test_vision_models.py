"""The networks for 32×32 pictures, those of the recipes too, against their papers."""

from __future__ import annotations

import inspect
import itertools
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from keepers.models import MODELS, count_flops, create, to_channels_last
from keepers.models.residual import ResidualBlock, ResidualBottleneck
from keepers.random import isolated
from keepers.types import DataInfo
from recipes.networks.densenet import DenseLayer
from recipes.networks.inception import Branches
from recipes.networks.layers import convolution
from recipes.networks.mobilenet import InvertedResidual

CIFAR = DataInfo(kind="image", shape=(3, 32, 32), num_classes=10)
OF_RECIPES = {
    "vgg11-bn": "recipes.networks.vgg:vgg11_bn",
    "googlenet": "recipes.networks.inception:googlenet",
    "inception-v3": "recipes.networks.inception:inception_v3",
    "densenet121": "recipes.networks.densenet:densenet121",
    "mobilenet-v2": "recipes.networks.mobilenet:mobilenet_v2",
}
NETWORKS = ("resnet18", "resnet34", "resnet50", *OF_RECIPES)


def full(name: str, num_classes: int = 10, channels: int = 3) -> nn.Module:
    """A network of full width without its weights."""
    info = DataInfo(kind="image", shape=(channels, 32, 32), num_classes=num_classes)
    with torch.device("meta"):
        return create(OF_RECIPES.get(name, name), info, seed=0).module


def small(name: str, shape: tuple[int, int, int] = (3, 32, 32)) -> nn.Module:
    info = DataInfo(kind="image", shape=shape, num_classes=10)
    return create(OF_RECIPES.get(name, name), info, seed=0, options={"width": 0.125}).module


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shapes_after(name: str, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, int]]:
    """Filters and side after each part of these kinds, for a 32×32 picture."""
    module, seen = full(name), list[tuple[int, int]]()

    def see(_: nn.Module, __: tuple[Tensor, ...], out: Tensor) -> None:
        seen.append((out.shape[1], out.shape[2]))

    for part in module.modules():
        if isinstance(part, kinds):
            part.register_forward_hook(see)
    with torch.no_grad():
        module(torch.empty(2, 3, 32, 32, device="meta"))
    return seen


@pytest.mark.parametrize(
    ("name", "millions", "classes"),
    [
        # The variants for CIFAR-10 that are in common use.
        ("resnet18", 11.17, 10),
        ("resnet34", 21.28, 10),
        ("resnet50", 23.52, 10),
        ("vgg11-bn", 9.23, 10),
        ("googlenet", 6.17, 10),
        ("inception-v3", 21.8, 10),
        ("densenet121", 6.96, 10),
        ("mobilenet-v2", 2.24, 10),
        # With 1,000 classes: Huang et al. 2017 give 7.98 (in their repository), Sandler et al.
        # 3.4 (in the paper; 3.5 counted exactly).
        ("densenet121", 7.98, 1000),
        ("mobilenet-v2", 3.5, 1000),
    ],
)
def test_parameters_are_those_of_the_known_variants(
    name: str, millions: float, classes: int
) -> None:
    assert count_parameters(full(name, classes)) / 1e6 == pytest.approx(millions, rel=0.004)


@pytest.mark.parametrize(
    ("name", "depth"), [("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("densenet121", 121)]
)
def test_the_name_counts_the_layers(name: str, depth: int) -> None:
    counted = [
        path
        for path, part in full(name).named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    assert len(counted) == depth


def test_vgg11_parameters_by_hand() -> None:
    filters = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(9 * a * b for a, b in itertools.pairwise(filters))
    expected = convolutions + 2 * sum(filters[1:]) + 512 * 10 + 10
    assert count_parameters(full("vgg11-bn")) == expected


def test_sides_and_filters_of_the_residual_stages() -> None:
    basic = [(64, 32), (128, 16), (256, 8), (512, 4)]
    for name, numbers in (("resnet18", (2, 2, 2, 2)), ("resnet34", (3, 4, 6, 3))):
        expected = [stage for stage, n in zip(basic, numbers, strict=True) for _ in range(n)]
        assert shapes_after(name, (ResidualBlock,)) == expected
    wide = [(256, 32)] * 3 + [(512, 16)] * 4 + [(1024, 8)] * 6 + [(2048, 4)] * 3
    assert shapes_after("resnet50", (ResidualBottleneck,)) == wide


def test_sides_of_vgg_halve_after_each_stage() -> None:
    assert shapes_after("vgg11-bn", (nn.MaxPool2d,)) == [
        (64, 16),
        (128, 8),
        (256, 4),
        (512, 2),
        (512, 1),
    ]


def test_filters_of_googlenet_are_the_output_sizes_of_its_paper() -> None:
    assert shapes_after("googlenet", (Branches,)) == [
        (256, 32),
        (480, 32),
        (512, 16),
        (512, 16),
        (512, 16),
        (528, 16),
        (832, 16),
        (832, 8),
        (1024, 8),
    ]


def test_filters_of_inception_v3_are_the_output_sizes_of_its_paper() -> None:
    seen = shapes_after("inception-v3", (Branches,))
    assert seen[:3] == [(256, 32), (288, 32), (288, 32)]
    assert seen[3:8] == [(768, 16)] * 5
    forks = [(768, 8), (768, 8)]  # the 1×3 beside the 3×1, twice in each of the last modules
    assert seen[8:] == [(1280, 8), *forks, (2048, 8), *forks, (2048, 8)]


def test_filters_of_densenet_grow_by_32_and_are_halved_between_blocks() -> None:
    seen = shapes_after("densenet121", (DenseLayer,))
    ends = [seen[index] for index in (0, 5, 6, 17, 18, 41, 42, 57)]
    assert len(seen) == 58
    assert ends == [
        *[(96, 32), (256, 32)],
        *[(160, 16), (512, 16)],
        *[(288, 8), (1024, 8)],
        *[(544, 4), (1024, 4)],
    ]


def test_filters_of_mobilenet_are_those_of_its_paper() -> None:
    seen = shapes_after("mobilenet-v2", (InvertedResidual,))
    assert seen == [
        (16, 32),
        *[(24, 32)] * 2,
        *[(32, 16)] * 3,
        *[(64, 8)] * 4,
        *[(96, 8)] * 3,
        *[(160, 4)] * 3,
        (320, 4),
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_and_any_channels_in_the_layout_they_came_in(name: str) -> None:
    for shape in ((1, 28, 28), (3, 64, 64), (4, 5, 7), (2, 1, 1)):
        module, moved = small(name, shape), list[nn.Module]()

        def check(
            part: nn.Module, _: tuple[Tensor, ...], out: Tensor, moved: list[nn.Module] = moved
        ) -> None:
            if out.ndim == 4 and not out.is_contiguous(memory_format=torch.channels_last):
                moved.append(part)

        for part in module.modules():
            part.register_forward_hook(check)
        pictures = torch.rand(2, *shape).to(memory_format=torch.channels_last)
        with torch.no_grad():
            logits = module(pictures)
        assert logits.shape == (2, 10)
        assert logits.isfinite().all()
        assert not moved


NARROWEST = """
import sys
import torch
from keepers.models import create
from keepers.types import DataInfo

for name in sys.argv[1:]:
    options = {"width": 1e-9}
    if "vdcnn" in name:
        info = DataInfo(kind="text", shape=(), num_classes=3)
        inputs = torch.randint(256, (5, 64))
        options |= {"hidden": 1, "length": 64}
    else:
        info = DataInfo(kind="image", shape=(3, 8, 8), num_classes=3)
        inputs = torch.rand(5, 3, 8, 8).to(memory_format=torch.channels_last)
    module = create(name, info, seed=0, options=options).module.train()
    for count in (5, 3, 2):
        module(inputs[:count]).square().sum().backward()
    module.eval()(inputs[:1]).square().sum().backward()
    print(name)
"""


def test_no_model_ends_the_process_however_narrow(pytestconfig: pytest.Config) -> None:
    built_in = [
        name for name, row in MODELS.items() if "width" in inspect.signature(row.build).parameters
    ]
    names = [*built_in, *OF_RECIPES.values(), "recipes.networks.vdcnn:vdcnn"]
    command = [sys.executable, "-c", NARROWEST, *names]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=pytestconfig.rootpath
    )
    assert done.returncode == 0, (done.returncode, done.stdout.splitlines()[-1:], done.stderr)
    assert done.stdout.splitlines() == names


@pytest.mark.parametrize("stride", [2, (1, 3)])
@pytest.mark.parametrize("channels", [3, 16])
def test_channels_last_changes_neither_outputs_nor_gradients(
    channels: int, stride: int | tuple[int, int]
) -> None:
    layer = nn.Conv2d(channels, 4, 1, stride).double()
    pictures = torch.rand(3, channels, 7, 8, dtype=torch.float64, requires_grad=True)
    expected = layer(pictures)
    wanted = torch.autograd.grad(expected.square().sum(), [pictures, *layer.parameters()])
    for _ in range(2):  # it may be asked for twice
        to_channels_last(layer)
        found = layer(pictures)
        grads = torch.autograd.grad(found.square().sum(), [pictures, *layer.parameters()])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        for got, want in zip(grads, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_learns_two_classes_by_heart(name: str) -> None:
    module = small(name, (3, 12, 12))
    pictures = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    pictures[labels == 1] -= 0.5
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    loss = torch.tensor(torch.inf)
    for _ in range(15):
        loss = nn.functional.cross_entropy(module(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * math.log(2)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet18", 556),
        ("resnet34", 1160),
        ("resnet50", 1300),
        ("vgg11-bn", 153),
        ("densenet121", 888),
        ("mobilenet-v2", 88),
    ],
)
def test_multiply_adds_by_the_strides_of_the_known_variants(name: str, millions: float) -> None:
    """A stride in another place changes no parameter, but the cost fourfold."""
    pictures = torch.empty(1, 3, 32, 32, device="meta")
    assert count_flops(full(name), (pictures,)) / 2e6 == pytest.approx(millions, rel=0.005)


def test_depthwise_convolutions_are_drawn_for_the_filters_an_input_meets() -> None:
    """He et al. 2015: a standard deviation of √(2 / (filters of a group · 9))."""
    with isolated(0, "test"):
        for groups in (1, 8, 64):
            weight = convolution(64, 64, 3, groups=groups).weight
            expected = math.sqrt(2 / (64 / groups * 9))
            assert weight.std().item() == pytest.approx(expected, rel=0.1)


def test_inverted_residuals_add_their_input_only_where_the_shape_is_kept() -> None:
    same = InvertedResidual(4, 4, expansion=2, stride=1)
    x = torch.rand(2, 4, 6, 6)
    for parameter in same.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(same(x), x)
    for filters, stride in ((5, 1), (4, 2)):
        other = InvertedResidual(4, filters, expansion=2, stride=stride)
        for parameter in other.parameters():
            nn.init.zeros_(parameter)
        assert not other(x).any()


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_targets_train_with_the_optimiser_of_the_paper(name: str) -> None:
    recipe = MODELS[name].defaults
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adamw", 1e-3, 0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_width_multiplies_the_filters_of_every_network(name: str) -> None:
    model = OF_RECIPES.get(name, name)
    narrow, wide = (
        create(model, CIFAR, seed=0, options={"width": width}).module for width in (0.0625, 0.125)
    )
    assert count_parameters(wide) > 3 * count_parameters(narrow)
