"""What transformers says of its own accord, and how it is kept from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def quiet(library: ModuleType) -> Iterator[None]:
    """Keep transformers from logging, drawing how it reads files, and asking; how the hub fetches them is drawn.

    What it asks, on stdout, is whether to run code that came with a model. Wherever it is told it is told no; where it
    goes on to parts of a model by itself, it tells nobody, and would ask.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

    logging, code = library.utils.logging, library.dynamic_module_utils
    level, bars, fetching = logging.get_verbosity(), logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    waits, code.TIME_OUT_REMOTE_CODE = code.TIME_OUT_REMOTE_CODE, 0  # without time to answer it takes a no
    if fetching:
        enable_progress_bars()
    try:
        yield
    finally:
        code.TIME_OUT_REMOTE_CODE = waits
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
