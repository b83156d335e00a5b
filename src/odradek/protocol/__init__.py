"""Wire bytes ↔ values, without I/O."""
