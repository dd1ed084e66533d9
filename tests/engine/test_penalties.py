"""Penalties, bias and log-probabilities of sessions and batches, against a decoder that reads the logits back."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.engine.batch import Batch
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.ops.sample import reference

PROMPT = np.random.default_rng(4).integers(0, 299, 20).tolist()
SAMPLINGS = {
    "repetition": Sampling(repetition_penalty=1.6),
    "presence": Sampling(presence_penalty=-4.0),
    "frequency": Sampling(frequency_penalty=-1.5),
    "bias": Sampling(logit_bias={5: 4.0, 7: -np.inf, 11: 4.01}, frequency_penalty=1.0),
    "drawn": Sampling(1.2, 9, 40, 0.9, repetition_penalty=1.2, presence_penalty=0.5, frequency_penalty=-0.3),
}
COUNT = 24


def decoded(engine: Engine, prompt: list[int], sampling: Sampling, count: int) -> list[int]:
    """Tokens chosen in float64 on the host."""
    session, answer, fed = Session(engine), [], prompt
    for _ in range(count):
        logits = session.logits(fed).astype(np.float64)
        for token in set(prompt + answer):
            factor = sampling.repetition_penalty
            logits[token] = logits[token] / factor if logits[token] > 0 else logits[token] * factor
        for token in set(answer):
            logits[token] -= sampling.presence_penalty + sampling.frequency_penalty * answer.count(token)
        for token, bias in sampling.logit_bias.items():
            logits[token] += bias
        position = len(session.tokens) - 1
        filters = {"top_k": sampling.top_k, "top_p": sampling.top_p, "min_p": sampling.min_p}
        chosen = reference(
            logits,
            temperature=sampling.temperature,
            seed=sampling.seed,
            position=position,
            **filters,  # type: ignore[arg-type]
        )
        answer.append(chosen)
        fed = [chosen]
    return answer


@pytest.mark.parametrize("name", SAMPLINGS)
def test_tokens_are_those_of_the_definition(engine: Engine, name: str) -> None:
    found = list(Session(engine).generate(PROMPT, SAMPLINGS[name], COUNT))
    assert found == decoded(engine, PROMPT, SAMPLINGS[name], COUNT)
    assert found != list(Session(engine).generate(PROMPT, Sampling(), COUNT))


def test_a_later_generation_counts_anew(gemma_engine: Engine) -> None:
    """What was generated before is then part of the prompt, and no penalty stays behind."""
    session = Session(gemma_engine)
    sampling = SAMPLINGS["frequency"]
    first = list(session.generate(PROMPT, sampling, COUNT))
    second = list(session.generate(first[-1:], sampling, COUNT))
    assert second == decoded(gemma_engine, PROMPT + first, sampling, COUNT)
    third = list(session.generate(second[-1:], Sampling(), COUNT))
    assert third == list(Session(gemma_engine).generate(PROMPT + first + second, Sampling(), COUNT))


def test_each_sequence_of_a_batch_has_its_own(gemma_engine: Engine) -> None:
    samplings = [*SAMPLINGS.values(), Sampling()]
    prompts = [PROMPT[: 3 + index] for index in range(len(samplings))]
    found: list[list[int]] = [[] for _ in prompts]
    for step in Batch(gemma_engine, len(prompts), 64).generate(prompts, samplings, COUNT):
        for sequence, token in step:
            found[sequence].append(token)
    pairs = zip(prompts, samplings, strict=True)
    assert found == [list(Session(gemma_engine).generate(ids, s, COUNT)) for ids, s in pairs]


def test_log_probabilities_are_the_model_s_own(engine: Engine) -> None:
    """Before penalties and temperature; also in a batch, where another sequence asks for none and one ends early."""
    sampling = Sampling(1.3, 3, logprobs=4, frequency_penalty=2.0)
    session = Session(engine)
    alone = [(token, session.log_probabilities) for token in session.generate(PROMPT, sampling, 6)]
    logits = Session(engine).all_logits([*PROMPT, *(token for token, _ in alone[:-1])])[len(PROMPT) - 1 :]
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    for (token, found), row in zip(alone, exact, strict=True):
        assert found is not None
        assert abs(found.token - row[token]) < 1e-4
        assert [id_ for id_, _ in found.likely] == np.argsort(-row)[:4].tolist()
    batch = Batch(engine, 3, 64)
    together = []
    for step in batch.generate([[1], PROMPT, [2]], [Sampling(), sampling, Sampling()], 6):
        together += [(token, batch.log_probabilities[1]) for sequence, token in step if sequence == 1]
        assert batch.log_probabilities[0] is None
    assert [token for token, _ in together] == [token for token, _ in alone]
    for (_, one), (_, other) in zip(together, alone, strict=True):
        assert one is not None and other is not None and abs(one.token - other.token) < 1e-4


def test_greedy_decode_records_nothing_of_it(gemma_engine: Engine) -> None:
    session = Session(gemma_engine)
    list(session.generate(PROMPT, Sampling(0.7, top_k=5), 3))
    assert "seen" not in session._state.buffers and "likely" not in session._state.buffers
    assert not session._state.extras.adjusts and not session._state.extras.logprobs
