"""These tests run only where an engine was chosen: by `test_keras_engines`, in a process for each."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "GRADSIGHT_KERAS_MAPS" in os.environ else ["test_*.py"]
