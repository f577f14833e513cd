"""Several threads that share one batch."""

from numpygpt.parallel.blas import blas_threads
from numpygpt.parallel.threads import DataParallel

__all__ = ["DataParallel", "blas_threads"]
