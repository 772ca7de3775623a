"""The validator's OpenAPI description is valid, true of what is answered, and printed in the docs."""

from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openapi import ENDPOINTS, document
from horde_agents.agents.validator.api.refusals import ERRORS
from tools.validator_api_page import validator_api_page

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "validator-api.md"


def test_the_page_shows_the_endpoints_of_the_code() -> None:
    assert PAGE.read_text() == validator_api_page(), (
        "run: python -m tools.validator_api_page docs/operate/validator-api.md"
    )


def test_the_description_is_valid_openapi() -> None:
    errors = [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()]
    assert errors == []


def test_a_description_with_a_fault_is_not_valid() -> None:
    broken = document()
    broken["paths"]["/api/v1/scores/{cycle}"]["get"]["parameters"][0]["in"] = "nowhere"
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_every_placeholder_of_a_path_is_a_parameter(endpoint: Endpoint) -> None:
    placeholders = [part for part in endpoint.path.split("/") if part[:1] == "{"]
    assert [f"{{{parameter.name}}}" for parameter in endpoint.in_path] == placeholders


def test_every_refusal_but_the_wrong_method_is_described() -> None:
    answers = document()["paths"]["/api/v1/status"]["get"]["responses"]
    described = " ".join(answer["description"] for answer in answers.values())
    missing = {code for code in ERRORS if f"`{code}`" not in described}
    assert missing == {"request.method"}
