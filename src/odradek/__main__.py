"""`python -m odradek`: the command line where the script is not on the path."""

from odradek.cli.main import main

main()
