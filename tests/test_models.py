from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from keepers.errors import KeepersError, ParameterError
from keepers.models import (
    CLASSIFIERS,
    MODELS,
    FeatureTap,
    Normalised,
    Recipe,
    count_flops,
    create,
    default_proxy,
    default_recipe,
)
from keepers.models.huggingface import TextClassifier, build_encoder
from keepers.random import isolated
from keepers.types import DataInfo, EncoderSpec, Model
from recipes.networks.vdcnn import VDCNN, k_max

CIFAR = DataInfo(kind="image", shape=(3, 32, 32), num_classes=10)
MNIST = DataInfo(kind="image", shape=(1, 28, 28), num_classes=10)
DIGITS = DataInfo(kind="image", shape=(1, 8, 8), num_classes=10)
REVIEWS = DataInfo(kind="text", shape=(), num_classes=2)
FLOWERS = DataInfo(kind="vector", shape=(4,), num_classes=3)

VDCNNS = "recipes.networks.vdcnn:vdcnn"
SMALL: dict[str, dict[str, Any]] = {
    **{f"resnet{depth}": {"width": 0.125} for depth in (18, 34, 50)},
    "small-cnn": {"width": 0.25},
    "mlp": {"hidden": (16, 8)},
    "fasttext": {"buckets": 64, "dim": 6},
    VDCNNS: {"width": 0.125, "length": 64, "hidden": 24},
    **{f"preact{d}": {"width": 0.25} for d in (8, 14, 20, 56, 110, 164)},
}
WIDTHS = {
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 256,
    "small-cnn": 64,
    "mlp": 8,
    "fasttext": 6,
    "preact164": 64,
    **{f"preact{d}": 16 for d in (8, 14, 20, 56, 110)},
    VDCNNS: 24,
}


def info_for(name: str) -> DataInfo:
    return REVIEWS if name in ("fasttext", VDCNNS) else CIFAR


def small(name: str, info: DataInfo | None = None, seed: int = 0) -> Model:
    return create(name, info or info_for(name), seed=seed, options=SMALL.get(name, {}))


def inputs_for(model: Model, info: DataInfo, n: int = 3) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(1)
    spec = model.encoder
    if spec.scheme == "hashed":
        counts = torch.arange(1, n + 1)
        offsets = counts.cumsum(0) - counts
        indices = torch.randint(spec.buckets, (int(counts.sum()),), generator=draw)
        return indices, offsets, (1 / counts).repeat_interleave(counts)
    if spec.scheme == "characters":
        return (torch.randint(256, (n, spec.length), generator=draw),)
    if spec.scheme == "tokens":
        return torch.randint(2, 30, (n, 7), generator=draw), torch.ones(n, 7, dtype=torch.int64)
    if info.kind == "image":
        assert spec.size is not None
        assert spec.channels is not None
        pictures = torch.rand(n, spec.channels, *spec.size, generator=draw)
        return (pictures.to(memory_format=torch.channels_last),)
    return (torch.rand(n, *info.shape, generator=draw),)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def layers(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [each for each in module.modules() if isinstance(each, kinds)]


# The table


def test_the_table_holds_every_promised_model() -> None:
    assert set(MODELS) == {
        *(f"preact{depth}" for depth in (8, 14, 20, 56, 110, 164)),
        *(f"resnet{depth}" for depth in (18, 34, 50)),
        *("small-cnn", "mlp", "logistic", "fasttext"),
    }
    for name, row in MODELS.items():
        assert row.name == name
        assert row.summary
        assert row.paper
        assert default_recipe(name) is row.defaults


@pytest.mark.parametrize("name", [*MODELS, VDCNNS])
def test_gives_finite_logits_and_gradients_everywhere_in_float32_and_bfloat16(name: str) -> None:
    info = info_for(name)
    model = small(name)
    inputs = inputs_for(model, info)
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = model.module(*inputs)
        assert logits.shape == (3, info.num_classes)
        assert logits.isfinite().all()
    loss = nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 1]))
    loss.backward()
    for parameter in model.module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", ["preact8", "resnet18", "small-cnn", "mlp", "fasttext", VDCNNS])
