"""Sets a machine up for ``make demo`` and ``make test``: standard library only, quick when all is there."""
