"""The pytest plugin, loaded in every pytest run of its users: it imports nothing heavy at module level."""
