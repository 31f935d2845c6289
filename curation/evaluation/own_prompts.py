"""The wording of this project's own judge prompts, for who has none of the suites' files at hand."""

from __future__ import annotations

OWN_SYSTEM = "You examine answers of chat assistants for a test. You are strict, exact and impartial."

_SCALE = """\
Say first, in two or three sentences, what is right and what is wrong with it: whether it does what was asked, whether \
what it states is true, whether it is complete, and whether it is clear. Length by itself is no merit. Then close with \
a line of its own that holds nothing but your mark, a number from 1 (useless) to 10 (nothing to improve) in double \
square brackets, such as [[4]]."""

_ONE_TURN = """\
Judge the assistant's answer to this question.

=== question ===
{question}

=== answer ===
{answer}

=== end ===

"""

_ONE_TURN_WITH_REFERENCE = """\
Judge the assistant's answer to this question. A correct solution is given for you to check the answer against; the \
assistant has not seen it, and another way to the same result is as good.

=== question ===
{question}

=== correct solution ===
{ref_answer_1}

=== answer ===
{answer}

=== end ===

"""

_TWO_TURNS = """\
Judge the assistant's second answer in this dialogue. The first exchange is there because the second question builds \
on it; it gets no mark here.

=== question 1 ===
{question_1}

=== answer 1 ===
{answer_1}

=== question 2 ===
{question_2}

=== answer 2, to be judged ===
{answer_2}

=== end ===

"""

_TWO_TURNS_WITH_REFERENCE = """\
Judge the assistant's second answer in this dialogue. The first exchange is there because the second question builds \
on it; it gets no mark here. Correct solutions are given for you to check the answer against; the assistant has not \
seen them, and another way to the same result is as good.

=== question 1 ===
{question_1}

=== correct solution 1 ===
{ref_answer_1}

=== question 2 ===
{question_2}

=== correct solution 2 ===
{ref_answer_2}

=== answer 1 ===
{answer_1}

=== answer 2, to be judged ===
{answer_2}

=== end ===

"""

OWN_SINGLE = tuple(
    text + _SCALE for text in (_ONE_TURN, _TWO_TURNS, _ONE_TURN_WITH_REFERENCE, _TWO_TURNS_WITH_REFERENCE)
)
"""In the order: plain, plain second turn, with reference, with reference second turn."""

OWN_PAIR = """\
Two assistants were given the same instruction. Say which answer a careful person would rather have got.

=== instruction ===
{instruction}

=== answer A ===
{output_1}

=== answer B ===
{output_2}

=== end ===

Which of the two comes first means nothing, and length by itself is no merit. Give your reason in one or two \
sentences. Then close with a line of its own that holds nothing but your choice: [[A]], [[B]], or [[C]] \
where neither is better."""
