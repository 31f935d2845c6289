"""The dyadic format: exact ids and labels for dialogues written out by hand, and what holds for any text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import (
    IGNORE_INDEX,
    PLATOLM,
    PROFILES,
    SOCRATIC,
    DyadicProfile,
    PromptIds,
    Turn,
    compose,
    cut_after_last_label,
    prompt_ids,
)
from platolm.tokenizer import HubTokenizer, load_tokenizer

BOS, EOS = 1, 2

SOCRATIC_HEADER = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The human can ask further questions based on previous conversations, "
    "or he can directly ask brand new questions without any conversations as context.\n\n"
)
PLATOLM_HEADER = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.\n\n"
)
PROFILE = pytest.mark.parametrize("profile", [SOCRATIC, PLATOLM], ids=lambda profile: profile.name)


@pytest.fixture(scope="session")
def raw(tiny_tokenizer_folder: Path) -> Tokenizer:
    """The bare Rust tokenizer, so that expectations do not go through the code under test."""
    tokenizer = Tokenizer.from_file(str(tiny_tokenizer_folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


class Expected:
    """Ids and labels written piece by piece, each piece of text one encode."""

    def __init__(self, raw: Tokenizer) -> None:
        self._raw = raw
        self.input_ids: list[int] = []
        self.labels: list[int] = []

    def control(self, token_id: int, *, loss: bool = False) -> Expected:
        self.input_ids.append(token_id)
        self.labels.append(token_id if loss else -100)
        return self

    def text(self, text: str, *, loss: bool = False) -> Expected:
        ids = self._raw.encode(text, add_special_tokens=False).ids
        self.input_ids += ids
        self.labels += ids if loss else [-100] * len(ids)
        return self

    def turn(self, before: str, content: str, *, loss: bool) -> Expected:
        return self.text(before).control(BOS, loss=loss).text(content, loss=loss).control(EOS, loss=loss)


def test_the_headers_are_the_published_ones() -> None:
    assert SOCRATIC.header == SOCRATIC_HEADER
    assert PLATOLM.header == PLATOLM_HEADER
    assert PROFILES == {"socratic": SOCRATIC, "platolm": PLATOLM}


def test_socratic_learns_what_the_user_says(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    dialogue = [
        Message(USER, "Hello there!"),
        Message(ASSISTANT, "How are you?"),
        Message(USER, "I am fine."),
        Message(ASSISTANT, "Good."),
    ]
    expected = (
        Expected(raw)
        .control(BOS)
        .turn(SOCRATIC_HEADER + "Human: ", "Hello there!", loss=True)
        .turn("Assistant: ", "How are you?", loss=False)
        .turn("Human: ", "I am fine.", loss=True)
        .turn("Assistant: ", "Good.", loss=False)
    )
    composed = compose(dialogue, SOCRATIC, tiny_tokenizer)
    assert composed.input_ids == expected.input_ids
    assert composed.labels == expected.labels


def test_platolm_learns_what_the_assistant_says(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    dialogue = [
        Message(USER, "Hello there!"),
        Message(ASSISTANT, "How are you?"),
        Message(USER, "I am fine."),
        Message(ASSISTANT, "Good."),
    ]
    expected = (
        Expected(raw)
        .control(BOS)
        .turn(PLATOLM_HEADER + "Human: ", "Hello there!", loss=False)
        .turn("Assistant: ", "How are you?", loss=True)
        .turn("Human: ", "I am fine.", loss=False)
        .turn("Assistant: ", "Good.", loss=True)
    )
    composed = compose(dialogue, PLATOLM, tiny_tokenizer)
    assert composed.input_ids == expected.input_ids
    assert composed.labels == expected.labels


def test_labels_of_a_short_dialogue_as_bare_numbers() -> None:
    """One expectation without any real tokenizer in it: an id is 10 + its byte."""

    class Bytes:
        bos_id, eos_id = BOS, EOS

        def encode(self, text: str) -> list[int]:
            return [10 + byte for byte in text.encode()]

        def decode(self, ids: Sequence[int]) -> str:
            return bytes(i - 10 for i in ids if i >= 10).decode()

    profile = DyadicProfile("short", "H\n\n", USER)
    composed = compose([Message(USER, "ab"), Message(ASSISTANT, "c")], profile, Bytes())
    human = [10 + byte for byte in b"Human: "]
    assistant = [10 + byte for byte in b"Assistant: "]
    assert composed.input_ids == [1, 82, 20, 20, *human, 1, 107, 108, 2, *assistant, 1, 109, 2]
    assert composed.labels == [-100] * 11 + [1, 107, 108, 2] + [-100] * 14


@PROFILE
def test_an_assistant_may_speak_first(raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    composed = compose([Message(ASSISTANT, "Hello there!"), Message(USER, "thank you")], profile, tiny_tokenizer)
    expected = (
        Expected(raw)
        .control(BOS)
        .turn(profile.header + "Assistant: ", "Hello there!", loss=profile is PLATOLM)
        .turn("Human: ", "thank you", loss=profile is SOCRATIC)
    )
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


@PROFILE
def test_one_role_may_speak_twice(raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    composed = compose([Message(USER, "Hello"), Message(USER, "there")], profile, tiny_tokenizer)
    expected = (
        Expected(raw)
        .control(BOS)
        .turn(profile.header + "Human: ", "Hello", loss=profile is SOCRATIC)
        .turn("Human: ", "there", loss=profile is SOCRATIC)
    )
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


@PROFILE
def test_an_unknown_role_has_its_name_and_no_loss(
    raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile
) -> None:
    dialogue = [Message(USER, "Hello"), Message("tool", "{}"), Message(ASSISTANT, "fine")]
    composed = compose(dialogue, profile, tiny_tokenizer)
    expected = (
        Expected(raw)
        .control(BOS)
        .turn(profile.header + "Human: ", "Hello", loss=profile is SOCRATIC)
        .turn("Tool: ", "{}", loss=False)
        .turn("Assistant: ", "fine", loss=profile is PLATOLM)
    )
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


@PROFILE
def test_system_messages_go_into_the_header(
    raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile
) -> None:
    dialogue = [Message(SYSTEM, "Be brief."), Message(USER, "Hello"), Message(SYSTEM, "Be kind.")]
    composed = compose(dialogue, profile, tiny_tokenizer)
    header = profile.header.removesuffix("\n\n") + " Be brief. Be kind.\n\n"
    expected = Expected(raw).control(BOS).turn(header + "Human: ", "Hello", loss=profile is SOCRATIC)
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


def test_bos_can_be_left_out_of_the_loss(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    composed = compose([Message(USER, "Hello")], SOCRATIC, tiny_tokenizer, bos_in_loss=False)
    expected = (
        Expected(raw)
        .control(BOS)
        .text(SOCRATIC_HEADER + "Human: ")
        .control(BOS)
        .text("Hello", loss=True)
        .control(EOS, loss=True)
    )
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


def test_an_empty_utterance_keeps_its_begin_and_end(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    composed = compose([Message(USER, ""), Message(ASSISTANT, "")], SOCRATIC, tiny_tokenizer)
    expected = (
        Expected(raw).control(BOS).turn(SOCRATIC_HEADER + "Human: ", "", loss=True).turn("Assistant: ", "", loss=False)
    )
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


@PROFILE
def test_no_turn_at_all_is_the_header(raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    composed = compose([], profile, tiny_tokenizer)
    expected = Expected(raw).control(BOS).text(profile.header)
    assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)
    assert not composed.has_loss


def _header_length(raw: Tokenizer, profile: DyadicProfile, name: str) -> int:
    return 1 + len(raw.encode(profile.header + name + ": ", add_special_tokens=False).ids)


def test_a_cut_inside_a_target_turn_keeps_its_part_without_eos(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    begin = _header_length(raw, SOCRATIC, "Human")
    content = raw.encode("How are you today?", add_special_tokens=False).ids
    assert len(content) > 2
    composed = compose([Message(USER, "How are you today?")], SOCRATIC, tiny_tokenizer, max_length=begin + 3)
    assert composed.labels == [IGNORE_INDEX] * begin + [BOS, content[0], content[1]]
    assert composed.input_ids[begin:] == [BOS, content[0], content[1]]


def test_a_cut_right_after_the_content_loses_only_the_eos(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    begin = _header_length(raw, SOCRATIC, "Human")
    content = raw.encode("Hello", add_special_tokens=False).ids
    composed = compose([Message(USER, "Hello")], SOCRATIC, tiny_tokenizer, max_length=begin + 1 + len(content))
    assert composed.labels[begin:] == [BOS, *content]


def test_a_turn_that_begins_at_the_limit_has_no_loss(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    begin = _header_length(raw, SOCRATIC, "Human")
    composed = compose([Message(USER, "Hello")], SOCRATIC, tiny_tokenizer, max_length=begin)
    assert len(composed.input_ids) == begin
    assert composed.labels == [IGNORE_INDEX] * begin
    assert not composed.has_loss


@PROFILE
def test_the_last_position_has_loss_only_in_a_target_turn(tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    """The original leaks loss on the last position before the limit, whatever its role."""
    dialogue = [Message(role, "How are you today? " * 3) for role in (USER, ASSISTANT) * 3]
    whole = compose(dialogue, profile, tiny_tokenizer)
    for max_length in range(1, len(whole.input_ids) + 2):
        cut = compose(dialogue, profile, tiny_tokenizer, max_length=max_length)
        assert cut.input_ids == whole.input_ids[:max_length]
        assert cut.labels == whole.labels[:max_length]


def test_given_ids_are_used_as_they_are(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    """What a model generated is not encoded again: its ids may be no encoding's output."""
    letters = [raw.encode(letter, add_special_tokens=False).ids[0] for letter in "Hello"]
    assert letters != raw.encode("Hello", add_special_tokens=False).ids
    composed = compose([Turn(USER, "Hello", letters)], SOCRATIC, tiny_tokenizer)
    assert composed.input_ids[-len(letters) - 2 :] == [BOS, *letters, EOS]
    assert composed.labels[-len(letters) - 2 :] == [BOS, *letters, EOS]


