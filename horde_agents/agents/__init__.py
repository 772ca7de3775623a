"""The four agents; they speak over the wire and never import one another."""