def test_learns_a_few_examples_by_heart(name: str) -> None:
    info = info_for(name)
    model = small(name)
    inputs, labels = inputs_for(model, info, n=8), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    if info.kind == "image":
        inputs[0][labels == 1] -= 1
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
    loss = torch.tensor(torch.inf)
    with isolated(0, "dropout"):
        for _ in range(40):
            loss = nn.functional.cross_entropy(model.module(*inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.5 * math.log(2)


@pytest.mark.parametrize("name", [*MODELS, VDCNNS])
def test_the_seed_decides_the_weights_and_global_state_is_untouched(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = small(name, seed=3).module
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = small(name, seed=3).module, small(name, seed=4).module
    same = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    different = zip(first.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in different)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("preact20", 0.27),
        ("preact56", 0.85),
        ("preact110", 1.7),
        ("preact164", 1.7),
        ("resnet18", 11.17),
        ("small-cnn", 0.54),
    ],
)
def test_parameter_counts_are_those_of_the_literature(name: str, millions: float) -> None:
    count = count_parameters(create(name, CIFAR, seed=0).module) / 1e6
    assert count == pytest.approx(millions, rel=0.02)


def test_parameter_counts_by_hand() -> None:
    assert count_parameters(create("logistic", CIFAR, seed=0).module) == 3072 * 10 + 10
    mlp = create("mlp", MNIST, seed=0).module
    assert count_parameters(mlp) == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    fasttext = create("fasttext", REVIEWS, seed=0, options={"buckets": 100}).module
    assert count_parameters(fasttext) == 100 * 10 + 10 * 2 + 2
    tiny = create("preact8", CIFAR, seed=0).module
    stages = 2 * 9 * 16 * 16 + 9 * (16 * 32 + 32 * 32) + 9 * (32 * 64 + 64 * 64)
    shortcuts, norms = 16 * 32 + 32 * 64, 2 * (16 + 16 + 16 + 32 + 32 + 64 + 64)
    assert count_parameters(tiny) == 9 * 3 * 16 + stages + shortcuts + norms + 64 * 10 + 10


@pytest.mark.parametrize("depth", [8, 14, 20, 56, 110, 164])
def test_the_name_of_a_residual_network_counts_its_layers(depth: int) -> None:
    module = small(f"preact{depth}").module
    convolutions = layers(module, nn.Conv2d)
    counted = [c for name, c in module.named_modules() if c in convolutions and "short" not in name]
    assert len(counted) + len(layers(module, nn.Linear)) == depth


@pytest.mark.parametrize("depth", [9, 17, 29, 49])
def test_the_depth_of_a_vdcnn_counts_its_convolutions(depth: int) -> None:
    module = create(VDCNNS, REVIEWS, seed=0, options={**SMALL[VDCNNS], "depth": depth}).module
    assert len(layers(module, nn.Conv1d)) == depth


def test_depths_of_vdcnn_differ_by_the_parameters_of_its_paper() -> None:
    counts = {
        depth: sum(count_parameters(c) for c in layers(VDCNN(32, 2, depth=depth), nn.Conv1d)) / 1e6
        for depth in (9, 17, 29, 49)
    }
    assert counts[17] - counts[9] == pytest.approx(4.3 - 2.2, abs=0.1)
    assert counts[29] - counts[17] == pytest.approx(4.6 - 4.3, abs=0.1)
    assert counts[49] - counts[29] == pytest.approx(7.8 - 4.6, abs=0.1)


def test_preact_halves_the_picture_twice_and_bottlenecks_give_256_features() -> None:
    module = create("preact164", CIFAR, seed=0).module
    sizes: list[torch.Size] = []
    for conv in (layers(module, nn.Conv2d)[0], layers(module, nn.Conv2d)[-1]):
        conv.register_forward_hook(lambda _, __, out: sizes.append(out.shape))
    with torch.no_grad(), FeatureTap(module) as tap:
        module.eval()(torch.rand(1, 3, 32, 32))
        assert sizes == [(1, 16, 32, 32), (1, 256, 8, 8)]
        assert tap.features.shape == (1, 256)


@pytest.mark.parametrize("info", [DIGITS, MNIST, CIFAR], ids=lambda info: str(info.shape))
@pytest.mark.parametrize("name", [n for n, row in MODELS.items() if "image" in row.kinds])
def test_models_for_pictures_take_any_small_size(name: str, info: DataInfo) -> None:
    model = small(name, info)
    assert model.encoder.size == info.shape[1:]
    assert model.encoder.channels == info.shape[0]
    assert model.encoder.normalise == "data"
    assert model.module(*inputs_for(model, info)).shape == (3, 10)


@pytest.mark.parametrize("size", [1, 2, 5, 21, 22, 23, 40])
def test_small_cnn_fits_its_linear_layer_to_the_picture(size: int) -> None:
    info = DataInfo(kind="image", shape=(2, size, size + 3), num_classes=4)
    model = create("small-cnn", info, seed=0, options={"width": 0.1})
    assert model.module(torch.rand(2, 2, size, size + 3)).shape == (2, 4)


@pytest.mark.parametrize("name", ["mlp", "logistic"])
def test_dense_models_take_vectors(name: str) -> None:
    model = small(name, FLOWERS)
    assert model.encoder == EncoderSpec(kind="vector", normalise="data")
    assert model.module(*inputs_for(model, FLOWERS)).shape == (3, 3)


def test_the_perceptron_cuts_features_far_outside_of_the_data_and_no_pictures() -> None:
    module = create("mlp", FLOWERS, seed=0).module
    far, farthest = torch.tensor([[1e6, -1e6, 0.5, 0.0]]), torch.tensor([[10.0, -10.0, 0.5, 0.0]])
    assert torch.equal(module(far), module(farthest))
    assert not torch.equal(module(far), module(farthest / 2))
    assert module(torch.tensor([[math.nan] * 4])).isnan().all()
    for other in (create("logistic", FLOWERS, seed=0), create("mlp", DIGITS, seed=0)):
        picture = far if other.encoder.kind == "vector" else far[0, 0].expand(1, 1, 8, 8)
        assert not torch.equal(other.module(picture), other.module(picture.clamp(-10, 10)))


def test_width_multiplies_the_filters() -> None:
    double = create("preact8", CIFAR, seed=0, options={"width": 2}).module
    filters = [c.out_channels for c in layers(double, nn.Conv2d) if isinstance(c, nn.Conv2d)]
    assert set(filters) == {32, 64, 128}


def test_fasttext_is_the_weighted_sum_of_its_embeddings_by_hand() -> None:
    module = create("fasttext", REVIEWS, seed=0, options={"buckets": 4, "dim": 2}).module
    state = {
        "embedding.weight": torch.tensor([[1.0, 0], [0, 1], [2, 2], [9, 9]]),
        "classifier.weight": torch.tensor([[1.0, 0], [0, 2]]),
        "classifier.bias": torch.tensor([0.0, 1]),
    }
    module.load_state_dict(state)
    indices, offsets = torch.tensor([0, 1, 2]), torch.tensor([0, 2])
    logits = module(indices, offsets, torch.tensor([0.5, 0.5, 1.0]))
    assert logits.tolist() == [[0.5, 2.0], [2.0, 5.0]]


def test_k_max_keeps_the_order() -> None:
    x = torch.tensor([[[3.0, 9, 1, 7, 8], [5, 4, 3, 2, 1]]])
    assert k_max(x, 3).tolist() == [[[9.0, 7, 8], [5, 4, 3]]]


def test_vdcnn_by_default_has_the_sizes_of_its_paper() -> None:
    model = create(VDCNNS, REVIEWS, seed=0)
    assert model.encoder == EncoderSpec(kind="text", scheme="characters", length=1014)
    shapes = [
        (linear.in_features, linear.out_features)
        for linear in model.module.modules()
        if isinstance(linear, nn.Linear)
    ]
    assert shapes == [(4096, 2048), (2048, 2048), (2048, 2)]


# Names and options


def test_default_proxies() -> None:
    assert default_proxy(REVIEWS) == "linear"
    assert default_proxy(FLOWERS) == "tabular"
    assert default_proxy(REVIEWS, in_steps=True) == "fasttext"
    assert default_proxy(FLOWERS, in_steps=True) == "mlp"
    assert default_proxy(CIFAR) == "preact8"
    for info in (REVIEWS, FLOWERS, CIFAR, MNIST, DIGITS):
        assert info.kind in {**MODELS, **CLASSIFIERS}[default_proxy(info)].kinds
        assert info.kind in MODELS[default_proxy(info, in_steps=True)].kinds


def test_an_unknown_model_is_answered_with_the_nearest_name() -> None:
    message = r"proxy: got 'resnet81', which is not known\. Did you mean 'resnet18'\? Known: boos"
    with pytest.raises(ParameterError, match=message):
        create("resnet81", CIFAR, seed=0, parameter="proxy")


@pytest.mark.parametrize(
    ("name", "info", "message"),
    [
        ("fasttext", CIFAR, "takes texts, but the data are pictures. For pictures: preact8, "),
        ("preact8", REVIEWS, "takes pictures, but the data are texts. For texts: fasttext"),
        ("resnet18", FLOWERS, "takes pictures, but the data are vectors. For vectors: mlp, log"),
        ("mlp", REVIEWS, "takes pictures or vectors, but the data are texts"),
    ],
)
def test_a_model_for_other_data_is_refused(name: str, info: DataInfo, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        create(name, info, seed=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("preact8", {"widht": 2}, "'widht', which is not known. Did you mean 'width'"),
        ("fasttext", {"depth": 2}, "Known: buckets, dim, ngrams"),
        ("logistic", {"width": 2}, "'logistic' takes none"),
        ("preact8", {"width": 0}, "width: got 0"),
        ("mlp", {"hidden": (8, 0)}, "hidden: got 0"),
        ("mlp", {"hidden": 8}, "hidden: got 8"),
        ("mlp", {"dropout": 1.0}, "dropout: got 1.0"),
        ("fasttext", {"dim": 0}, "dim: got 0"),
        ("fasttext", {"buckets": 2.5}, "buckets: got 2.5"),
        ("preact8", {"width": "wide"}, "width: got 'wide'"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        create(name, info_for(name), seed=0, options=options)


OWN = """
import torch
from torch import nn
from keepers.types import EncoderSpec, Model

NUMBER = 3

class Net(nn.Module):
    def __init__(self, info, width=4):
        super().__init__()
        self.head_of_mine = nn.Linear(width, info.num_classes)
        self.body = nn.Linear(info.shape[0], width)

    def forward(self, x):
        return self.head_of_mine(torch.relu(self.body(x)))

def text(info):
    model = nn.Sequential(nn.Embedding(256, 4), nn.Flatten(), nn.Linear(32, info.num_classes))
    spec = EncoderSpec(kind="text", scheme="characters", length=8)
    return Model(module=model, encoder=spec)

def nothing(info):
    return [1]

def only_module(info):
    return nn.Identity()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_models_for_tests.py").write_text(OWN)
    (tmp_path / "own_broken_import.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield "own_models_for_tests"
    assert sys.path == path
    sys.modules.pop("own_models_for_tests", None)


def test_a_module_of_the_user_beside_the_data(own: str) -> None:
    model = create(f"{own}:Net", FLOWERS, seed=0, options={"width": 7})
    again = create(f"{own}:Net", FLOWERS, seed=0, options={"width": 7})
    assert model.encoder == EncoderSpec(kind="vector", normalise="data")
    assert torch.equal(model.module.body.weight, again.module.body.weight)
    with FeatureTap(model.module) as tap:
        hidden = torch.relu(model.module.body(torch.ones(2, 4)))
        model.module(torch.ones(2, 4))
        assert torch.equal(tap.features, hidden)
    text = create(f"{own}:text", REVIEWS, seed=0)
    assert text.encoder.scheme == "characters"
    assert default_recipe(f"{own}:Net").optimizer == "adamw"


@pytest.mark.parametrize(
    ("name", "info", "options", "message"),
    [
        ("absent_package.x:f", FLOWERS, {}, "there is no module 'absent_package'"),
        ("own_models_for_tests.x:f", FLOWERS, {}, "there is no module 'own_models_for_tests.x'"),
        ("own_models_for_tests:Nett", FLOWERS, {}, "attribute: got 'Nett'.* Did you mean 'Net'"),
        ("own_models_for_tests:", FLOWERS, {}, "Give package.module:function"),
        ("own_models_for_tests:NUMBER", FLOWERS, {}, "is int, not a function"),
        ("own_models_for_tests:nothing", FLOWERS, {}, "returned list. Return a torch.nn.Module"),
        ("own_models_for_tests:only_module", REVIEWS, {}, "does not define how text is encoded"),
        ("own_models_for_tests:Net", FLOWERS, {"depth": 1}, "unexpected keyword argument 'depth'"),
    ],
)
def test_what_cannot_be_used_of_the_user_is_said(
    own: str, name: str, info: DataInfo, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=f"proxy.*{message}"):
        create(name, info, seed=0, options=options, parameter="proxy")


def test_an_import_that_fails_inside_the_users_module_names_cause_and_line(own: str) -> None:
    cause = r"No module named 'a_module_that_is_not_there' \(.*own_broken_import\.py, line 1\)"
    with pytest.raises(ParameterError, match=f"model: 'own_broken_import:f' failed: .*{cause}"):
        create("own_broken_import:f", FLOWERS, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"optimizer": "adam"},
        {"schedule": "stepwise"},
    ],
    ids=str,
)
def test_a_recipe_refuses_what_cannot_be_trained(change: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(change))):
        Recipe(**{"epochs": 1, "batch_size": 1, "lr": 0.1, **change})


# Features


@pytest.mark.parametrize("name", [*MODELS, VDCNNS])
def test_features_are_what_the_last_linear_layer_saw(name: str) -> None:
    info = info_for(name)
    model = small(name)
    module, inputs = model.module.eval(), inputs_for(model, info)
    last = layers(module, nn.Linear)[-1]
    hooks = [len(each._forward_pre_hooks) for each in module.modules()]
    with torch.no_grad(), FeatureTap(module) as tap:
        logits = module(*inputs)
        features = tap.features
        assert features.shape == (3, WIDTHS.get(name, 3 * 32 * 32))
        torch.testing.assert_close(last(features), logits)
        other = module(*inputs_for(model, info, n=5))
        torch.testing.assert_close(last(tap.features), other)
    assert hooks == [len(each._forward_pre_hooks) for each in module.modules()]


class Backwards(nn.Module):
    """Layers defined in another order than they run, one of them never, one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(3, 2)
        self.shared = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(3))
        self.unused = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(input=self.shared(self.shared(x)) * self.scale)


def test_features_follow_the_order_of_running_not_of_definition() -> None:
    module = Backwards()
    x = torch.rand(4, 3)
    with FeatureTap(module) as tap:
        module(x)
        assert torch.equal(tap.features, module.shared(module.shared(x)))
        assert not tap.features.requires_grad


def test_features_of_a_convolutional_head_are_flattened() -> None:
    head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 5, 1), nn.Flatten())
    with FeatureTap(head) as tap:
        head(torch.rand(2, 1, 4, 4))
        assert tap.features.shape == (2, 2 * 2 * 2)


class Everywhere(nn.Module):
    """A linear layer at each position, of whose outputs a function makes one."""

    def __init__(self, pool: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.pool = nn.Linear(3, 2), pool

    def forward(self, x: Tensor) -> Any:
        return self.pool(self.layer(x))


def test_features_of_a_layer_at_each_position_are_what_the_output_came_from() -> None:
    # By chance a maximum can come from one position; with this seed none does.
    torch.manual_seed(0)
    x = torch.rand(2, 6, 3)
    rows, places = torch.arange(2), torch.tensor([4, 1])
    cases: list[tuple[Callable[[Tensor], Any], Tensor]] = [
        (lambda z: z[rows, places], x[rows, places]),
        (lambda z: {"logits": z[rows, places]}, x[rows, places]),
        (lambda z: z.mean(1), x.mean(1)),
    ]
    for pool, expected in cases:
        module = Everywhere(pool)
        with FeatureTap(module) as tap:
            module(x)
            assert torch.equal(tap.features, expected)
    for refused in (lambda z: z, lambda z: z.amax(1), lambda z: z.mean(1).softmax(1)):
        module = Everywhere(refused)
        with FeatureTap(module) as tap:
            module(x)
            with pytest.raises(KeepersError, match=r"at 6 positions .* Pool the positions"):
                _ = tap.features


DECODER = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_labels": 3,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("GPT2", {**GPT2, "num_labels": 3, "pad_token_id": 0}),
        ("Llama", DECODER),
        ("Qwen2", DECODER),
        ("Bert", {**DECODER, "hidden_dropout_prob": 0.0}),
        (
            "DistilBert",
            {"vocab_size": 50, "dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2},
        ),
    ],
)
def test_features_of_text_classifiers_are_what_the_head_saw_whatever_the_batch(
    family: str, settings: dict[str, Any], side: str
) -> None:
    transformers = pytest.importorskip("transformers")
    with isolated(0, "weights"):
        config = getattr(transformers, f"{family}Config")(**settings)
        config.num_labels = 3
        whole = getattr(transformers, f"{family}ForSequenceClassification")(config).eval()
    head = layers(whole, nn.Linear)[-1]
    draw = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 50, (2 + number % 9,), generator=draw) for number in range(64)]

    def seen(batch_size: int, more: int) -> Tensor:
        found: list[Tensor] = []
        module = TextClassifier(whole)
        with torch.no_grad(), FeatureTap(module) as tap:
            for start in range(0, len(texts), batch_size):
                batch = texts[start : start + batch_size]
                width = more + max(map(len, batch))
                tokens = torch.zeros(len(batch), width, dtype=torch.int64)
                mask = torch.zeros_like(tokens)
                for row, text in enumerate(batch):
                    place = slice(width - len(text), None) if side == "left" else slice(len(text))
                    tokens[row, place], mask[row, place] = text, 1
                logits = module(tokens, mask)
                assert tap.features.shape == (len(batch), 16)
                torch.testing.assert_close(head(tap.features), logits)
                found.append(tap.features)
        return torch.cat(found)

    # Left padding moves the positions of a network that numbers them from the left.
    alone = seen(1, 0)
    if side == "right" or family in ("Llama", "Qwen2"):
        for batch_size, more in ((4, 0), (64, 0), (64, 5)):
            torch.testing.assert_close(seen(batch_size, more), alone, rtol=1e-4, atol=1e-5)
    else:
        seen(64, 5)


class Sometimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor, skip: bool = False) -> Tensor:
        return x if skip else self.layer(x)


def test_features_are_never_those_of_an_earlier_pass() -> None:
    module = Sometimes()
    with FeatureTap(module) as tap:
        with pytest.raises(KeepersError, match="no features were seen"):
            _ = tap.features
        module(torch.rand(2, 3))
        assert tap.features.shape == (2, 3)
        module(torch.rand(2, 3), skip=True)
        with pytest.raises(KeepersError, match="at least one layer with parameters"):
            _ = tap.features


# FLOPs and normalisation


def test_flops_by_hand() -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1)
    assert count_flops(conv, (torch.rand(1, 2, 5, 5),)) == 2 * 25 * 3 * 2 * 9
    model = create("fasttext", REVIEWS, seed=0, options={"buckets": 8, "dim": 4})
    inputs = torch.tensor([1, 2, 3]), torch.tensor([0, 1]), torch.ones(3)
    assert count_flops(model.module, inputs) == 2 * 3 * 4 + 2 * 2 * 4 * 2


def test_flops_of_attention() -> None:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert count_flops(Attend(), (torch.rand(2, 3, 5, 8),)) == 2 * (2 * 2 * 3 * 5 * 5 * 8)


def test_flops_grow_with_the_batch_and_leave_the_module_alone() -> None:
    module = small("preact8").module
    module.relu.eval()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    one = count_flops(module, (torch.rand(1, 3, 32, 32),))
    assert count_flops(module, (torch.rand(4, 3, 32, 32),)) == 4 * one
    assert module.training
    assert not module.relu.training
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