def test_context_out_of_the_loss_is_composed_but_not_labelled(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    dialogue = [
        Turn(USER, "Hello", in_loss=False),
        Turn(ASSISTANT, "Good.", in_loss=False),
        Turn(USER, "fine"),
        Turn(ASSISTANT, "Good."),
    ]
    for profile in (SOCRATIC, PLATOLM):
        expected = (
            Expected(raw)
            .control(BOS)
            .turn(profile.header + "Human: ", "Hello", loss=False)
            .turn("Assistant: ", "Good.", loss=False)
            .turn("Human: ", "fine", loss=profile is SOCRATIC)
            .turn("Assistant: ", "Good.", loss=profile is PLATOLM)
        )
        composed = compose(dialogue, profile, tiny_tokenizer)
        assert (composed.input_ids, composed.labels) == (expected.input_ids, expected.labels)


@PROFILE
def test_a_prompt_ends_in_the_open_turn(raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    name = "Human" if profile is SOCRATIC else "Assistant"
    expected = (
        Expected(raw).control(BOS).turn(profile.header + "Human: ", "Hello", loss=False).text(f"{name}: ").control(BOS)
    )
    assert prompt_ids([Message(USER, "Hello")], profile, tiny_tokenizer) == expected.input_ids


def test_the_opening_prompt_of_the_simulator(raw: Tokenizer, tiny_tokenizer: HubTokenizer) -> None:
    expected = Expected(raw).control(BOS).text(SOCRATIC_HEADER + "Human: ").control(BOS)
    assert prompt_ids([], SOCRATIC, tiny_tokenizer) == expected.input_ids


def test_cutting_the_tail_keeps_every_label(tiny_tokenizer: HubTokenizer) -> None:
    dialogue = [Message(USER, "Hello"), Message(ASSISTANT, "Good. " * 20)]
    whole = compose(dialogue, SOCRATIC, tiny_tokenizer)
    cut = cut_after_last_label(whole)
    assert cut.input_ids == compose(dialogue[:1], SOCRATIC, tiny_tokenizer).input_ids
    assert cut.labels[-1] == EOS
    assert len(cut.labels) == len(cut.input_ids)
    assert cut_after_last_label(compose(dialogue[1:], SOCRATIC, tiny_tokenizer)).input_ids == []


ADVERSARIAL = [
    "</s>",
    "<s>",
    "<pad>",
    "<unk>",
    "\n\nHuman: <s>",
    "</s>Assistant: <s>",
    "Human: ",
    " ",
    "\n",
    "\r\n",
    "\u200b",
    "\ufeff",
    "👩‍👩‍👧",
    "e\u0301",
    "ﬁ",
    "中文",
    "\x00",
    "",
]
TEXTS = st.lists(st.one_of(st.sampled_from(ADVERSARIAL), st.text(max_size=12)), max_size=5).map("".join)
ROLES = st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"])
DIALOGUES = st.lists(st.builds(Message, ROLES, TEXTS), max_size=6)
PROFILES_ST = st.sampled_from([SOCRATIC, PLATOLM])
anything = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST)
def test_as_many_eos_as_finished_turns(
    tiny_tokenizer: HubTokenizer, dialogue: list[Message], profile: DyadicProfile
) -> None:
    composed = compose(dialogue, profile, tiny_tokenizer)
    num_spoken = sum(message.role != SYSTEM for message in dialogue)
    assert composed.input_ids.count(EOS) == num_spoken
    assert composed.input_ids.count(BOS) == 1 + num_spoken
    assert 3 not in composed.input_ids  # <pad>


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST, max_length=st.none() | st.integers(1, 300), bos_in_loss=st.booleans())
def test_labels_are_ignored_or_equal_the_ids(
    tiny_tokenizer: HubTokenizer,
    dialogue: list[Message],
    profile: DyadicProfile,
    max_length: int | None,
    bos_in_loss: bool,
) -> None:
    composed = compose(dialogue, profile, tiny_tokenizer, max_length=max_length, bos_in_loss=bos_in_loss)
    assert len(composed.labels) == len(composed.input_ids)
    assert max_length is None or len(composed.input_ids) <= max_length
    for token_id, label in zip(composed.input_ids, composed.labels, strict=True):
        assert label in (IGNORE_INDEX, token_id)


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST)
def test_the_labelled_text_is_what_the_target_said(
    tiny_tokenizer: HubTokenizer, dialogue: list[Message], profile: DyadicProfile
) -> None:
    composed = compose(dialogue, profile, tiny_tokenizer)
    labelled = [label for label in composed.labels if label != IGNORE_INDEX]
    said = [message.content for message in dialogue if message.role == profile.target_role]
    expected = [token for content in said for token in (BOS, *tiny_tokenizer.encode(content), EOS)]
    assert labelled == expected


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST)
def test_the_prompt_for_a_prefix_is_a_prefix_of_the_training_ids(
    tiny_tokenizer: HubTokenizer, dialogue: list[Message], profile: DyadicProfile
) -> None:
    """System messages are said before all else, so they stand in every prefix."""
    system = [message for message in dialogue if message.role == SYSTEM]
    spoken = [message for message in dialogue if message.role != SYSTEM]
    training = compose([*system, *spoken], profile, tiny_tokenizer).input_ids
    for position, message in enumerate(spoken):
        if message.role == profile.target_role:
            prompt = prompt_ids([*system, *spoken[:position]], profile, tiny_tokenizer)
            assert training[: len(prompt)] == prompt
            said = tiny_tokenizer.encode(message.content)
            assert training[len(prompt) : len(prompt) + len(said) + 1] == [*said, EOS]


