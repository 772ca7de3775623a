"""What doctor says of gpu nodes, classes and versions."""

from dataclasses import replace

import pytest

from horde_agents.cli.checks.nomad import class_finding, node_findings, plugin_findings
from horde_agents.cli.checks.versions import cluster_finding
from horde_agents.clients.nomad_rows import GpuDevice, GpuNode

A6000 = [GpuDevice(f"GPU-{letter}", "NVIDIA RTX A6000", 49140, healthy=True) for letter in "ab"]
NODE = GpuNode("1", "gpu1", "ready", draining=False, eligible=True, devices=tuple(A6000))


def said(node: GpuNode) -> tuple[bool, str]:
    (finding,) = node_findings("horde-gpu", [node])
    return finding.fine, finding.says


def test_a_ready_node_shows_its_devices() -> None:
    assert said(NODE) == (True, "ready with 2 NVIDIA RTX A6000")


def test_an_empty_node_pool_is_named() -> None:
    (finding,) = node_findings("horde-gpu", [])
    assert not finding.fine
    assert "node pool horde-gpu has no node" in finding.says


@pytest.mark.parametrize(
    ("change", "is_fine", "words"),
    [
        ({"status": "down"}, False, "Nomad calls it down"),
        ({"status": "disconnected"}, False, "Nomad calls it disconnected"),
        ({"devices": (A6000[0], replace(A6000[1], healthy=False))}, False, "not healthy: GPU-b"),
        ({"draining": True, "eligible": False}, True, "nomad node drain -disable -yes 1"),
        ({"eligible": False}, True, "nomad node eligibility -enable 1"),
    ],
)
def test_a_node_that_takes_no_holders_says_why(change: dict[str, object], is_fine: bool, words: str) -> None:
    node_is_fine, says = said(replace(NODE, **change))  # type: ignore[arg-type]
    assert node_is_fine is is_fine
    assert words in says


def test_a_class_says_for_how_many_holders_there_is_room() -> None:
    assert class_finding("always_on.gpu.a6000", [NODE]).says == "the ready nodes have room for 2"


def test_a_class_that_no_node_can_serve_says_which_device_is_missing() -> None:
    finding = class_finding("always_on.gpu.h100", [NODE])
    assert not finding.fine
    assert "no node can serve it: a holder needs 1 GPU(s) of a model like" in finding.says
    assert "ready nodes have 2 NVIDIA RTX A6000 49140 MiB" in finding.says


def test_a_class_that_needs_more_devices_than_a_node_has_says_so() -> None:
    h100 = tuple(GpuDevice(f"GPU-{n}", "NVIDIA H100 80GB HBM3", 81559, healthy=True) for n in range(4))
    finding = class_finding("always_on.gpu.h100.x8", [replace(NODE, devices=h100)])
    assert "the most there are is 4, on gpu1" in finding.says


def test_an_unknown_class_is_named() -> None:
    assert "no such executor class" in class_finding("always_on.gpu.h1000", [NODE]).says


def test_a_version_that_is_too_old_is_named_with_its_place_and_the_reason() -> None:
    finding = cluster_finding("nomad", [("server a", "2.0.5"), ("node b", "1.10.9")])
    assert finding is not None
    assert not finding.fine
    assert finding.says.startswith("node b has 1.10.9; below 2.0.5 a job can reach the host's")


def test_fit_versions_are_shown_once() -> None:
    finding = cluster_finding("nomad", [("server a", "2.0.5"), ("node b", "2.0.5"), ("c", "2.1.0+ent")])
    assert finding is not None
    assert (finding.fine, finding.says) == (True, "2.0.5, 2.1.0+ent")
    assert cluster_finding("nomad", []) is None


def test_a_device_plugin_that_offers_nothing_is_named_with_its_node() -> None:
    bare = replace(NODE, node_id="2", name="gpu2", devices=())
    (finding,) = plugin_findings([NODE, bare], ["always_on.gpu.a6000"])
    assert not finding.fine
    assert finding.says.startswith("it offers no GPU on gpu2; on it, see: nvidia-smi")
    assert [each.says for each in plugin_findings([NODE], ["always_on.gpu.a6000"])] == [
        "it offers 2 on 1 nodes"
    ]


def test_nodes_for_processors_need_no_device_plugin() -> None:
    bare = replace(NODE, devices=())
    assert list(plugin_findings([bare], ["always_on.gpu.a6000", "always_on.test"])) == []
    assert list(plugin_findings([bare], [])) == []
