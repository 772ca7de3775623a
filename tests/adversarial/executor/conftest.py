"""A slot with real Docker."""

from tests.fixtures.executor import slot

__all__ = ["slot"]
