"""Holders on Nomad: keeping their number, knowing their allocations, starting one for an attempt."""
