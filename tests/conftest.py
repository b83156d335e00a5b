"""One set of examples for everybody: what fails here fails there. `ODRADEK_EXPLORE=1` looks for new ones.

A shell that starts the tests in its background has them ignore Ctrl-C, and so would every program that they
start.
"""

import os
import signal

from hypothesis import settings

settings.register_profile("same-for-all", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("ODRADEK_EXPLORE") else "same-for-all")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