def test_published_flops() -> None:
    """He et al. count 41 million multiply-adds for ResNet-20, small-cnn is 29 times cheaper."""
    picture = (torch.rand(1, 3, 32, 32),)
    resnet20 = count_flops(create("preact20", CIFAR, seed=0).module, picture)
    assert resnet20 / 2e6 == pytest.approx(41, rel=0.03)
    resnet18 = count_flops(create("resnet18", CIFAR, seed=0).module, picture)
    small_cnn = count_flops(create("small-cnn", CIFAR, seed=0).module, picture)
    assert resnet18 / small_cnn == pytest.approx(29, rel=0.05)


def test_normalised_by_hand_for_pictures_and_vectors() -> None:
    pictures = torch.tensor([1.0, 2, 3, 4]).view(1, 2, 1, 2)
    module = Normalised(nn.Identity(), mean=(1, 3), std=(0.5, 2))
    expected = torch.tensor([0.0, 2, 0, 0.5]).view(1, 2, 1, 2)
    assert torch.equal(module(pictures), expected)
    assert torch.equal(module(torch.tensor([[2.0, 5.0]])), torch.tensor([[2.0, 1.0]]))
    assert set(module.state_dict()) == {"mean", "std"}
    many = torch.rand(2, 2, 4, 4).to(memory_format=torch.channels_last)
    assert module(many).is_contiguous(memory_format=torch.channels_last)


