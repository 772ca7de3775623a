"""Which engines there are; nothing of them is imported here."""

from collections.abc import Mapping
from typing import Final

#: name in a pin → module of this package, and its class, which is made with the model's folder and the pin
ENGINES: Final[Mapping[str, tuple[str, str]]] = {
    "transformers": ("transformers_engine", "TransformersEngine"),
    "vllm": ("vllm_engine", "VllmEngine"),
}
