"""Which Debian packages set-up wants, and what it says where it may not install them."""

import os
from pathlib import Path

import pytest

from tools.setup.goals import PACKAGES_OF, STEPS_OF
from tools.setup.packages import PRESENT, is_static, missing, refusal
from tools.setup.prompt_image import ensure_prompt_images


def test_only_absent_packages_are_missing_and_order_is_kept() -> None:
    present = {"a": lambda: False, "b": lambda: True, "c": lambda: False}
    assert missing(["c", "b", "a"], present) == ["c", "a"]


def test_not_root_is_told_the_command_that_installs() -> None:
    said = refusal(["docker.io", "postgresql"], root=False, apt=True)
    assert said is not None
    assert "needs root" in said
    assert "sudo apt-get install -y docker.io postgresql" in said


@pytest.mark.parametrize("root", [True, False])
def test_another_system_is_told_what_is_missing_and_never_to_use_apt(root: bool) -> None:
    said = refusal(["docker.io"], root=root, apt=False)
    assert said is not None
    assert "lacks: docker.io" in said
    assert "apt-get install" not in said


def test_root_on_debian_is_not_refused() -> None:
    assert refusal(["docker.io"], root=True, apt=True) is None


def test_every_package_of_a_goal_can_be_looked_for_and_no_other_is() -> None:
    wanted = {name for names in PACKAGES_OF.values() for name in names}
    assert wanted == set(PRESENT)


def test_every_goal_has_both_packages_and_steps() -> None:
    assert PACKAGES_OF.keys() == STEPS_OF.keys()


def test_tests_need_whatever_the_demo_needs() -> None:
    assert set(PACKAGES_OF["demo"]) < set(PACKAGES_OF["test"])
    assert set(STEPS_OF["demo"]) < set(STEPS_OF["test"])


def test_only_tests_and_the_solvers_own_goal_wait_for_its_image() -> None:
    assert {goal for goal, steps in STEPS_OF.items() if ensure_prompt_images in steps} == {"solver", "test"}


def test_program_that_needs_a_dynamic_linker_is_not_static() -> None:
    assert not is_static(Path("/bin/sh"))
    assert not is_static(Path("/nonexistent/busybox"))


def test_busybox_of_the_job_image_is_static() -> None:
    if not os.access("/bin/busybox", os.X_OK):
        pytest.fail("busybox-static is missing. Run the tests with `make test`")
    assert is_static(Path("/bin/busybox"))
