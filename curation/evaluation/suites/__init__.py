"""The suites by name."""

from __future__ import annotations

from collections.abc import Mapping

from curation.evaluation.suites.alpaca_eval import ALPACA_EVAL
from curation.evaluation.suites.mt_bench import MT_BENCH
from curation.evaluation.suites.suite import Suite
from curation.evaluation.suites.vicuna_bench import VICUNA_BENCH

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (MT_BENCH, VICUNA_BENCH, ALPACA_EVAL)}
