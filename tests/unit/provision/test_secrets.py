"""No task of a role or playbook can write a secret that it has into a log."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.fixtures.ansible_tasks import tasks_of
from tools.setup.places import ROOT

_FILES: Final = sorted(
    file
    for pattern in (
        "roles/*/tasks/*.yml",
        "roles/*/handlers/*.yml",
        "playbooks/*.yml",
        "playbooks/tasks/*.yml",
    )
    for file in ROOT.glob(pattern)
)
_SECRET: Final = re.compile(
    r"_token|_gossip_key|X-(Consul|Nomad)-Token|BootstrapSecret|SecretID|lookup\([^)]*/(management|gossip)"
)
#: Modules that print nothing of what they are given.
_TELLS_NOTHING: Final = (
    "ansible.builtin.assert",
    "ansible.builtin.include_tasks",
    "ansible.builtin.include_role",
)


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_task_that_has_a_secret_can_be_logged(file: Path) -> None:
    tellers = [
        task.name
        for task in tasks_of(file)
        if _SECRET.search(str(task))
        and not task.is_quiet
        and not any(name in task.words for name in _TELLS_NOTHING)
    ]
    assert tellers == []


def test_a_task_with_a_secret_is_found_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "included.yml").write_text("- name: included\n  ansible.builtin.uri: {url: here}\n")
    file = tmp_path / "play.yml"
    file.write_text(
        """
- hosts: all
  tasks:
    - module_defaults: {ansible.builtin.uri: {headers: {X-Nomad-Token: some}}}
      block:
        - {name: given, ansible.builtin.uri: {url: here}}
        - {name: own, ansible.builtin.uri: {url: here, headers: {}}}
        - ansible.builtin.include_tasks: included.yml
      rescue:
        - {name: rescue, ansible.builtin.uri: {url: here}}
      always:
        - {name: always, ansible.builtin.debug: {msg: "{{ my_token }}"}}
    - no_log: true
      block:
        - {name: quiet, ansible.builtin.debug: {msg: "{{ my_token }}"}}
        - {name: loud, ansible.builtin.debug: {msg: "{{ my_token }}"}, no_log: false}
"""
    )
    loud = {task.name for task in tasks_of(file) if _SECRET.search(str(task)) and not task.is_quiet}
    assert loud == {"given", "included", "rescue", "always", "loud"}
