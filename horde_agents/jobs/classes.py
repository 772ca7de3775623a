"""The executor classes: what each needs and how long its executor may take to start.

The rows are data: ``classes.toml`` beside this file, and an operator's own file of the same form.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

#: The names that stock peers know (wire note F.6); any other makes them refuse a whole manifest.
WIRE_CLASSES: Final = frozenset(
    {
        "spin_up-4min.gpu-24gb",
        "always_on.gpu-24gb",
        "always_on.llm.a6000",
        "always_on.test",
        "always_on.cpu.8c.16gb",
    }
)
#: The class a request means when it names none (wire note A.4.5).
DEFAULT_CLASS: Final = "spin_up-4min.gpu-24gb"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class ClassesWrong(Exception):
    """A class file cannot be used; the text names file, class and field."""


@dataclass(frozen=True, slots=True)
class ExecutorClass:
    """One kind of hardware; the comment in ``classes.toml`` says what each field means."""

    name: str
    short_code: str
    spin_up_s: int
    wire_class: str | None = None
    gpus: int = 0
    model: str = ""
    memory_mib: int = 0
    warm: bool = True
    weight: int = 1

    @property
    def needs_gpu(self) -> bool:
        """True when its executors have devices."""
        return self.gpus > 0

    def fits(self, model: str, memory_mib: int) -> bool:
        """Whether a device of this model and memory may serve the class."""
        return self.needs_gpu and memory_mib >= self.memory_mib and re.search(self.model, model) is not None

    def serves(self, asked: str) -> bool:
        """Whether a job for the class ``asked`` may run here: by its own name or its name on the wire."""
        return asked in {self.name, self.wire_class}


def read_classes(text: str, source: str) -> dict[str, ExecutorClass]:
    """The classes that a file's text describes.

    Raises:
        ClassesWrong: no TOML, or a class with a wrong or unknown field.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClassesWrong(f"{source} is no TOML: {error}.") from error
    return {name: _row(name, values, source) for name, values in tables.items()}


def add_classes(file: Path | None) -> None:
    """Take an operator's classes into the catalogue of this process; ``None`` adds nothing.

    Raises:
        ClassesWrong: the file cannot be read, or two classes have one short code.
    """
    if file is None:
        return
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ClassesWrong(f"The class file {file} cannot be read: {error}.") from error
    merged = {**CATALOGUE, **read_classes(text, f"class file {file}")}
    _refuse_twins(merged, f"class file {file}")
    CATALOGUE.update(merged)


def _row(name: str, values: object, source: str) -> ExecutorClass:
    where = f"{source}, class {name!r}"
    if not _NAME.fullmatch(name):
        raise ClassesWrong(f"{where}: a name is lower-case letters, digits, dots, dashes and underscores.")
    if not isinstance(values, Mapping):
        raise ClassesWrong(f"{where} is no table; write [{name!r}] and its fields below.")
    known = {field.name: field.type for field in fields(ExecutorClass) if field.name != "name"}
    for field, value in values.items():
        if field not in known:
            raise ClassesWrong(f"{where}: unknown field {field!r}; known are {', '.join(sorted(known))}.")
        _refuse_type(value, known[field], f"{where}: {field}")
    for field in ("short_code", "spin_up_s"):
        if field not in values:
            raise ClassesWrong(f"{where}: {field} is missing.")
    row = ExecutorClass(name, **values)
    _refuse_values(row, where)
    return row


def _refuse_type(value: object, kind: Any, where: str) -> None:  # noqa: ANN401  (a dataclass field's type)
    wanted = {"wire_class": str, str | None: str}.get(kind, kind)
    if type(value) is not wanted:
        raise ClassesWrong(f"{where} must be a {wanted.__name__}, not {value!r:.60}.")


def _refuse_values(row: ExecutorClass, where: str) -> None:
    if row.wire_class is not None and row.wire_class not in WIRE_CLASSES:
        raise ClassesWrong(f"{where}: wire_class must be one of {', '.join(sorted(WIRE_CLASSES))}.")
    if row.name in WIRE_CLASSES and row.wire_class != row.name:
        raise ClassesWrong(f"{where}: this name is known on the wire, so wire_class must be the same.")
    if row.spin_up_s <= 0 or row.weight < 0 or row.gpus < 0 or row.memory_mib < 0:
        raise ClassesWrong(f"{where}: spin_up_s must be positive; gpus, memory_mib and weight not negative.")
    if not _NAME.fullmatch(row.short_code):
        raise ClassesWrong(f"{where}: short_code {row.short_code!r} has other than letters, digits, dots.")
    try:
        re.compile(row.model)
    except re.error as error:
        raise ClassesWrong(f"{where}: model is no regular expression: {error}.") from error


def _refuse_twins(rows: Mapping[str, ExecutorClass], source: str) -> None:
    by_code: dict[str, str] = {}
    for row in rows.values():
        if (other := by_code.setdefault(row.short_code, row.name)) != row.name:
            raise ClassesWrong(f"{source}: {other!r} and {row.name!r} share short_code {row.short_code!r}.")


def _shipped() -> dict[str, ExecutorClass]:
    text = resources.files(__package__).joinpath("classes.toml").read_text()
    rows = read_classes(text, "classes.toml")
    _refuse_twins(rows, "classes.toml")
    return rows


#: Class by name, in this process; ``add_classes`` adds an operator's.
CATALOGUE: Final = _shipped()
