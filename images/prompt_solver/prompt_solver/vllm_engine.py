"""Answers with vLLM. Unverified: written from its documentation and never run, for it needs a card.

Before it may judge miners, it has to pass on a card what ``tests/contract/prompt_solver`` asks of an engine.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# read when vLLM is imported: kernels that add up alike in every batch, and a scheduler in this process
os.environ.setdefault("VLLM_BATCH_INVARIANT", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

from vllm import LLM, SamplingParams

from prompt_solver.pin import Pin
from prompt_solver.tokens import check_template, tokens_of


class VllmEngine:
    """All prompts at once; vLLM's batch-invariant kernels are what keeps them apart."""

    def __init__(self, folder: Path, pin: Pin) -> None:
        self._llm: Any = LLM(
            model=str(folder),
            dtype=pin.dtype,
            seed=pin.seed,
            load_format="safetensors",
            trust_remote_code=False,
            enable_prefix_caching=False,
            generation_config="vllm",  # not the model's own file, which may ask for penalties
        )
        self._tokenizer: Any = self._llm.get_tokenizer()
        check_template(self._tokenizer)
        self._most_tokens = int(self._llm.llm_engine.model_config.max_model_len) - pin.max_new_tokens
        self._how = SamplingParams(temperature=0.0, seed=pin.seed, max_tokens=pin.max_new_tokens)

    def answers(self, prompts: Sequence[str]) -> Sequence[str]:
        asked = [
            {"prompt_token_ids": list(tokens_of(self._tokenizer, prompt, self._most_tokens))}
            for prompt in prompts
        ]
        return [str(done.outputs[0].text) for done in self._llm.generate(asked, self._how, use_tqdm=False)]