@anything
@given(text=TEXTS)
def test_decoding_gives_the_text_back(tiny_tokenizer: HubTokenizer, text: str) -> None:
    ids = tiny_tokenizer.encode(text)
    assert not {BOS, EOS, 3} & set(ids)
    assert tiny_tokenizer.decode(ids) == text


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST)
def test_the_whole_row_decodes_to_the_whole_dialogue(
    tiny_tokenizer: HubTokenizer, dialogue: list[Message], profile: DyadicProfile
) -> None:
    spoken = [message for message in dialogue if message.role != SYSTEM]
    composed = compose(spoken, profile, tiny_tokenizer)
    names = {USER: "Human", ASSISTANT: "Assistant", "tool": "Tool"}
    text = profile.header + "".join(f"{names[message.role]}: {message.content}" for message in spoken)
    assert tiny_tokenizer.decode(composed.input_ids) == text


@anything
@given(dialogue=DIALOGUES, profile=PROFILES_ST, data=st.data())
def test_out_of_the_loss_changes_labels_alone(
    tiny_tokenizer: HubTokenizer, dialogue: list[Message], profile: DyadicProfile, data: st.DataObject
) -> None:
    in_loss = data.draw(st.lists(st.booleans(), min_size=len(dialogue), max_size=len(dialogue)))
    turns = [Turn(m.role, m.content, in_loss=some) for m, some in zip(dialogue, in_loss, strict=True)]
    composed = compose(turns, profile, tiny_tokenizer)
    assert composed.input_ids == compose(dialogue, profile, tiny_tokenizer).input_ids
    labelled = [label for label in composed.labels if label != IGNORE_INDEX]
    said = [turn.content for turn in turns if turn.role == profile.target_role and turn.in_loss]
    assert labelled == [token for content in said for token in (BOS, *tiny_tokenizer.encode(content), EOS)]


