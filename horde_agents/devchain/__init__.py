"""A development chain that stock Bittensor tools talk to."""
