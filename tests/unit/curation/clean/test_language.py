"""The language stage on the real model: short texts of four languages, code, and what is dropped."""

from __future__ import annotations

import pickle

import pytest

from curation.clean.language import UNDETERMINED, Language, prose
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from tests.unit.curation.clean.spoken import reason, spoken, texts

SHORT_TEXTS = [
    ("en", "How are you?"),
    ("en", "Write a poem about cats"),
    ("en", "what is the capital of France"),
    ("en", "résumé for a naïve café owner – “curly” quotes"),
    ("en", "CAN YOU HELP ME"),
    ("es", "¿Cómo estás?"),
    ("es", "cual es la capital de Francia"),
    ("es", "dame cinco nombres para mi panaderia"),
    ("de", "Wie geht es dir?"),
    ("de", "was ist die Hauptstadt von Frankreich"),
    ("de", "danke, mach weiter"),
    ("zh", "你好吗？"),
    ("zh", "法国的首都是哪里"),
    ("zh", "给我的面包店起五个名字"),
]


@pytest.fixture(scope="module")
def stage() -> Language:
    return Language(["en"])


@pytest.mark.parametrize(("language", "text"), SHORT_TEXTS)
def test_short_texts_are_told_apart(stage: Language, language: str, text: str) -> None:
    assert next(iter(stage.scores(text))) == language


def test_language_and_score_are_recorded_and_nothing_else_changes(stage: Language) -> None:
    dialogue = spoken("Where do the swallows go in the winter?", "They fly to Africa, all of them.", model="m")
    after = stage.apply(dialogue)
    assert isinstance(after, Dialogue)
    assert after.messages == dialogue.messages
    assert after.fields["language"] == "en"
    assert 0.5 < after.fields["language_score"] <= 1
    assert after.fields["model"] == "m"


def test_another_language_is_dropped_with_its_name(stage: Language) -> None:
    outcome = stage.apply(spoken("Wohin fliegen die Schwalben im Winter?", "Nach Afrika, und zwar alle."))
    assert reason(outcome) == "another language"
    assert getattr(outcome, "detail").startswith("de ")  # noqa: B009


def test_what_no_language_is_likely_for_is_uncertain(stage: Language) -> None:
    assert reason(stage.apply(spoken("hmm", "qwx"))) == "language uncertain"


def test_several_languages_are_wanted_together() -> None:
    dialogue = spoken("Wohin fliegen die Schwalben im Winter?", "Nach Afrika, und zwar alle.")
    assert texts(Language(["EN", "de"]).apply(dialogue)) == [m.content for m in dialogue.messages]


def test_without_languages_all_are_kept() -> None:
    assert isinstance(Language().apply(spoken("hmm", "qwx")), Dialogue)


def test_code_is_no_prose(stage: Language) -> None:
    code = "```python\nfür = [mädchen for mädchen in schöne_häuser]\n```\n```\nnicht geschlossen"
    after = stage.apply(spoken("Please explain what this does: `überaus`", f"It makes a list.\n{code}"))
    assert isinstance(after, Dialogue)
    assert after.fields["language"] == "en"


def test_code_alone_is_kept_whatever_is_wanted(stage: Language) -> None:
    after = stage.apply(spoken("```\nx = 1\n```", "1 + 1 = 2"))
    assert isinstance(after, Dialogue)
    assert (after.fields["language"], after.fields["language_score"]) == (UNDETERMINED, 0.0)


def test_prose_has_no_system_messages_and_an_end() -> None:
    long = "word " * 1000
    messages = [Message(SYSTEM, "secret"), *(Message(role, long) for role in (USER, ASSISTANT) * 3)]
    found = prose(messages)
    assert "secret" not in found
    assert 1200 <= len(found) <= 1210


def test_it_can_be_pickled_after_use(stage: Language) -> None:
    stage.scores("some text")
    again = pickle.loads(pickle.dumps(stage))
    assert again.scores("Wie geht es dir?") == stage.scores("Wie geht es dir?")


def test_lines_and_control_characters_are_no_trouble(stage: Language) -> None:
    assert stage.scores("a\nb\r\n\x00\u2028 c\ud800".encode("utf-8", "replace").decode()) != {}