DEMO_MODEL = Path(__file__).parents[2] / "models" / "demo" / "socratic"


@pytest.fixture(scope="session")
def tokenizers(tiny_tokenizer: HubTokenizer, byte_tokenizer_folder: Path) -> dict[str, HubTokenizer]:
    """One with merges like the demo pair's, one trained on the spot, one without merges."""
    return {
        "demo": load_tokenizer(DEMO_MODEL),
        "tiny": tiny_tokenizer,
        "bytes": load_tokenizer(byte_tokenizer_folder),
    }


SPOKEN = st.lists(
    st.builds(
        Turn,
        st.sampled_from([USER, ASSISTANT, "tool"]),
        TEXTS,
        # What a model generated may be no encoding's output; bos and eos are 1 and 2 in all three.
        st.none() | st.lists(st.integers(3, 259), max_size=6),
    ),
    max_size=6,
)


@anything
@given(
    name=st.sampled_from(["demo", "tiny", "bytes"]),
    turns=SPOKEN,
    profile=PROFILES_ST,
    system_prompt=st.none() | TEXTS,
)
def test_a_prompt_that_grows_is_the_one_composed_anew(
    tokenizers: dict[str, HubTokenizer],
    name: str,
    turns: list[Turn],
    profile: DyadicProfile,
    system_prompt: str | None,
) -> None:
    tokenizer = tokenizers[name]
    system = [Turn(SYSTEM, system_prompt)] if system_prompt else []
    growing = PromptIds(profile, tokenizer, system_prompt=system_prompt)
    contents: list[tuple[slice, list[int]]] = []
    for num_turns, turn in enumerate([*turns, None]):
        composed = prompt_ids([*system, *turns[:num_turns]], profile, tokenizer)
        assert growing.ids() == composed
        assert growing.packed().tolist() == composed
        assert len(growing) == len(composed)
        if turn is not None:
            ids = turn.content_ids if turn.content_ids is not None else tokenizer.encode(turn.content)
            contents.append((growing.add(turn.role, ids), list(ids)))
    assert [growing.content_ids(where) for where, _ in contents] == [ids for _, ids in contents]


