"""The facilitator of the integration tests, for those who mean it ill."""

from tests.integration.facilitator.conftest import facilitator

__all__ = ["facilitator"]
