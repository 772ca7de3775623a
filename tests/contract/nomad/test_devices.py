"""The fake plugin's devices, beside those that NVIDIA's plugin reported of a real GPU."""

from typing import Any

from tests.fixtures.nomad import NomadStage
from tests.fixtures.recorded_nodes import h200_row


def shape_of(row: dict[str, Any]) -> dict[str, Any]:
    """Everything of a node's GPUs but their number, model, ids and values."""
    (group,) = row["NodeResources"]["Devices"]
    attributes = {
        name: (each["Unit"], {kind for kind, value in each.items() if kind != "Unit" and value is not None})
        for name, each in group["Attributes"].items()
    }
    return {"vendor": group["Vendor"], "type": group["Type"], "attributes": attributes}


def test_fake_gpus_have_the_attributes_and_units_of_real_ones(nomad_stage: NomadStage) -> None:
    rows = nomad_stage.server.ask("GET", "/v1/nodes?resources=true")
    assert rows
    assert all(shape_of(row) == shape_of(h200_row()) for row in rows)