@PROFILE
def test_a_prompt_that_grows_as_bare_pieces(
    raw: Tokenizer, tiny_tokenizer: HubTokenizer, profile: DyadicProfile
) -> None:
    """Written out once, so that the growing prompt is not held against code that it shares."""
    name = "Human" if profile is SOCRATIC else "Assistant"
    header = profile.header.removesuffix("\n\n") + " Be brief.\n\n"
    growing = PromptIds(profile, tiny_tokenizer, system_prompt="Be brief.")
    opening = Expected(raw).control(BOS).text(header + f"{name}: ").control(BOS)
    assert growing.ids() == opening.input_ids
    growing.add(USER, [7, 8])
    growing.add(ASSISTANT, [])
    expected = Expected(raw).control(BOS).text(header + "Human: ").control(BOS)
    expected.input_ids += [7, 8]
    expected.control(EOS).text("Assistant: ").control(BOS).control(EOS).text(f"{name}: ").control(BOS)
    assert growing.ids() == expected.input_ids
    assert len(growing) == len(expected.input_ids)


class Wide:
    """A tokenizer of so many ids that the last does, or does not, fit into two bytes."""

    bos_id, eos_id = BOS, EOS

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str) -> list[int]:
        return [self.vocab_size - 1 - byte for byte in text.encode()]

    encode_fixed = encode

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(self.vocab_size - 1 - i for i in ids).decode()


@pytest.mark.parametrize(("vocab_size", "size_bytes"), [(400, 2), (2**16, 2), (2**16 + 1, 4), (300_000, 4)])
def test_ids_are_kept_in_as_few_bytes_as_hold_them(vocab_size: int, size_bytes: int) -> None:
    tokenizer = Wide(vocab_size)
    growing = PromptIds(SOCRATIC, tokenizer)
    growing.add(USER, [vocab_size - 1])
    assert growing.ids() == prompt_ids([Turn(USER, "", [vocab_size - 1])], SOCRATIC, tokenizer)
    assert (growing.packed().tolist(), growing.packed().itemsize) == (growing.ids(), size_bytes)


def test_what_a_growing_prompt_gave_out_stays_as_it_was(tiny_tokenizer: HubTokenizer) -> None:
    growing = PromptIds(SOCRATIC, tiny_tokenizer)
    given_out, packed = growing.ids(), growing.packed()
    copied = list(given_out)
    growing.add(USER, [7])
    assert given_out == packed.tolist() == copied
    given_out.append(99)
    packed.append(99)
    assert growing.ids() == prompt_ids([Turn(USER, "", [7])], SOCRATIC, tiny_tokenizer)


@pytest.mark.parametrize("system_prompt", [None, ""])
def test_no_system_prompt_leaves_the_header_as_it_is(tiny_tokenizer: HubTokenizer, system_prompt: str | None) -> None:
    growing = PromptIds(SOCRATIC, tiny_tokenizer, system_prompt=system_prompt)
    assert growing.ids() == prompt_ids([], SOCRATIC, tiny_tokenizer)