class Pair(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first, second])


def test_normalised_leaves_the_other_inputs_alone() -> None:
    one = torch.ones(2, 1)
    both = Normalised(Pair(), mean=(1.0,), std=(2.0,))(one, one)
    assert torch.equal(both, torch.stack([torch.zeros(2, 1), one]))


@pytest.mark.parametrize(("mean", "std"), [((1.0,), (1.0, 2.0)), ((1.0,), (0.0,))])
def test_normalised_refuses_bad_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    with pytest.raises(ParameterError, match="std: got"):
        Normalised(nn.Identity(), mean=mean, std=std)


# Transformers


TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
TINY_TEXT = {**TINY, "vocab_size": 32, "max_position_embeddings": 20}


def config_folder(folder: Path, family: str) -> str:
    transformers = pytest.importorskip("transformers")
    made = {
        "Bert": lambda: transformers.BertConfig(**TINY_TEXT),
        "Roberta": lambda: transformers.RobertaConfig(**TINY_TEXT),
        "Albert": lambda: transformers.AlbertConfig(**TINY_TEXT, embedding_size=8),
        "ViT": lambda: transformers.ViTConfig(**TINY, image_size=16, patch_size=8),
        "ResNet": lambda: transformers.ResNetConfig(
            embedding_size=4, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
        ),
    }[family]()
    made.save_pretrained(folder)
    return f"hf:{folder}"


