"""Runs first in the Python processes that the tests start with `subprocess_env`."""

import torchvision_shim

torchvision_shim.install()
