"""Pure state machines of the coordinators: what comes in → records, replies and timers. No I/O, no clock."""
