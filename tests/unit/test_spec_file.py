"""Spec files: what they give, and that everything wrong with one is said at once, with path and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import InputError, SpecError, SpecProblem
from platolm.sampling import Sampling
from platolm.spec import OutputFormat, RunSpec, SeedMode, SideSpec
from platolm.spec_file import MAX_SPEC_BYTES, SpecDraft, read_spec_file


def spec_file(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec_file(path).spec()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    text = "conversations: 5\nsimulator:\n  sampling: {temperature: 1}\nendings:\n  stop_phrases: [bye]\n"
    spec = read_spec_file(spec_file(tmp_path, text)).spec()
    defaults = RunSpec(conversations=5)
    assert spec.simulator.profile == "socratic"
    assert spec.simulator.sampling == defaults.simulator.sampling.model_copy(update={"temperature": 1.0})
    assert spec.endings == defaults.endings.model_copy(update={"stop_phrases": ["bye"]})
    assert (spec.respondent, spec.limits, spec.output) == (defaults.respondent, defaults.limits, defaults.output)


def test_a_group_whose_fields_are_all_commented_out_has_its_defaults(tmp_path: Path) -> None:
    spec = read_spec_file(spec_file(tmp_path, "conversations: 5\nlimits:\n  # in_flight: 3\nendings: null\n")).spec()
    assert spec == RunSpec(conversations=5)


def test_json_is_read_too(tmp_path: Path) -> None:
    given = {"conversations": 5, "name": "\U0001f600", "output": {"format": "parquet"}, "seed_mode": "intent"}
    spec = read_spec_file(spec_file(tmp_path, json.dumps(given), "run.json")).spec()
    assert (spec.name, spec.output.format, spec.seed_mode) == ("\U0001f600", OutputFormat.PARQUET, SeedMode.INTENT)


def test_everything_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
conversations: 0
name: 12
simulatr: {}
simulator:
  endpoints: [ftp://x, http://y]
  sampling:
    top_p: 3
    temprature: 1
endings:
  user_ended: no
  stop_phrases: [ok, " ", 42]
temperature: 1
max_attempts: 3
seed: 123456789012345678901234567890
foo: 1
output: {url: nowhere}
"""
    assert problems_of(spec_file(tmp_path, text)) == [
        "line 1: conversations: Input should be greater than or equal to 1 (given: 0)",
        "line 2: name: a text is needed; put it in quotes (given: 12)",
        "line 3: simulatr: there is no such field; did you mean simulator?",
        'line 5: simulator.endpoints[0]: an http:// or https:// address is needed (given: "ftp://x")',
        "line 7: simulator.sampling.top_p: Input should be less than or equal to 1 (given: 3)",
        "line 8: simulator.sampling.temprature: there is no such field; did you mean simulator.sampling.temperature?",
        'line 10: endings.user_ended: true or false is needed (given: "no")',
        'line 11: endings.stop_phrases[1]: it is blank (given: " ")',
        "line 11: endings.stop_phrases[2]: a text is needed; put it in quotes (given: 42)",
        "line 12: temperature: there is no such field; did you mean simulator.sampling.temperature or "
        "respondent.sampling.temperature?",
        "line 13: max_attempts: there is no such field; did you mean retries.attempts?",
        "line 14: seed: Input should be less than 9223372036854775808 (given: 123456789012345678901234567890)",
        "line 15: foo: there is no such field; known: " + ", ".join(RunSpec.model_fields),
        "line 16: output.url: a URL with its scheme is needed, such as file:///data or s3://bucket/folder "
        '(given: "nowhere")',
    ]


