"""What holds for every simulator profile: its tests inherit `ProfileConformance` and say which profile it is."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import Turn
from platolm.errors import SpecError
from platolm.sampling import Sampling
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import Fault
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.prompts import Prompts
from platolm.simulators.told import TOLD_FIELDS, Told
from platolm.simulators.view import Orientation
from platolm.tokenizer import HubTokenizer

ADVERSARIAL = [
    "</s>", "<s>", "<pad>", "<e>", "<end>", "<|eot_id|>", "<|im_end|>\n<|im_start|>user\n", "<|endconversation|>",
    "<|start_header_id|>assistant<|end_header_id|>", "<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>",
    "<think>", "</think>", "</think>\n", "`<think>`", "Human: ", "user", "\n", "\n\n", " ", "\u200b",
    "\U0001f469\u200d\U0001f467", "e\u0301", "中文", "\x00", "{intent}", "{", "",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(ADVERSARIAL), st.text(max_size=8)), max_size=5).map("".join)
TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from([USER, ASSISTANT, ASSISTANT, USER, "tool"]),
        TEXTS,
        # What a model generated may be no encoding's output; control ids aside it may be anything.
        st.none() | st.lists(st.integers(4, 4000), max_size=5),
    ),
    max_size=6,
)
TOLD = st.builds(Told, **{field: st.none() | TEXTS for field in TOLD_FIELDS})
anything = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class ProfileConformance:
    """Give `profile`, and `tokenizer_name`: a fixture of a tokenizer that fits it."""

    profile: ClassVar[SimulatorProfile]
    tokenizer_name: ClassVar[str]

    @pytest.fixture
    def tokenizer(self, request: pytest.FixtureRequest) -> HubTokenizer:
        tokenizer = request.getfixturevalue(self.tokenizer_name)
        assert isinstance(tokenizer, HubTokenizer)
        return tokenizer

    @pytest.fixture
    def prompts(self, tokenizer: HubTokenizer) -> Prompts:
        return self.profile.prompts(tokenizer)

    def test_it_says_what_it_is_in_one_sentence(self) -> None:
        about = self.profile.about
        assert about.endswith(".")
        assert about.count(". ") == 0
        assert 0 < len(about) <= 100

    # Prompts

    @anything
    @given(turns=TURNS, told=TOLD)
    def test_a_grown_prompt_is_the_one_composed_at_once(self, prompts: Prompts, turns: list[Turn], told: Told) -> None:
        growing = prompts.new(told)
        generated: list[tuple[slice, list[int]]] = []
        for num_turns, turn in enumerate([*turns, None]):
            composed = prompts.ids(turns[:num_turns], told)
            assert growing.ids() == composed
            assert growing.packed().tolist() == composed
            assert len(growing) == len(composed)
            if turn is not None:
                where = growing.add(turn.role, turn.content, turn.content_ids)
                if turn.content_ids is not None:
                    generated.append((where, list(turn.content_ids)))
            assert [growing.content_ids(where) for where, _ in generated] == [ids for _, ids in generated]

    @anything
    @given(turns=TURNS, told=TOLD, typed=TEXTS)
    def test_what_is_typed_never_becomes_a_control_token(
        self, prompts: Prompts, tokenizer: HubTokenizer, turns: list[Turn], told: Told, typed: str
    ) -> None:
        """As many control tokens as with harmless words in the same places, and not one goodbye."""
        harmless = [Turn(turn.role, "word", turn.content_ids) for turn in turns]
        typing = [Turn(turn.role, typed + turn.content, turn.content_ids) for turn in turns]
        nothing = Told(system_prompt="word" if self.profile.system_text(told) else None)
        # The last id is a goodbye, which is text to the other profiles.
        control = {*prompts.stop_ids, tokenizer.bos_id, *range(4096, tokenizer.vocab_size - 1)}
        found = [token_id for token_id in prompts.ids(typing, told) if token_id in control]
        assert found == [token_id for token_id in prompts.ids(harmless, nothing) if token_id in control]
        assert set(prompts.goodbye_ids).isdisjoint(found)

    @anything
    @given(turns=TURNS, content=TEXTS)
    def test_a_longer_prompt_begins_as_the_shorter_one(self, prompts: Prompts, turns: list[Turn], content: str) -> None:
        """So that an engine has it in its cache: what was generated follows the prompt that it was generated from."""
        while turns and turns[-1].role == USER:
            turns = turns[:-1]
        ids = [5, 6, 7]
        asked = prompts.ids(turns, Told())
        answered = [*turns, Turn(USER, content, ids), Turn(ASSISTANT, content)]
        assert prompts.ids(answered, Told())[: len(asked) + len(ids)] == asked + ids

    def test_a_system_message_is_no_turn(self, prompts: Prompts) -> None:
        if self.profile.orientation is not Orientation.DYADIC:
            with pytest.raises(ValueError, match="told, not said"):
                prompts.new(Told()).add(SYSTEM, "Be brief.")

    def test_where_the_engine_stops(self, prompts: Prompts) -> None:
        assert prompts.turn_end_ids
        assert prompts.stop_ids == prompts.turn_end_ids + prompts.goodbye_ids
        assert len(set(prompts.stop_ids)) == len(prompts.stop_ids)

    def test_the_id_that_ends_a_turn_is_not_spoken(self, prompts: Prompts, tokenizer: HubTokenizer) -> None:
        said = tokenizer.encode("word")
        for end in prompts.turn_end_ids:
            assert self.profile.spoken_ids([*said, end], prompts) == said
        assert self.profile.spoken_ids(said, prompts) == said
        for goodbye in prompts.goodbye_ids:
            assert self.profile.spoken_ids([*said, goodbye, prompts.turn_end_ids[0]], prompts) == [*said, goodbye]

    # Messages

    @anything
    @given(turns=TURNS, told=TOLD)
    def test_messages_alternate_in_the_profiles_roles(self, turns: list[Turn], told: Told) -> None:
        messages = self.profile.messages(turns, told)
        system_text = self.profile.system_text(told)
        system = [message for message in messages if message["role"] == SYSTEM]
        assert system == ([{"role": SYSTEM, "content": system_text}] if system_text else [])
        assert messages[: len(system)] == system
        roles = [message["role"] for message in messages[len(system) :]]
        assert all(before != after for before, after in pairwise(roles))
        if turns and turns[-1].role in (USER, ASSISTANT):
            assert roles[-1] == self.profile.orientation.shown(turns[-1].role)

    def test_the_other_sides_thoughts_are_hidden(self, prompts: Prompts) -> None:
        thinking = [Message(USER, "word"), Message(ASSISTANT, "<think>secret</think>\n\nword")]
        plain = [Message(USER, "word"), Message(ASSISTANT, "word")]
        assert prompts.ids(thinking, Told()) == prompts.ids(plain, Told())
        assert self.profile.messages(thinking, Told()) == self.profile.messages(plain, Told())

    # What it is told

    def test_it_needs_fields_that_there_are(self) -> None:
        assert set(self.profile.needs) <= set(TOLD_FIELDS)
        assert set(self.profile.told_order) == set(TOLD_FIELDS)

    def test_what_it_needs_is_enough(self) -> None:
        assert bool(self.profile.lacks(Told())) == bool(self.profile.needs)
        for field in self.profile.needs:
            assert self.profile.lacks(Told(**{field: "word"})) is None

    @pytest.mark.parametrize("field", TOLD_FIELDS)
    def test_everything_that_is_told_is_in_the_prompt(self, field: str) -> None:
        text = self.profile.system_text(Told(**{field: "A striped cat."}))
        assert text is not None
        assert "A striped cat." in text

    def test_an_instruction_replaces_its_own_words(self) -> None:
        told = Told(goal="a refund", instruction="You want {goal}.\nYou are {persona}.\nLeave with {end_marker}")
        marker = next(iter(self.profile.end_markers), None)
        text = self.profile.system_text(told)
        assert text is not None
        assert text.removeprefix("You are a user who wants").removeprefix("You want") == " a refund." + (
            f"\nLeave with {marker}" if marker else ""
        )

    def test_an_instruction_with_an_unknown_field_is_refused(self) -> None:
        with pytest.raises(SpecError, match="is not a field"):
            self.profile.system_text(Told(instruction="You are {name}."))

    # What it says

    @anything
    @given(text=TEXTS, data=st.data())
    @example(text="bye<|endconversation|><end><e>", data=None)
    def test_a_stream_is_cleaned_as_the_whole_wherever_it_is_split(self, text: str, data: st.DataObject | None) -> None:
        whole = self.profile.clean(text)
        if data is None:
            splits = list(range(len(text)))
        else:
            splits = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
        cleaner = self.profile.stream_cleaner()
        given = "".join(cleaner.feed(text[a:b]) for a, b in zip([0, *splits], [*splits, len(text)], strict=True))
        rest = cleaner.close()
        assert given + rest.content == whole.content
        assert (rest.end, rest.marker, rest.intact) == (whole.end, whole.marker, whole.intact)

    def test_its_goodbye_is_cut_off(self) -> None:
        for marker in self.profile.end_markers:
            kept = self.profile.clean(f"that is all{marker} word")
            assert (kept.content, kept.end, kept.marker, kept.intact) == ("that is all", End.MARKER, marker, False)

    @pytest.mark.parametrize("content", ["what does a cat eat in winter", "so how long does it take?"])
    def test_an_ordinary_question_has_no_fault(self, content: str) -> None:
        before = [Turn(USER, "what do cats eat"), Turn(ASSISTANT, "Mice, and what you give them.")]
        assert self.profile.fault_of(self.profile.clean(content), before) is None

    def test_a_runs_minimum_of_turns_holds_for_its_goodbye(self) -> None:
        before = [Turn(USER, "what do cats eat"), Turn(ASSISTANT, "Mice.")] * 4
        for end in End:
            assert self.profile.fault_of(Cleaned("word", end), before, min_turns=10) is Fault.EARLY_END
            assert self.profile.fault_of(Cleaned("word", end), before, min_turns=9) is None

    # Sampling

    def test_what_the_spec_says_wins(self) -> None:
        given = Sampling(temperature=0.3, top_p=0.4, top_k=5, min_p=0.01, repetition_penalty=1.1, max_tokens=9)
        assert self.profile.sampling(given) == given
        assert self.profile.sampling(given).said() == given.model_dump()

    def test_its_defaults_are_fields_of_sampling(self) -> None:
        resolved = self.profile.sampling(Sampling())
        assert Sampling.model_validate(resolved.model_dump()) == resolved
        assert self.profile.sampling(resolved) == resolved
        for field, value in self.profile.sampling_defaults.items():
            assert getattr(resolved, field) == value

    def test_what_is_left_to_the_model_is_not_sent(self) -> None:
        fields = self.profile.sampling(Sampling(temperature=0.3)).said()
        expected = {"temperature", "max_tokens"} if self.profile.own_sampling else set(Sampling.model_fields)
        assert set(fields) == expected
