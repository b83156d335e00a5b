"""One set of examples for everybody: what fails here fails there. `ODRADEK_EXPLORE=1` looks for new ones."""

import os

from hypothesis import settings

settings.register_profile("same-for-all", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("ODRADEK_EXPLORE") else "same-for-all")
