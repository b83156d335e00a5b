"""A thin asyncio client of the wire protocol, for the command line, the tests and replication."""
