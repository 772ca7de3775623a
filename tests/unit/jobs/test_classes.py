"""The class catalogue is data: what a file may say, what is refused and how, what fits where."""

from pathlib import Path

import pytest

from horde_agents.jobs import classes
from horde_agents.jobs.classes import CATALOGUE, WIRE_CLASSES, ClassesWrong, add_classes, read_classes

_MINE = '["mine.gpu"]\nshort_code = "mine"\nspin_up_s = 5\ngpus = 2\nmemory_mib = 1000\n'


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> dict[str, classes.ExecutorClass]:
    """A catalogue of the test's own."""
    own = dict(CATALOGUE)
    monkeypatch.setattr(classes, "CATALOGUE", own)
    return own


def test_every_class_of_the_wire_is_there_under_its_own_name() -> None:
    assert {name for name in WIRE_CLASSES if CATALOGUE[name].wire_class == name} == WIRE_CLASSES


@pytest.mark.parametrize(
    ("name", "model", "memory_mib", "fits"),
    [
        ("always_on.llm.a6000", "NVIDIA RTX A6000", 49140, True),
        ("always_on.llm.a6000", "NVIDIA RTX 6000 Ada Generation", 49140, False),
        ("always_on.gpu.a100-80gb", "NVIDIA A100-SXM4-80GB", 81920, True),
        ("always_on.gpu.a100-80gb", "NVIDIA A100 80GB PCIe", 81920, True),
        ("always_on.gpu.a100-80gb", "NVIDIA A100-SXM4-40GB", 40960, False),
        ("always_on.gpu.a100-80gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, False),
        ("always_on.mig.a100-10gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, True),
        ("always_on.gpu.h100", "NVIDIA H100 80GB HBM3", 81559, True),
        ("always_on.gpu.h200", "NVIDIA H200", 143771, True),
        ("always_on.gpu.h100", "NVIDIA H200", 143771, False),
        ("always_on.gpu.l40s", "NVIDIA L40S", 46068, True),
        ("always_on.gpu.rtx4090", "NVIDIA GeForce RTX 4090", 24564, True),
        ("always_on.gpu.rtx5090", "NVIDIA GeForce RTX 5090", 32607, True),
        ("always_on.gpu.b200", "NVIDIA B200", 183359, True),
        ("always_on.gpu-24gb", "NVIDIA GeForce RTX 4090", 24564, True),
        ("always_on.gpu-24gb", "NVIDIA GeForce RTX 3080", 10240, False),
        ("always_on.test", "NVIDIA B200", 183359, False),
    ],
)
def test_device_fits_a_class_by_model_and_memory(name: str, model: str, memory_mib: int, fits: bool) -> None:
    assert CATALOGUE[name].fits(model, memory_mib) is fits


def test_an_operator_adds_a_class_by_a_file(
    catalogue: dict[str, classes.ExecutorClass], tmp_path: Path
) -> None:
    (tmp_path / "classes.toml").write_text(_MINE)
    add_classes(tmp_path / "classes.toml")
    assert catalogue["mine.gpu"].gpus == 2
    assert catalogue["mine.gpu"].wire_class is None
    assert catalogue.keys() > WIRE_CLASSES


def test_class_is_asked_for_by_its_own_name_or_by_the_one_on_the_wire() -> None:
    (row,) = read_classes(_MINE + 'wire_class = "always_on.gpu-24gb"', "file").values()
    assert [row.serves(name) for name in ("mine.gpu", "always_on.gpu-24gb", "always_on.test")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[x", "no TOML"),
        ("x = 1", "no table"),
        ('["X y"]', "lower-case"),
        (_MINE + "colour = 1", "unknown field 'colour'"),
        ("[x]\nspin_up_s = 5", "short_code is missing"),
        ('[x]\nshort_code = "x"', "spin_up_s is missing"),
        ('[x]\nshort_code = "x"\nspin_up_s = "5"', "spin_up_s must be a int"),
        ('[x]\nshort_code = "x"\nspin_up_s = true', "spin_up_s must be a int"),
        ('[x]\nshort_code = "x"\nspin_up_s = 0', "must be positive"),
        ('[x]\nshort_code = "X!"\nspin_up_s = 5', "short_code"),
        (_MINE + 'model = "["', "no regular expression"),
        (_MINE + 'wire_class = "new"', "wire_class must be one of"),
        ('["always_on.test"]\nshort_code = "t"\nspin_up_s = 5', "wire_class must be the same"),
    ],
)
def test_wrong_class_file_is_refused_with_file_and_field(text: str, says: str) -> None:
    with pytest.raises(ClassesWrong, match=says) as refusal:
        read_classes(text, "class file mine.toml")
    assert "mine.toml" in str(refusal.value)


def test_two_classes_with_one_short_code_change_nothing(
    catalogue: dict[str, classes.ExecutorClass], tmp_path: Path
) -> None:
    before = dict(catalogue)
    (tmp_path / "classes.toml").write_text(_MINE.replace('"mine"', '"h100"'))
    with pytest.raises(ClassesWrong, match="share short_code 'h100'"):
        add_classes(tmp_path / "classes.toml")
    assert catalogue == before


def test_class_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClassesWrong, match=r"none\.toml cannot be read"):
        add_classes(tmp_path / "none.toml")
