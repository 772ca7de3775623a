"""The HTTP endpoints for operators and other validators: read-only, paged, described by OpenAPI."""
