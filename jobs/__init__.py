"""The commands: `python -m jobs.NAME key=value`, or `ppot NAME key=value`.

Each module configures and calls the pipeline and holds no logic of its own.
"""

import os

# numpy's threads only slow the small matrices of these processes down, where others work too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
