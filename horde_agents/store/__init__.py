"""Each agent's own database."""
