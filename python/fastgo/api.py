"""The library's face: `llm = fastgo.load("gemma3")`, then `for piece in llm.generate("..."): ...`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import open_model
from fastgo.assets.storage import Progress
from fastgo.engine.devices import device_errors, memory_in_use, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.fit import fitting_context
from fastgo.engine.sampling import Sampling, SamplingOptions
from fastgo.engine.session import Session
from fastgo.engine.steps import LogProbabilities
from fastgo.errors import UnsupportedModelError, UsageError
from fastgo.models.config import ModelConfig
from fastgo.opening import open_engine
from fastgo.ops.cache_format import check_cache_format
from fastgo.text.chat import render, shielded
from fastgo.text.stream import TextStream
from fastgo.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass
class Telemetry:
    """Figures of the latest generation. Seconds are wall time; memory is what the device holds, mapped weights too."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    prefill_seconds: float = 0.0
    first_token_seconds: float = 0.0
    decode_seconds: float = 0.0
    memory_bytes: int = 0
    pipeline_hits: int = 0
    pipeline_misses: int = 0


class LLM:
    """A model ready to run on one device, with one timeline. Not for use from several threads at once.

    As a context manager, or by `close()`, it gives its device memory back.
    """

    def __init__(
        self,
        folder: ModelFolder,
        device: str | None = None,
        context: int | None = None,
        *,
        kv_cache: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.model = folder
        self._tokenizer: Tokenizer | None = None
        self._device = open_device(device)
        room = fitting_context(folder, self._device, context, kv_cache)
        with device_errors():
            self._engine: Engine | None = open_engine(self._device, folder, kv_cache, progress)
            self._session: Session | None = Session(self._engine, room)
        self._telemetry = Telemetry()
        self._log_probabilities: list[tuple[int, LogProbabilities]] = []

    @property
    def config(self) -> ModelConfig:
        """Shapes and constants of the model."""
        return self.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises UnsupportedModelError if the model came without one."""
        if self._tokenizer is None:
            info = self.model.manifest.tokenizer
            if info is None:
                raise UnsupportedModelError(
                    f"model {self.model.name} has no tokenizer", hint="from Python, generate_ids takes token ids"
                )
            self._tokenizer = Tokenizer.load(self.model.path, info)
        return self._tokenizer

    @property
    def is_chat(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.model.manifest.chat_template)

    @property
    def context(self) -> int:
        """The largest number of tokens of prompt and answer together."""
        return self._open_session().context

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        system: str | None = None,
        raw: bool = False,
        thinking: bool | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]:
        """Yields the continuation as pieces of text.

        A model with a chat template answers the prompt, others (or any with `raw`) continue it. Ends at the model's end
        token, after `max_tokens`, or when the context is full. `thinking`: as in `chat`. The rest are options of
        engine/sampling.py; those not given are the model's own defaults, which `fastgo inspect` shows, else greedy.
        """
        if raw or not self.is_chat:
            if thinking is not None:
                raise UsageError("thinking needs a model with a chat template", hint="leave out --think and --no-think")
            if system is not None:
                raise UsageError(
                    "a system prompt needs a model with a chat template",
                    hint="leave out --system, or use another model",
                )
            return self._stream(self.tokenizer.encode_prompt(prompt), max_tokens, sampling)
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": prompt})
        return self.chat(messages, max_tokens=max_tokens, thinking=thinking, **sampling)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        thinking: bool | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]:
        """Yields the answer to a conversation of {"role", "content"} messages.

        `tools` are JSON schemas of functions, for templates that offer them to the model. `thinking` switches a model's
        thinking on or off where its template can; None leaves it to the template. Raises UsageError without a template.
        """
        template = self.model.manifest.chat_template
        if not template:
            raise UsageError(f"model {self.model.name} has no chat template", hint="use generate(prompt, raw=True)")
        tokenizer = self.tokenizer
        text = render(
            template,
            shielded(list(messages), tokenizer.shield),
            bos_token=tokenizer.token_text(tokenizer.bos_id),
            eos_token=tokenizer.token_text(tokenizer.eos_id),
            tools=None if tools is None else shielded(list(tools), tokenizer.shield),
            **({} if thinking is None else {"enable_thinking": thinking}),
        )
        return self._stream(tokenizer.encode_prompt(text, special=True), max_tokens, sampling)

    def generate_ids(
        self,
        token_ids: Sequence[int],
        max_tokens: int,
        *,
        stop_ids: Sequence[int] = (),
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[int]:
        """Yields up to `max_tokens` token ids that follow `token_ids`; greedy unless a temperature is given."""
        return self._generate(list(token_ids), max_tokens, Sampling(**sampling), stop_ids)

    def logits(self, token_ids: Sequence[int], all_positions: bool = False) -> npt.NDArray[np.float32]:
        """Logits of the token after `token_ids`, float32 (vocab_size,); after each one of them with `all_positions`."""
        session = self._open_session()
        session.rewind(0)
        with device_errors():
            return session.all_logits(token_ids) if all_positions else session.logits(token_ids)

    def telemetry(self) -> Telemetry:
        """Figures of the latest generation, also while it runs."""
        counters = self._device.telemetry
        self._telemetry.memory_bytes = memory_in_use(self._device)
        self._telemetry.pipeline_hits = counters["pipeline_hits"]
        self._telemetry.pipeline_misses = counters["pipeline_misses"]
        return self._telemetry

    def log_probabilities(self) -> list[tuple[int, LogProbabilities]]:
        """Each token of the latest generation with its log-probabilities, also while it runs; needs `logprobs`."""
        return list(self._log_probabilities)

    def close(self) -> None:
        """Gives device memory back; the model can't be used afterwards. Safe to call twice."""
        self._session = None
        self._engine = None
        self._device.trim()

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_session(self) -> Session:
        if self._session is None:
            raise UsageError("this model is closed", hint="load it again")
        return self._session

    def _generate(
        self, ids: list[int], max_tokens: int | None, sampling: Sampling, stop_ids: Sequence[int]
    ) -> Iterator[int]:
        session = self._open_session()
        if max_tokens is not None and max_tokens < 1:
            raise UsageError(f"max_tokens is {max_tokens}, expected 1 or more")
        start = time.perf_counter()
        self._telemetry = figures = Telemetry(prompt_tokens=len(ids))
        self._log_probabilities = []
        if ids:
            session.reuse_prefix(ids)
        with device_errors():
            tokens = session.generate(
                ids[len(session.tokens) :], sampling, max_tokens or session.context, stop_ids
            )  # fmt: skip
            for token in tokens:
                now = time.perf_counter()
                if figures.generated_tokens == 0:
                    figures.prefill_seconds = figures.first_token_seconds = now - start
                figures.generated_tokens += 1
                figures.decode_seconds = now - start - figures.prefill_seconds
                if session.log_probabilities is not None:
                    self._log_probabilities.append((token, session.log_probabilities))
                yield token

    def _stream(self, ids: list[int], max_tokens: int | None, options: SamplingOptions) -> Iterator[str]:
        tokenizer = self.tokenizer
        stream = TextStream(tokenizer)
        sampling = Sampling.with_defaults(self.model.manifest.generation, options)
        for token in self._generate(ids, max_tokens, sampling, tokenizer.eos_ids):
            if token not in tokenizer.eos_ids and (piece := stream.push(token)):
                yield piece
        if rest := stream.finish():
            yield rest


def load(
    model: str | Path,
    device: str | None = None,
    *,
    context: int | None = None,
    kv_cache: str | None = None,
    progress: Progress | None = None,
) -> LLM:
    """Opens a model by name, GGUF file or fastgo folder; imports it into the cache when it is new.

    Args:
        model: a name of the catalogue ("gemma3"), or a path.
        device: "cpu", "cuda", "cuda:1" or "metal"; None for the best one.
        context: the largest number of tokens of a timeline; None for the model's own limit, or what the device's memory
            can hold of it.
        kv_cache: what keys and values are kept as: "f16", "bf16", "f32", "int8" or "int4"; None for f16, or f32 where
            all weights are.
        progress: called with (done bytes, total bytes, what) while a new model is imported and prepared.

    Raises:
        FastgoError: one of fastgo.errors; each has a one-line message and a hint.
    """
    check_cache_format(kv_cache)
    return LLM(open_model(model, progress), device, context, kv_cache=kv_cache, progress=progress)
