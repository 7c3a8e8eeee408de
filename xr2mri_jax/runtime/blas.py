"""Limits NumPy's and SciPy's matrix products to one thread in the project's own commands.

OpenBLAS divides products of a few hundred thousand operations among threads. Waking the threads
takes longer than such a product, and much longer if XLA's threads or another worker use the cores.
Prediction for a folder took 36 s of processor time with OpenBLAS' threads and 21 s without them.
"""

import os

VARIABLE = "OPENBLAS_NUM_THREADS"


def one_thread() -> None:
    """Sets VARIABLE to 1 for this process and its children, unless the user has set it.

    OpenBLAS reads it when NumPy is imported; after that this has no effect on the process itself.
    """
    os.environ.setdefault(VARIABLE, "1")
