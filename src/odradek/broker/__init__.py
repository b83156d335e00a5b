"""The broker itself: synchronous, sole owner of state, one file per API."""
