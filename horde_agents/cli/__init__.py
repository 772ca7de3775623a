"""The `horde` command: parses arguments, prints answers. May import every room."""
