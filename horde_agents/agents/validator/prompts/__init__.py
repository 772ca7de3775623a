"""Synthetic jobs whose prompts nobody can know before, with answers that the trusted miner gave."""
