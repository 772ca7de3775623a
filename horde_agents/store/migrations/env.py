"""Alembic's entry: runs the revisions on the connection that ``store.engine`` hands over."""

from alembic import context

from horde_agents.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
