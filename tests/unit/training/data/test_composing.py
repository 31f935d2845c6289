"""Rows: exact ids and labels with three families of tokenizers, and what holds for any dialogue and any length."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.dyadic import IGNORE_INDEX, PLATOLM, SOCRATIC
from platolm.tokenizer import HubTokenizer
from tests.unit.training.data.records import dialogue, labelled_runs, labelled_text
from training.data.composing import Composer, profiles_of
from training.data.dialogues import Dialogue, UnusableRecordError, conversation_of, dialogue_of, encoded
from training.data.report import RowCounts
from training.data.row_files import Row
from training.recipes.recipe import Data, Side

_ = IGNORE_INDEX
BOS, EOS = 1, 2


def rows(
    tokenizer: HubTokenizer, dialogues: list[Dialogue], side: Side, **settings: Any
) -> tuple[list[Row], RowCounts]:
    counts = RowCounts()
    composer = Composer(Data(**settings), side, tokenizer)
    return list(composer.rows(dialogues, counts)), counts


def one_row(tokenizer: HubTokenizer, one: Dialogue, side: Side, **settings: Any) -> tuple[list[int], list[int]]:
    (row,), _counts = rows(tokenizer, [one], side, **settings)
    return row.input_ids.tolist(), row.labels.tolist()


SAID = ("Hello", "Hi! 😀", "A </s>?", "Bye.")


def test_golden_byte_level_bpe_socratic(demo_tokenizer: HubTokenizer) -> None:
    # fmt: off
    header_human = [
        36, 269, 395, 1106, 261, 3808, 1196, 290, 350, 891, 3895, 3960, 2271, 358, 17, 393, 1196, 334, 1234, 2342, 1392,
        1717, 335, 595, 3069, 2848, 610, 15, 331, 340, 334, 2494, 1234, 2574, 753, 1392, 1207, 516, 2848, 610, 361,
        2825, 17, 202, 202, 43, 3638, 29, 224,
    ]
    hello, hi, a = [43, 663, 82], [2701, 4, 224, 176, 257, 250, 226], [36, 3871, 18, 86, 33, 34]
    human, assistant = [43, 3638, 29, 224], [36, 1274, 419, 358, 29, 224]
    # fmt: on
    input_ids, labels = one_row(demo_tokenizer, dialogue(demo_tokenizer, *SAID), Side.SOCRATIC)
    assert input_ids == [
        *(BOS, *header_human, BOS, *hello, EOS),
        *(*assistant, BOS, *hi, EOS),
        *(*human, BOS, *a, EOS),
    ]
    assert labels == [
        *(_,) * 50, *(BOS, *hello, EOS),
        *(_,) * (6 + 1 + 7 + 1),
        *(_,) * 4, *(BOS, *a, EOS),
    ]  # fmt: skip


def test_golden_sentencepiece_platolm(sentencepiece_tokenizer: HubTokenizer) -> None:
    # fmt: off
    header_human = [
        330, 10706, 1444, 264, 13903, 2930, 304, 396, 18278, 10895, 13892, 28723, 415, 13892, 5212, 10865, 28725, 10537,
        28725, 304, 27057, 11194, 298, 272, 2930, 28742, 28713, 4224, 28723, 13, 13, 28769, 6366, 28747, 28705,
    ]
    hello, hi, a, bye = [22557], [15359, 28808, 28705, 30575], [330, 1867, 28713, 23911], [2463, 28706, 28723]
    human, assistant = [10649, 28747, 28705], [21631, 28747, 28705]
    # fmt: on
    input_ids, labels = one_row(sentencepiece_tokenizer, dialogue(sentencepiece_tokenizer, *SAID), Side.PLATOLM)
    assert input_ids == [
        *(BOS, *header_human, BOS, *hello, EOS),
        *(*assistant, BOS, *hi, EOS),
        *(*human, BOS, *a, EOS),
        *(*assistant, BOS, *bye, EOS),
    ]
    assert labels == [
        *(_,) * (1 + 35 + 1 + 1 + 1),
        *(_,) * 3, *(BOS, *hi, EOS),
        *(_,) * (3 + 1 + 4 + 1),
        *(_,) * 3, *(BOS, *bye, EOS),
    ]  # fmt: skip


def test_golden_names_of_several_tokens_both_sides(tiny_tokenizer: HubTokenizer) -> None:
    """The two headers in turn, both roles learned; by the spelling of every token."""
    # fmt: off
    start = ["A", "Ġc", "hat", "Ġb", "et", "w", "een", "Ġa", "Ġc", "ur", "ious", "Ġhuman", "Ġand", "Ġan", "Ġa", "r",
             "ti", "fic", "ial", "Ġ", "in", "te", "l", "l", "ig", "en", "ce", "Ġassistant", ".", "Ġ", "The"]
    platolm = ["Ġassistant", "Ġg", "i", "v", "es", "Ġ", "he", "l", "p", "f", "u", "l", ",", "Ġd", "et", "a", "i", "l",
               "ed", ",", "Ġand", "Ġ", "p", "o", "l", "i", "te", "Ġan", "s", "w", "ers", "Ġ", "t", "o", "Ġ", "the",
               "Ġhuman", "'", "s", "Ġquestions", "."]
    human, assistant = ["H", "uman", ":", "Ġ"], ["A", "s", "sis", "tant", ":", "Ġ"]
    # fmt: on
    one = Dialogue([dialogue(tiny_tokenizer, t, first=r).spoken[0] for r, t in ((ASSISTANT, "Hm"), (USER, "ox"))])
    (socratic, second), _counts = rows(tiny_tokenizer, [one, one], Side.BOTH)
    spelled = [tiny_tokenizer.token_of(i) for i in second.input_ids]
    header = ["<s>", *start, *platolm, "Ċ", "Ċ"]
    assert spelled == [*header, *assistant, "<s>", "H", "m", "</s>", *human, "<s>", "o", "x", "</s>"]
    labels = [i if i == _ else tiny_tokenizer.token_of(i) for i in second.labels.tolist()]
    assert labels == [*[_] * (len(header) + 6), "<s>", "H", "m", "</s>", *[_] * 4, "<s>", "o", "x", "</s>"]
    assert tiny_tokenizer.decode(socratic.input_ids.tolist()) == SOCRATIC.header + "Assistant: HmHuman: ox"
    assert labelled_text(tiny_tokenizer, socratic.labels) == "<Hm><ox>"


def test_the_sides_and_their_headers() -> None:
    assert profiles_of(Side.SOCRATIC) == (SOCRATIC,)
    assert profiles_of(Side.PLATOLM) == (PLATOLM,)
    assert profiles_of(Side.BOTH) == (SOCRATIC, PLATOLM)


def test_a_row_ends_at_its_last_label_and_the_tail_is_counted(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, "Hi", "Hello", "Why?", "Because")
    (row,), counts = rows(byte_tokenizer, [one], Side.SOCRATIC)
    assert row.labels[-1] == byte_tokenizer.eos_id
    assert counts.num_tail_tokens == len("Assistant: ") + 1 + len("Because") + 1
    assert (counts.num_rows, counts.num_tokens) == (1, len(row.input_ids))
    assert rows(byte_tokenizer, [one], Side.PLATOLM)[1].num_tail_tokens == 0


def test_the_begin_token_can_be_left_out_of_the_loss(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, "Hi", "Hello")
    assert labelled_text(byte_tokenizer, one_row(byte_tokenizer, one, Side.PLATOLM)[1]) == "<Hello>"
    assert labelled_text(byte_tokenizer, one_row(byte_tokenizer, one, Side.PLATOLM, bos_in_loss=False)[1]) == "Hello>"


def test_a_split_conversation_is_counted_and_numbered(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, *(f"{i}" * 40 for i in range(9)))
    split, counts = rows(byte_tokenizer, [one], Side.SOCRATIC, max_length=500)
    assert [labelled_text(byte_tokenizer, row.labels)[1] for row in split] == ["0", "6"]
    assert [labelled_text(byte_tokenizer, row.labels).count("<") for row in split] == [3, 2]
    assert [row.first_turn for row in split] == [0, 3]
    assert (counts.num_split, counts.num_segments, counts.num_rows, counts.num_cut_turns) == (1, 2, 2, 0)


def test_without_splitting_a_long_conversation_is_cut(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, *(f"{i}" * 40 for i in range(9)))
    (row,), counts = rows(byte_tokenizer, [one], Side.SOCRATIC, max_length=470, split_long=False)
    text = labelled_text(byte_tokenizer, row.labels)
    assert text.startswith(f"<{'0' * 40}><{'2' * 40}><4")
    assert text.endswith("4")
    assert len(row.input_ids) == 470
    assert (counts.num_split, counts.num_cut_turns, counts.num_lost_turns) == (0, 1, 2)


def test_a_row_without_labels_is_dropped_and_counted(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, "Hi" * 200, "Hello")
    kept, counts = rows(byte_tokenizer, [one], Side.PLATOLM, max_length=300, split_long=False)
    assert kept == []
    assert (counts.num_rows, counts.num_all_masked, counts.num_lost_turns) == (0, 1, 1)
    assert (counts.num_tokens, counts.num_tail_tokens) == (0, 0)


def test_system_messages_are_in_the_header_of_every_segment(byte_tokenizer: HubTokenizer) -> None:
    spoken = dialogue(byte_tokenizer, *("x" * 60 for _i in range(6))).spoken
    record = {"messages": [{"role": SYSTEM, "content": "Be kind."}, {"role": USER, "content": "x"}]}
    system = dialogue_of(record, conversation_of(record, 1), (SOCRATIC,), byte_tokenizer).system
    split, _counts = rows(byte_tokenizer, [Dialogue(spoken, system)], Side.SOCRATIC, max_length=460)
    assert len(split) > 1
    for row in split:
        assert " Be kind.\n\n" in byte_tokenizer.decode(row.input_ids.tolist())
        assert len(row.input_ids) <= 460


def test_room_is_what_header_and_system_messages_leave(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, "Hi", "Hello")
    least = 1 + len(PLATOLM.header) + len("Assistant: ") + 2
    assert Composer(Data(max_length=least), Side.PLATOLM, byte_tokenizer).has_room(one)
    assert not Composer(Data(max_length=least - 1), Side.PLATOLM, byte_tokenizer).has_room(one)
    assert not Composer(Data(max_length=least), Side.BOTH, byte_tokenizer).has_room(one)


TYPED = ["</s>", "<s>", "\n\nHuman: <s>", "</s>Assistant: ", "👩‍👩‍👧", "中文", "e\u0301", "\x00", "a", "Hello "]
TEXTS = st.lists(st.one_of(st.sampled_from(TYPED), st.text(max_size=12)), max_size=8).map("".join)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"]), "content": TEXTS}),
    min_size=1,
    max_size=9,
)
anything = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)


@anything
@given(
    messages=MESSAGES,
    side=st.sampled_from(list(Side)),
    max_length=st.integers(100, 260),
    split_long=st.booleans(),
    bos_in_loss=st.booleans(),
)
def test_only_what_the_side_said_is_labelled_and_all_of_it_once(
    tiny_tokenizer: HubTokenizer,
    messages: list[dict[str, str]],
    side: Side,
    max_length: int,
    split_long: bool,
    bos_in_loss: bool,
) -> None:
    composer = Composer(
        Data(max_length=max_length, split_long=split_long, bos_in_loss=bos_in_loss), side, tiny_tokenizer
    )
    record = {"messages": messages}
    try:
        unread = dialogue_of(record, conversation_of(record, 1), composer.profiles, tiny_tokenizer)
    except UnusableRecordError:
        return
    (one,) = encoded([unread], tiny_tokenizer)
    if not composer.has_room(one):
        return
    counts = RowCounts()
    made = list(composer.rows([one], counts))
    for row in made:
        assert len(row.input_ids) == len(row.labels) <= max_length
        assert all(label in (IGNORE_INDEX, i) for i, label in zip(row.input_ids, row.labels, strict=True))
        assert row.labels[-1] != IGNORE_INDEX
    begin = [tiny_tokenizer.bos_id] if bos_in_loss else []
    said = [turn for turn in one.spoken if turn.role in composer.targets]
    wanted = [[*begin, *tiny_tokenizer.encode(turn.content), tiny_tokenizer.eos_id] for turn in said]
    learned = [run for row in made for run in labelled_runs(row.labels)]
    if split_long:
        assert len(learned) == len(wanted)
    cut = [whole != run for whole, run in zip(wanted, learned, strict=False)]
    assert all(run == whole[: len(run)] for whole, run in zip(wanted, learned, strict=False))
    if split_long or bos_in_loss:  # else a cut turn may have no label at all
        assert sum(cut) == counts.num_cut_turns
    assert [row.first_turn for row in made] == _turns_before(made)


def _turns_before(made: list[Row]) -> list[int]:
    before = [len(labelled_runs(row.labels)) for row in made]
    return [sum(before[:i]) for i in range(len(made))]


@anything
@given(messages=MESSAGES, side=st.sampled_from([Side.SOCRATIC, Side.PLATOLM]))
def test_labels_follow_the_sides_name(tiny_tokenizer: HubTokenizer, messages: list[dict[str, str]], side: Side) -> None:
    """Read back from the row itself: every labelled stretch is a turn's bos to its eos, after the side's name."""
    composer = Composer(Data(max_length=160), side, tiny_tokenizer)
    record = {"messages": messages}
    try:
        unread = dialogue_of(record, conversation_of(record, 1), composer.profiles, tiny_tokenizer)
    except UnusableRecordError:
        return
    dialogues = [one for one in encoded([unread], tiny_tokenizer) if composer.has_room(one)]
    name = tiny_tokenizer.encode({Side.SOCRATIC: "Human: ", Side.PLATOLM: "Assistant: "}[side])
    for row in composer.rows(dialogues, RowCounts()):
        ids, labels = row.input_ids.tolist(), row.labels.tolist()
        for begin in (i for i in range(1, len(ids)) if labels[i] != IGNORE_INDEX and labels[i - 1] == IGNORE_INDEX):
            end = next((i for i in range(begin, len(ids)) if ids[i] == tiny_tokenizer.eos_id), len(ids) - 1)
            assert ids[begin] == tiny_tokenizer.bos_id
            assert ids[begin - len(name) : begin] == name
            assert labels[begin : end + 1] == ids[begin : end + 1]
            assert end + 1 == len(ids) or labels[end + 1] == IGNORE_INDEX


def test_the_tokenizer_of_this_test_spells_names_in_several_tokens(tiny_tokenizer: HubTokenizer) -> None:
    assert [len(tiny_tokenizer.encode(name)) for name in ("Human", "Assistant")] == [2, 4]
