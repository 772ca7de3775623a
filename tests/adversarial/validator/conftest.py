"""The validator's scene."""

from tests.fixtures.validator import stage

__all__ = ["stage"]
