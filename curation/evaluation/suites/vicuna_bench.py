"""Vicuna-Bench: 80 questions of one turn in nine categories, rated from 1 to 10 as MT-Bench's first turns are."""

from __future__ import annotations

from curation.evaluation.suites.fastchat import MAX_TOKENS, NUM_QUESTIONS, read_questions
from curation.evaluation.suites.mt_bench import MT_BENCH
from curation.evaluation.suites.suite import Judging, Suite

VICUNA_BENCH = Suite(
    name="vicuna-bench",
    bench_name="vicuna_bench",
    judging=Judging.SINGLE,
    num_questions=NUM_QUESTIONS,
    max_tokens=MAX_TOKENS,
    read_questions=read_questions,
    temperatures=MT_BENCH.temperatures,
    reference_categories=MT_BENCH.reference_categories,
)
