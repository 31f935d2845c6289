"""MT-Bench (Zheng et al. 2023): 80 questions of two turns in eight categories, each turn rated from 1 to 10."""

from __future__ import annotations

from curation.evaluation.suites.fastchat import MAX_TOKENS, NUM_QUESTIONS, REFERENCE_CATEGORIES, read_questions
from curation.evaluation.suites.suite import Judging, Published, Suite

MT_BENCH = Suite(
    name="mt-bench",
    bench_name="mt_bench",
    judging=Judging.SINGLE,
    num_questions=NUM_QUESTIONS,
    max_tokens=MAX_TOKENS,
    read_questions=read_questions,
    temperatures={
        "writing": 0.7,
        "roleplay": 0.7,
        "extraction": 0.0,
        "math": 0.0,
        "coding": 0.0,
        "reasoning": 0.0,
        "stem": 0.1,
        "humanities": 0.1,
    },
    reference_categories=REFERENCE_CATEGORIES,
    published=Published("PlatoLM-7B (paper)", "gpt-4", 6.33, {1: 6.74, 2: 5.91}),
)
