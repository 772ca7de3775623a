"""Keeps one slot and runs one job at a time in a sandbox."""
