"""A miner that shares its slots with the other UIDs of its coldkey: the shared picture, roles, moves."""