def test_everything_wrong_with_bounds_is_said_at_once(tmp_path: Path) -> None:
    text = """\
conversations: 1
limits:
  realism:
    repeats: {at_most: 2, at_mots: 1}
    role_slips: 0.1
    rounds: {at_least: 5, at_most: 4}
    mtdl: {}
    mtld: {at_least: "1"}
    after: 0
    then: stop
"""
    assert problems_of(spec_file(tmp_path, text)) == [
        "line 4: limits.realism.repeats.at_most: Input should be less than or equal to 1 (given: 2)",
        "line 4: limits.realism.repeats.at_mots: there is no such field; did you mean limits.realism.repeats.at_most?",
        "line 5: limits.realism.role_slips: a group of fields is needed (given: 0.1)",
        "line 6: limits.realism.rounds: at_least 5 is above at_most 4",
        "line 7: limits.realism.mtdl: there is no such field; did you mean limits.realism.mtld?",
        'line 8: limits.realism.mtld.at_least: a number is needed, without quotes (given: "1")',
        "line 9: limits.realism.after: Input should be greater than or equal to 1 (given: 0)",
        "line 10: limits.realism.then: Input should be 'warn', 'pause' or 'cancel' (given: \"stop\")",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("conversations: 1e6", "a whole number is needed, written without a point, an exponent or quotes"),
        ("conversations: true", "a whole number is needed"),
        ("conversations: '5'", "a whole number is needed"),
        ("simulator: 3", "a group of fields is needed"),
        ("simulator: {sampling: {temperature: .nan}}", "(given: nan)"),
        ("simulator: {sampling: {temperature: '0.7'}}", "a number is needed, without quotes"),
        ("endings: {min_turns: 9, max_turns: 4}", "endings: min_turns 9 is above max_turns 4"),
        ("endings: {stop_phrases: bye}", "a list is needed"),
        (
            "seed_mode: intnt",
            "Input should be 'free', 'question', 'exchange', 'intent', 'continue' or 'reanswer' (given: \"intnt\")",
        ),
        ('name: "\\ud800"', "not Unicode"),
        ("1: 2", "there is no such field"),
        ("simulator: {model: {a: 1}}", "a text is needed"),
    ],
)
def test_one_problem_is_the_error_itself(tmp_path: Path, line: str, said: str) -> None:
    text = line if line.startswith("conversations") else f"conversations: 1\n{line}\n"
    path = spec_file(tmp_path, text)
    (problem,) = problems_of(path)
    assert said in problem
    with pytest.raises(SpecError) as caught:
        read_spec_file(path).spec()
    assert str(caught.value) == f"{path}: {problem}"


def test_an_error_of_a_spec_is_one_of_the_input() -> None:
    error = SpecError("run.yaml", [SpecProblem("a.b", "no", 3), SpecProblem("", "nothing")])
    assert isinstance(error, InputError)
    assert str(error) == "run.yaml: 2 problems in the spec"
    assert [str(problem) for problem in error.problems] == ["line 3: a.b: no", "nothing"]


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    (problem,) = problems_of(spec_file(tmp_path, f"conversations: {'x' * 1000}"))
    assert len(problem) < 200


def test_keys_given_twice_are_told_before_anything_else(tmp_path: Path) -> None:
    text = "conversations: 1\nseed: 1\nendings:\n  max_turns: 4\n  max_turns: 6\nseed: 2\nfoo: 1\n"
    assert problems_of(spec_file(tmp_path, text)) == [
        "line 6: seed: given before, on line 2",
        "line 5: endings.max_turns: given before, on line 4",
    ]


def test_a_group_given_twice_is_one_problem(tmp_path: Path) -> None:
    text = "conversations: 1\nendings: {max_turns: 4}\nendings: {max_turns: 6}\n"
    assert problems_of(spec_file(tmp_path, text)) == ["line 3: endings: given before, on line 2"]


