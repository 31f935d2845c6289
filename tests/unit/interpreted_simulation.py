"""Imports the simulation uncompiled: a few hundred conversations need no machine code; making it takes half a minute.

`tests/unit/conftest.py` imports this before any test can import the simulation otherwise. That compiled and interpreted
functions do the same is a test of its own, in tests/integration.
"""

from __future__ import annotations

import importlib

import numba  # type: ignore[import-untyped]

numba.config.DISABLE_JIT = True
try:
    importlib.import_module("simulation.model")
finally:
    numba.config.DISABLE_JIT = False
