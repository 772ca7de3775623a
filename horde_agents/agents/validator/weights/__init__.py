"""Gets a cycle's weights onto the chain."""
