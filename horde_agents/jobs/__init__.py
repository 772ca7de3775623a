"""A job's life, limits and faults, the same for all agents. Pure."""
