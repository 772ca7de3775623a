"""Signed statements about jobs. Pure."""
