"""A job's folders are measured and removed whatever a stranger made of them."""

import os
from pathlib import Path

import pytest

from horde_agents.agents.executor.workspace import MAX_DEPTH, TooDeep, Workspace, clear, slot_folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.make(tmp_path, "node:cpu-0")


def nest(folder: Path, depth: int) -> None:
    """Nest folders, deeper than any path can name."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 20, dir_fd=here)
        there = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("hidden", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_any_user_may_write_inside_and_nobody_else_look_in(workspace: Workspace) -> None:
    for folder in (workspace.volume, workspace.output, workspace.artifacts):
        assert folder.stat().st_mode & 0o777 == 0o777
    assert workspace.root.parent.stat().st_mode & 0o777 == 0o700


def test_a_slots_name_cannot_lead_out_of_the_work_directory(tmp_path: Path) -> None:
    assert slot_folder(tmp_path, "../../etc").parent == tmp_path


def test_files_count_with_the_space_they_take(workspace: Workspace) -> None:
    empty = workspace.written_bytes()
    (workspace.output / "big").write_bytes(bytes(1_000_000))
    (workspace.volume / "sparse").touch()
    os.truncate(workspace.volume / "sparse", 10**12)
    assert 1_000_000 <= workspace.written_bytes() - empty < 1_100_000


def test_links_are_counted_and_not_followed(workspace: Workspace) -> None:
    (workspace.output / "link").symlink_to("/")
    (workspace.output / "loop").symlink_to(workspace.output)
    assert workspace.written_bytes() < 100_000


def test_an_empty_file_is_not_free(workspace: Workspace) -> None:
    before = workspace.written_bytes()
    for number in range(100):
        (workspace.output / str(number)).touch()
    assert workspace.written_bytes() - before == 100 * 4096


def test_folders_are_measured_down_to_the_bound_and_refused_below(workspace: Workspace) -> None:
    nest(workspace.output, MAX_DEPTH)
    assert workspace.written_bytes() > 0
    nest(workspace.volume, MAX_DEPTH + 1)
    with pytest.raises(TooDeep):
        workspace.written_bytes()


def test_folders_of_any_depth_are_removed(workspace: Workspace) -> None:
    nest(workspace.output, 3000)
    clear(workspace.root)
    assert list(workspace.root.parent.iterdir()) == []


def test_removing_follows_no_link(workspace: Workspace, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "file"
    kept.parent.mkdir()
    kept.touch()
    (workspace.output / "link").symlink_to(kept.parent)
    clear(workspace.root)
    assert kept.exists()


def test_what_an_interrupted_removal_left_is_removed(workspace: Workspace) -> None:
    nest(workspace.output, 5)
    (workspace.root.parent / "0" / "x").mkdir(parents=True)
    clear(workspace.root.parent)
    assert not workspace.root.parent.exists()
