"""An agent's database: reachable, and of which schema."""

from horde_agents.cli.checks.finding import Finding, fine, noted, wrong
from horde_agents.store.engine import StoreUnusable, schema_of


async def database_finding(url: str) -> Finding:
    """Nothing is written or migrated."""
    try:
        schema = await schema_of(url)
    except StoreUnusable as error:
        return wrong("database", str(error))
    if schema.found is None:
        return noted("database", "it is empty; the agent makes its tables when it starts")
    if schema.found != schema.newest:
        says = f"at schema {schema.found}; the agent brings it to {schema.newest} when it starts"
        return noted("database", says)
    return fine("database", f"answers, at schema {schema.found}")