FAMILIES = ("Bert", "Roberta", "Albert", "ViT", "ResNet")


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_from_a_local_configuration(tmp_path: Path, family: str) -> None:
    info = CIFAR if family in ("ViT", "ResNet") else REVIEWS
    before = torch.get_rng_state()
    model = create(config_folder(tmp_path, family), info, seed=0)
    again = create(f"hf:{tmp_path}", info, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(model.module.parameters(), again.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)

    module, inputs = model.module.eval(), inputs_for(model, info)
    with torch.no_grad(), FeatureTap(module) as tap:
        logits = module(*inputs)
        assert logits.shape == (3, info.num_classes)
        assert tap.features.shape == (3, 16)
        head = [layer for layer in layers(module, nn.Linear) if layer.in_features == 16]  # pyright: ignore
        torch.testing.assert_close(head[-1](tap.features), logits)
    if info is REVIEWS:
        assert model.encoder == EncoderSpec(
            kind="text", scheme="tokens", tokenizer=str(tmp_path), length=18
        )
    else:
        assert model.encoder.size == ((16, 16) if family == "ViT" else (32, 32))
        assert model.encoder.normalise == "data"
    assert count_flops(module, inputs) > 0


def test_transformers_weights_are_read_and_the_head_fitted_to_the_classes(tmp_path: Path) -> None:
    name = config_folder(tmp_path, "Bert")
    first = create(name, REVIEWS, seed=0).module
    first.module.bfloat16().save_pretrained(tmp_path)
    three = DataInfo(kind="text", shape=(), num_classes=3)
    for info in (REVIEWS, three):
        loaded = create(name, info, seed=9, options={"length": 5})
        weights = dict(loaded.module.named_parameters())
        key = "module.bert.encoder.layer.0.attention.self.query.weight"
        assert torch.equal(weights[key], dict(first.named_parameters())[key].float())
        assert weights[key].dtype == torch.float32
        assert loaded.encoder.length == 5
        assert loaded.module(*inputs_for(loaded, info)).shape == (3, info.num_classes)


def test_albert_learns_a_few_texts_by_heart(tmp_path: Path) -> None:
    """Its layers share their weights: two layers have the parameters of one."""
    transformers = pytest.importorskip("transformers")
    counts: list[int] = []
    for depth in (1, 2):
        config = transformers.AlbertConfig(
            **{**TINY_TEXT, "num_hidden_layers": depth}, embedding_size=8
        )
        config.save_pretrained(tmp_path)
        model = create(f"hf:{tmp_path}", REVIEWS, seed=0)
        counts.append(count_parameters(model.module))
    assert counts[0] == counts[1]
    inputs, labels = inputs_for(model, REVIEWS, n=6), torch.tensor([0, 1, 1, 0, 1, 0])
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
    loss = torch.tensor(torch.inf)
    with isolated(0, "dropout"):
        for _ in range(40):
            loss = nn.functional.cross_entropy(model.module.train()(*inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.5 * math.log(2)


def test_transformers_picture_statistics_come_from_the_processor(tmp_path: Path) -> None:
    name = config_folder(tmp_path, "ResNet")
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ConvNextImageProcessor", "do_normalize": true, '
        '"size": {"shortest_edge": 24}, "image_mean": [0.5, 0.4, 0.3], "image_std": [1, 2, 3]}'
    )
    grey = create(name, MNIST, seed=0)
    assert grey.encoder == EncoderSpec(
        kind="image",
        size=(24, 24),
        channels=3,
        normalise="fixed",
        mean=(0.5, 0.4, 0.3),
        std=(1, 2, 3),
    )
    assert create(name, MNIST, seed=0, options={"size": 12}).encoder.size == (12, 12)


@pytest.mark.parametrize(
    ("family", "info", "options", "message"),
    [
        ("Bert", FLOWERS, {}, "but the data are vectors"),
        ("Bert", CIFAR, {}, "must be a image|must be an image"),
        ("Bert", REVIEWS, {"lenght": 4}, "Did you mean 'length'"),
        ("Bert", REVIEWS, {"length": 0}, "length: got 0"),
        ("", REVIEWS, {}, "proxy: 'hf:.*cannot be loaded"),
    ],
)
def test_transformers_that_cannot_be_used(
    tmp_path: Path, family: str, info: DataInfo, options: dict[str, Any], message: str
) -> None:
    name = config_folder(tmp_path, family) if family else f"hf:{tmp_path}"
    with pytest.raises(ParameterError, match=message):
        create(name, info, seed=0, options=options, parameter="proxy")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", "without a name"),
        ("hf:./nowhere", "no such folder"),
        ("hf:~/no-", "no such folder"),
        ("hf:~nobody-of-that-name/it", "no such folder"),
    ],
)
def test_a_path_that_is_none_is_not_asked_for_on_the_hub(name: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"proxy: got 'hf:.*{message}"):
        create(name, REVIEWS, seed=0, parameter="proxy")
    with pytest.raises(ParameterError, match=f"proxy: got 'hf:.*{message}"):
        build_encoder(name.removeprefix("hf:"), REVIEWS, "proxy")


def test_the_table_is_made_without_transformers() -> None:
    script = "import sys, keepers.models; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