def test_a_key_given_twice_in_json(tmp_path: Path) -> None:
    path = spec_file(tmp_path, '{"conversations": 1, "seed": 1, "seed": 2}', "run.json")
    assert problems_of(path) == ["seed is given twice"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.yaml", b"conversations: [1\n", "line 2: expected ',' or ']'"),
        ("run.yaml", b"- 1\n- 2\n", "line 1: a spec is a group of fields (name: value), not list"),
        ("run.yaml", b"hello\n", "not str"),
        ("run.yaml", b"# nothing\n", "it is empty"),
        ("run.yaml", b"a: 1\nb: \xff\n", "line 2: it is not UTF-8 text"),
        ("run.json", b'{"conversations": 1,\n}', "line 2: broken JSON"),
        ("run.json", b"[" * 100_000, "nested too deeply"),
        ("run.json", b'{"seed": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        ("run.json", b"null", "it is empty"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    (problem,) = problems_of(tmp_path / name)
    assert said in problem


def test_a_file_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"conversations: 1\nname: " + b"x" * 10_000_000)
    assert problems_of(path) == ["it is larger than 4 MiB; seeds go into a file of their own (seeds: FILE)"]


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    begin = "conversations: 1\nsimulator:\n  system_prompt: "
    long_prompt = "x" * 1_000_000
    comment = "#" * (MAX_SPEC_BYTES - len(begin) - len(long_prompt) - 2)
    path = spec_file(tmp_path, f"{begin}{long_prompt}\n{comment}\n")
    assert path.stat().st_size == MAX_SPEC_BYTES
    assert read_spec_file(path).spec().simulator.system_prompt == long_prompt


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "run.yaml") == ["it cannot be read (No such file or directory)"]
    assert problems_of(tmp_path) == ["it cannot be read (Is a directory)"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read_spec_file(spec_file(tmp_path, "\ufeffconversations: 3\n")).spec().conversations == 3


def test_a_seed_file_is_found_from_the_folder_of_the_spec(tmp_path: Path) -> None:
    text = "conversations: 1\nseeds: ../questions.jsonl\n"
    (tmp_path / "specs").mkdir()
    draft = read_spec_file(spec_file(tmp_path / "specs", text))
    assert draft.seeds == tmp_path / "specs" / ".." / "questions.jsonl"
    assert draft.spec() == RunSpec(conversations=1)
    whole = read_spec_file(spec_file(tmp_path, "seeds: /data/q.jsonl"))
    assert whole.seeds == Path("/data/q.jsonl")
    assert read_spec_file(spec_file(tmp_path, "seeds: null\nconversations: 1")).seeds is None


@pytest.mark.parametrize("value", ["3", "[a.jsonl]", "''"])
def test_seeds_that_are_no_path(tmp_path: Path, value: str) -> None:
    path = spec_file(tmp_path, f"conversations: 1\nseeds: {value}\n")
    assert problems_of(path) == ["line 2: seeds: the path of a seed file is needed"]


def test_options_count_more_than_the_file(tmp_path: Path) -> None:
    draft = read_spec_file(spec_file(tmp_path, "conversations: 5\nsimulator: {sampling: {top_p: 0.5}}\nlimits:\n"))
    changed = draft.with_values({"conversations": 7, "simulator.sampling.max_tokens": 9, "limits.in_flight": 3})
    spec = changed.spec()
    assert (spec.conversations, spec.simulator.sampling.top_p, spec.simulator.sampling.max_tokens) == (7, 0.5, 9)
    assert spec.limits.in_flight == 3
    assert draft.spec().conversations == 5


def test_a_wrong_option_has_no_line_of_the_file(tmp_path: Path) -> None:
    draft = read_spec_file(spec_file(tmp_path, "conversations: 5\n")).with_values({"conversations": 0})
    with pytest.raises(SpecError) as caught:
        draft.spec()
    assert caught.value.problems[0].line is None


def test_an_option_does_not_hide_what_is_wrong_with_its_group(tmp_path: Path) -> None:
    draft = read_spec_file(spec_file(tmp_path, "conversations: 5\nsimulator: 3\n"))
    with pytest.raises(SpecError, match="line 2: simulator: a group of fields is needed"):
        draft.with_values({"simulator.model": "x"}).spec()


@pytest.mark.parametrize(
    ("given", "path", "has"),
    [
        ({"a": {"b": 0}}, "a.b", True),
        ({"a": {"b": None}}, "a.b", False),
        ({"a": None}, "a.b", False),
        ({"a": 3}, "a.b", False),
        ({}, "a", False),
    ],
)
def test_what_is_given(given: dict[str, Any], path: str, has: bool) -> None:
    assert SpecDraft(given).has(path) is has


def test_the_number_of_conversations_has_no_default() -> None:
    with pytest.raises(SpecError, match=r"^the run's options: conversations: it has no default: give it$"):
        SpecDraft().spec()


def test_what_a_file_leaves_out_of_sampling_is_its_profiles() -> None:
    values = {
        "conversations": 1,
        "simulator.profile": "usp",
        "simulator.sampling.top_p": 0.5,
        "respondent.profile": "chat",
    }
    spec = SpecDraft().with_values(values).spec()
    assert spec.simulator == SideSpec(profile="usp", sampling=Sampling(top_p=0.5))
    assert spec.simulator.sampling.repetition_penalty == 1.2
    assert spec.respondent.sampling == Sampling()
    assert SpecDraft().with_values({"conversations": 1}).spec() == RunSpec(conversations=1)
