"""What an image answers with: a model, file by file, and how it is run. ``/pin.json`` in the image."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.known_engines import ENGINES

#: where models lie that are named by id, in the layout of the model hub's own download cache
MODELS_ROOT: Final = Path("/models")
_DTYPES: Final = ("float32", "bfloat16", "float16")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_REVISION: Final = re.compile(r"[0-9a-f]{40}")
_MODEL_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REMEDY: Final = "Make it with: python3 -m prompt_solver pin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A model by ``folder``, or by ``id`` and ``revision``; ``files`` has the SHA-256 of each of its files.

    ``threads`` holds for processors: how a sum is shared between threads may change its last bit.
    """

    files: Mapping[str, str]
    engine: str = "transformers"
    folder: str = ""
    id: str = ""
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    seed: int = 0
    max_new_tokens: int = 128
    most_prompts: int = 16_384

    def model_folder(self) -> Path:
        """Where the model's files lie."""
        return Path(self.folder) if self.folder else hub_folder(self.id, self.revision)

    def to_json(self) -> str:
        """The text of a pin file; ``read_pin`` reads it back."""
        return json.dumps({key: value for key, value in asdict(self).items() if value != ""}, indent=2) + "\n"


def hub_folder(model_id: str, revision: str, root: Path = MODELS_ROOT) -> Path:
    """Where a model lies that is named by its id."""
    return root / f"models--{model_id.replace('/', '--')}" / "snapshots" / revision


def read_pin(path: Path) -> Pin:
    """The pin in a file.

    Raises:
        SolverFault: there is none, or one of its values cannot be.
    """
    try:
        whole = json.loads(path.read_bytes())
    except OSError as error:
        raise _bad(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"{path} is no JSON ({error})") from error
    if not isinstance(whole, dict):
        raise _bad(f"{path} is no JSON object")
    return pin_of(whole, str(path))


def pin_of(values: Mapping[str, Any], name: str) -> Pin:
    """The pin with these values; ``name`` is what an error calls it.

    Raises:
        SolverFault: one of them cannot be.
    """
    unknown = sorted(values.keys() - {field.name for field in fields(Pin)})
    if unknown:
        raise _bad(f"{name} has the unknown key {unknown[0]}")
    for key, value in values.items():
        complaint = _complaint(key, value)
        if complaint:
            raise _bad(f"{name} has {key} = {value!r:.80}, which is not {complaint}")
    if "files" not in values:
        raise _bad(f"{name} has no key files")
    pin = Pin(**values)
    if bool(pin.folder) == bool(pin.id) or bool(pin.id) != bool(pin.revision):
        raise _bad(f"{name} names no model, or two: it needs either folder, or id and revision")
    if pin.engine == "vllm" and pin.device != "cuda":
        raise _bad(f"{name} has the engine vllm with device = {pin.device!r}, and it is made for cuda alone")
    return pin


def _complaint(key: str, value: object) -> str:
    """What ``value`` should be and is not; empty when it is."""
    match key:
        case "files":
            return "" if _are_hashes(value) else "a SHA-256 for each file below the folder"
        case "engine":
            return "" if value in ENGINES else f"one of {', '.join(ENGINES)}"
        case "folder":
            return "" if isinstance(value, str) and value.startswith("/") else "an absolute path"
        case "id":
            return "" if _matches(_MODEL_ID, value) else "of the form owner/name"
        case "revision":
            return "" if _matches(_REVISION, value) else "a commit of 40 hexadecimal digits"
        case "device":
            return "" if value in ("cpu", "cuda") else "cpu or cuda"
        case "dtype":
            return "" if value in _DTYPES else f"one of {', '.join(_DTYPES)}"
        case _:
            lowest, highest = _BOUNDS[key]
            fits = type(value) is int and lowest <= value <= highest
            return "" if fits else f"a whole number from {lowest} to {highest}"


#: A validator takes 16 KiB of an answer at most; a token has rarely more than 8 bytes.
_BOUNDS: Final = {
    "threads": (1, 1024),
    "seed": (0, 2**32 - 1),
    "max_new_tokens": (1, 2048),
    "most_prompts": (1, 1_000_000),
}


def _are_hashes(value: object) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(_stays_inside(name) and _matches(_SHA256, digest) for name, digest in value.items())


def _stays_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _bad(what: str) -> SolverFault:
    return SolverFault(ExitCode.BAD_PIN, f"The pin {what}. {_REMEDY}")
