"""The parts of the log counter; `examples/log_counter.py` is the program."""
