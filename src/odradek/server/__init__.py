"""All of asyncio: sockets, timers, and the thread that flushes."""
