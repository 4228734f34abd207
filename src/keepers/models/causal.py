"""Causal language models of `transformers` (extra `hf`), and what they make of conversations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from keepers.errors import DataError, MissingExtraError, ParameterError
from keepers.files import fingerprint
from keepers.models.huggingface import check_place, load, loading, quiet
from keepers.models.identity import module_fingerprint
from keepers.models.outline import first_words
from keepers.models.turns import ASSISTANT, heading, named, plainly
from keepers.tasks.texts import THOUGHTS, is_learnt, spoken

LENGTH = 2048
"""Tokens at which a conversation is cut, where neither the model nor the user says less."""
CAUSAL = "a causal language model"
_PREFIX = "hf:"


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenSequence:
    """A conversation as tokens `ids` (length,), and which of them are `learnt`.

    `before` are the tokens that an answer stands after where it stands alone. `cut` says that the
    conversation was longer than the model reads, `changed` that the chat template leaves a turn out
    or writes it in another way.
    """

    ids: Tensor
    learnt: Tensor
    before: tuple[int, ...] = ()
    cut: bool = False
    changed: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ChatTokenizer:
    """What makes tokens of conversations.

    A conversation is at most `length` tokens long. `begin` is the token that a text begins with,
    `end` the one that it ends with, None where the model knows none.
    """

    tokenizer: Any
    length: int
    begin: int | None
    end: int | None = None

    @property
    def has_template(self) -> bool:
        """Whether chats have a template; else `plainly` writes them."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @cached_property
    def calls(self) -> Literal["plain", "named", "unknown"]:
        """Whether the template writes calls of tools, and only with ids (`named`).

        Those that it does not know are written into the turn.
        """
        call = {"type": "function", "function": {"name": "probe_of_calls", "arguments": {}}}
        turns: list[Mapping[str, Any]] = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]
        for found in ("plain", "named"):
            try:
                if "probe_of_calls" in self._templated(turns, None):
                    return found
            except DataError:
                pass
            turns = named(turns)
        return "unknown"

    @cached_property
    def heading(self) -> tuple[int, ...]:
        """The tokens before the answer of a chat that has no prompt: what announces the assistant.

        After the token that a chat begins with, where there is one.
        """
        asked = [{"role": "user", "content": "a"}]
        if self.has_template:
            try:
                chat = self._templated(asked, None)
                announced = self._templated(asked, None, begin=True)
            except DataError:
                chat = announced = ""
            told = announced[len(chat) :] if announced.startswith(chat) else ""
            begins = self._numbers(chat)[:1] == (self.begin,)
        else:
            told, begins = heading(ASSISTANT), True
        found = self._numbers(told)
        if self.begin is not None and (begins or not found) and found[:1] != (self.begin,):
            found = (self.begin, *found)
        return found

    def _numbers(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def sequence(self, conversation: Mapping[str, Any]) -> TokenSequence:
        """A conversation as tokens, those of the answers learnt.

        What no chat template writes begins and ends with the tokens for that, as in most trainers:
        a model that never learnt where an answer ends does not stop.

        What is longer than `length` is cut at the end; where no answer is left then, at the
        beginning of its prompt.

        Raises:
            DataError: the template refuses the conversation, or leaves an answer out.
        """
        text, spans = self._text(conversation)
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = np.array(found["input_ids"]), np.array(found["offset_mapping"])
        if not len(ids):
            raise DataError("it has no token")
        learnt = np.zeros(len(ids), dtype=bool)
        for start, stop in spans:
            learnt |= (offsets[:, 0] < stop) & (offsets[:, 1] > start)
        chat = "messages" in conversation
        plain = not chat or not self.has_template
        if plain and self.begin is not None:
            ids, learnt = np.append(self.begin, ids), np.append(False, learnt)
        if plain and self.end is not None and learnt[-1] and ids[-1] != self.end:
            ids, learnt = np.append(ids, self.end), np.append(learnt, True)
        learnt[:1] = False  # nothing stands before it
        if not learnt.any():
            raise DataError("its answer has no token with another before it")
        cut = len(ids) > self.length
        if cut:
            first = int(np.argmax(learnt))
            start = max(0, min(first - self.length // 2, len(ids) - self.length))
            start = 0 if first < self.length - 1 else start
            ids, learnt = (each[start : start + self.length] for each in (ids, learnt))
        turns = conversation.get("messages", ())
        begin = () if self.begin is None else (self.begin,)
        return TokenSequence(
            ids=torch.from_numpy(ids.astype(np.int32)),
            learnt=torch.from_numpy(learnt),
            before=self.heading if chat else begin,
            cut=cut,
            changed=any(
                each.get(key, "").strip() not in text
                for each in turns
                for key in ("content", *THOUGHTS)
            ),
        )

    def _text(self, conversation: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
        """A conversation as one text, and where its answers stand in it."""
        if "messages" not in conversation:
            prompt, completion = conversation["prompt"], conversation["completion"]
            return prompt + completion, [(len(prompt), len(prompt) + len(completion))]
        messages: Sequence[Mapping[str, Any]] = conversation["messages"]
        if not self.has_template:
            return plainly(messages)
        if self.calls == "named":
            messages = named(messages)
        elif self.calls == "unknown":
            messages = [
                {key: value for key, value in each.items() if key != "tool_calls"}
                | {"content": spoken(each)}
                for each in messages
            ]
        tools = conversation.get("tools")
        whole = self._templated(messages, tools)
        spans: list[tuple[int, int]] = []
        for place, turn in enumerate(messages):
            if is_learnt(turn):
                span = self._span(whole, messages[: place + 1], tools, spans[-1][1] if spans else 0)
                spans += [span] if span else []
        if not spans:
            raise DataError("the chat template leaves the answers out")
        return whole, spans

    def _span(
        self, whole: str, messages: Sequence[Mapping[str, Any]], tools: Any, at: int
    ) -> tuple[int, int] | None:
        """Where the last of the messages stands in the whole conversation, from `at` on.

        With what the template writes after it. None where the template leaves it out.
        """
        earlier = messages[:-1]
        before = self._templated(earlier, tools, begin=True) if earlier else ""
        upto = self._templated(messages, tools)
        known = bool(earlier) and whole.startswith(before)
        if known and len(before) < len(upto) and whole.startswith(upto):
            return len(before), len(upto)
        # The template writes earlier turns in another way than the last, or asks for an answer in
        # another way than it writes one.
        start = len(before) if known else 0
        if earlier and not known:
            start = _shared(whole, self._templated(earlier, tools))
        said = messages[-1]["content"].strip()
        start = whole.find(said, max(at, start)) if said else -1
        if start < 0:
            return None
        stop, after = start + len(said), upto[upto.rfind(said) + len(said) :]
        return start, stop + len(after) if whole.startswith(after, stop) else stop

    def _templated(
        self, messages: Sequence[Mapping[str, Any]], tools: Any, *, begin: bool = False
    ) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                [dict(each) for each in messages],
                tools=tools,
                tokenize=False,
                add_generation_prompt=begin,
            )
        except Exception as error:  # templates raise whatever they like
            raise DataError(f"the chat template refuses it: {first_words(error)}") from None


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModel(ChatTokenizer):
    """A causal language model with its tokenizer."""

    module: nn.Module

    @property
    def fingerprint(self) -> str:
        """Of the weights, the tokens, the template, and the length."""
        template = str(getattr(self.tokenizer, "chat_template", None))
        probe = {"prompt": "The quick brown", "completion": " fox: 1 + 1 = 2."}
        written = self.sequence(probe).ids.tolist()
        return fingerprint([module_fingerprint(self.module), template, written, self.length])


def _shared(one: str, two: str) -> int:
    """The length of the prefix that both have in common."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(two)))


def language_model(name: str, parameter: str, *, length: int | None = None) -> LanguageModel:
    """A causal language model from a folder, a GGUF file (its weights in float32) or a hub name.

    Args:
        name: `hf:PATH`.
        parameter: what errors call it.
        length: tokens at which a conversation is cut; at most what the model can read.

    Raises:
        MissingExtraError: `transformers` is not installed, or `gguf` for such a file.
        ParameterError: nothing that can be loaded, a tokenizer that does not say where its tokens
            stand, or of another vocabulary than the model.
    """
    path, gguf = _place(name, parameter, length)
    import transformers

    module, config, source = load(
        path, parameter, transformers.AutoModelForCausalLM, CAUSAL, gguf=gguf
    )
    found = _tokenizer(name, parameter, source, config, gguf, length)
    module.eval()
    if not _is_causal(module):
        raise ParameterError(
            parameter,
            f"'{name}' is an encoder: its output for a token depends on later tokens",
            f"Name {CAUSAL}, or probe:{name} for methods that need only features",
        )
    return LanguageModel(module=module, **vars(found))


@torch.inference_mode()
def _is_causal(module: nn.Module) -> bool:
    """Whether its output for the first tokens is the same for any later tokens.

    transformers opens encoders as causal models, too, and draws a head for them.
    """
    said = module(input_ids=torch.tensor([[0, 1, 2], [0, 1, 3]]), use_cache=False).logits[:, :2]
    return float((said[0] - said[1]).abs().max()) <= 1e-3 * float(said.std())


def chat_tokenizer(name: str, parameter: str, *, length: int | None = None) -> ChatTokenizer:
    """The tokenizer of a causal language model alone; as `language_model`, without its weights.

    Raises:
        MissingExtraError: as `language_model`.
        ParameterError: as `language_model`.
    """
    path, gguf = _place(name, parameter, length)
    import transformers

    local = Path(path).expanduser().is_dir()
    source = str(Path(path).expanduser()) if local else path
    file = {"gguf_file": gguf} if gguf else {}
    with quiet(), loading(path, parameter, CAUSAL):
        config = transformers.AutoConfig.from_pretrained(
            source, local_files_only=local, trust_remote_code=False, **file
        )
    return _tokenizer(name, parameter, source, config, gguf, length)


def _place(name: str, parameter: str, length: Any) -> tuple[str, str | None]:
    """The folder or hub name of a model, and its GGUF file where it is one."""
    path = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX):
        remedy = f"Give hf:PATH: a folder, a GGUF file or a hub name of {CAUSAL}"
        raise ParameterError(parameter, f"got '{name}', which does not read conversations", remedy)
    if length is not None and (type(length) is not int or length < 2):
        raise ParameterError(
            f"{parameter}.options.length", f"got {length!r}", "Give a number of tokens, 2 or more"
        )
    try:
        import transformers as _
    except ImportError as error:
        raise MissingExtraError(f"model '{name}'", "hf") from error
    file = Path(os.path.expanduser(path))
    if file.suffix.lower() == ".gguf":
        if not file.is_file():
            raise ParameterError(parameter, f"got '{name}', but there is no such file", "Give one")
        try:
            import gguf as _  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(f"model '{name}'", "gguf") from error
        return str(file.parent), file.name
    check_place(path, parameter)
    return path, None


def _tokenizer(
    name: str, parameter: str, source: str, config: Any, gguf: str | None, length: int | None
) -> ChatTokenizer:
    import transformers

    extra = {"gguf_file": gguf} if gguf else {}
    with quiet(), loading(source, parameter, CAUSAL):
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            source, local_files_only=Path(source).is_dir(), trust_remote_code=False, **extra
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ParameterError(
            parameter,
            f"the tokenizer of '{name}' does not give the positions of tokens in a text",
            "Save its fast version: AutoTokenizer.from_pretrained(..., use_fast=True)",
        )
    text = getattr(config, "text_config", config)
    if (most := max(tokenizer.get_vocab().values()) + 1) > text.vocab_size:
        raise ParameterError(
            parameter,
            f"the tokenizer of '{name}' has {most:,} tokens, but its model has {text.vocab_size:,}",
            "Save both from the same model",
        )
    limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    known = [each for each in (length or LENGTH, limit) if each]
    begin = next(
        (e for e in (tokenizer.bos_token_id, tokenizer.eos_token_id) if e is not None), None
    )
    return ChatTokenizer(
        tokenizer=tokenizer, length=min(known), begin=begin, end=tokenizer.eos_token_id
    )
