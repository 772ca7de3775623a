"""Answers with the library ``transformers``: greedy, and one prompt at a time.

Padding prompts into a batch changes the last bits of sums and with them, rarely, a token. One prompt at a
time is slower and makes an answer independent of its neighbours by construction.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# read when CUDA starts; without it cuBLAS may add up in another order each time
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from prompt_solver.pin import Pin
from prompt_solver.tokens import check_template, tokens_of


class TransformersEngine:
    """Runs no code of the model's and reads no pickles: ``safetensors`` only."""

    def __init__(self, folder: Path, pin: Pin) -> None:
        torch.manual_seed(pin.seed)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(pin.threads)
        local = {"local_files_only": True, "trust_remote_code": False}
        self._device = pin.device
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        check_template(self._tokenizer)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, attn_implementation="eager", **local
        )
        self._model = model.to(device=pin.device, dtype=getattr(torch, pin.dtype)).eval()
        self._most_tokens = int(model.config.max_position_embeddings) - pin.max_new_tokens
        ends = model.generation_config.eos_token_id
        # made anew: the model's own file may ask for sampling or penalties
        self._how = GenerationConfig(
            do_sample=False,
            max_new_tokens=pin.max_new_tokens,
            bos_token_id=model.generation_config.bos_token_id,
            eos_token_id=ends,
            pad_token_id=ends[0] if isinstance(ends, list) else ends,
        )

    def answers(self, prompts: Sequence[str]) -> Sequence[str]:
        with torch.inference_mode():
            return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        tokens = torch.tensor([tokens_of(self._tokenizer, prompt, self._most_tokens)], device=self._device)
        # one process: asking torch.distributed whether there are others fails with some versions of it
        whole = self._model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            generation_config=self._how,
            synced_gpus=False,
        )
        new = whole[0, tokens.shape[1] :].tolist()
        text: str = self._tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
