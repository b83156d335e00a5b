"""``python -m tests.faults.halted_recovery serve …``: Odradek whose processes that recover logs stop by
themselves, as with SIGSTOP, once they have read a piece of the first log, and go on when they get a SIGCONT.
"""

from odradek.cli.main import main
from odradek.server import worker

_HALTED = """\
import os, signal
from odradek.server import worker_process

moved = worker_process.Pace.moved

def halt(pace, count):
    worker_process.Pace.moved = moved
    os.kill(os.getpid(), signal.SIGSTOP)
    moved(pace, count)

worker_process.Pace.moved = halt
worker_process.main()
"""

if __name__ == "__main__":
    worker.MAIN[:] = ["-c", _HALTED]
    main()
