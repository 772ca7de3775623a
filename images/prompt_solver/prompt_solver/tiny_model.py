"""``python3 -m prompt_solver.tiny_model FOLDER SEED``: a model for tests, made on the spot.

A real Llama of two layers with random weights: it talks nonsense, and always the same. Each byte is a token.
"""

import sys
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_END: Final = "<end>"
_CHAT: Final = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
#: so large that the next token depends on all before it; trained models start with 0.02
_SPREAD: Final = 0.3


def make_tiny_model(folder: Path, seed: int) -> None:
    """Write a model and its tokenizer into ``folder``; the same ``seed`` makes the same weights."""
    _tokenizer().save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        initializer_range=_SPREAD,
        bos_token_id=None,
        eos_token_id=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)


def _tokenizer() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=whole, eos_token=_END, chat_template=_CHAT)


if __name__ == "__main__":
    make_tiny_model(Path(sys.argv[1]), int(sys.argv[2]))
