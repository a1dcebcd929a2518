"""How many threads a process takes: imported before anything that starts some."""

import os

# One unless told otherwise. For networks as small as the embedded profile's a second thread gains nothing, and where anything
# else runs on the same cores the two, waiting for each other, take 8 to 70 times as long (docs/benchmarks.md). It also keeps
# figures equal on machines with other numbers of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
