"""Which of the processes that were started together this one is."""

import os


def is_first_process() -> bool:
    """Whether this process is the one to speak, of those that were started together."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((os.environ[name] for name in ranks if name in os.environ), "0") == "0"
