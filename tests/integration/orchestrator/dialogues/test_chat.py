"""The command `platolm chat`, piped and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from platolm.spec import sampling_seed
from tests.fakes.gateway import GatewayFault
from tests.integration.orchestrator.dialogues.conftest import Stage
from tests.integration.orchestrator.dialogues.streams import assistant, user
from tests.integration.orchestrator.processes import wait_until
from tests.redis_server import free_port

_COMMAND = [sys.executable, "-m", "platolm", "chat"]
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "PLATOLM_API_URL": url, "COLUMNS": "200", "TERM": "xterm", "PYTHONUNBUFFERED": "1"}


def piped(url: str, *arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *arguments], input=lines, capture_output=True, text=True, env=environment(url), timeout=60
    )


@dataclass
class Terminal:
    """A `platolm chat` that believes to be on a terminal."""

    process: subprocess.Popen[bytes]
    descriptor: int
    seen: bytes = b""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until a text is on the screen; gives what came until then, and forgets it."""
        deadline = time.monotonic() + 30
        while text.encode() not in _ESCAPES.sub(b"", self.seen):
            assert time.monotonic() < deadline, self.seen
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self.seen += os.read(self.descriptor, 65536)
        shown, self.seen = _ESCAPES.sub(b"", self.seen).decode(), b""
        return shown

    def wait_end(self) -> int:
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.descriptor, 65536)
                except OSError:  # nobody holds the other end any more
                    break
        return self.process.wait(10)


def _takes_ctrl_c() -> None:
    """As a terminal's shell starts it: where these tests run in the background, the signal may be ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(stage: Stage) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        _COMMAND,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(stage.url),
        start_new_session=True,
        preexec_fn=_takes_ctrl_c,
    )
    os.close(slave)
    yield Terminal(process, master)
    if process.poll() is None:
        process.kill()
        process.wait()
    os.close(master)


def test_lines_from_a_pipe_are_a_talk(stage: Stage) -> None:
    stage.respondent.script += ["Fine, thanks.", "On Sunday.\nAt noon."]
    result = piped(stage.url, lines="How are you?\n\nWhen?\n")
    assert (result.returncode, result.stdout) == (
        0,
        "user: How are you?\nassistant: Fine, thanks.\nuser: When?\nassistant: On Sunday.\n  At noon.\n",
    )
    assert result.stderr == "respondent (speaks as the assistant): platolm\n"
    assert stage.respondent.asked[1]["messages"] == [user("How are you?"), assistant("Fine, thanks."), user("When?")]
    [session] = set(stage.respondent.sessions)
    assert session is not None
    assert session.startswith("chat-")


def test_to_be_questioned(stage: Stage) -> None:
    stage.simulator.script += ["Why is it so?", "Sure?<e> yes"]
    result = piped(stage.url, "--as", "assistant", lines="Because.\n")
    assert result.stdout == "user: Why is it so?\nassistant: Because.\nuser: Sure?\n"
    assert result.stderr.splitlines() == ["simulator (speaks as the user): socratic", "the talk ended: user_ended"]


def test_to_watch_as_json(stage: Stage) -> None:
    stage.respondent.script += ["Yes.", "No."]
    stage.simulator.script += ["Really?"]
    arguments = ("--as", "watch", "--num-turns", "3", "--opening", "Is it?", "--seed", "4", "--json")
    result = piped(stage.url, *arguments)
    assert result.returncode == 0
    turns = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(turn["turn"], turn["role"], turn["content"]) for turn in turns] == [
        (1, "user", "Is it?"),
        (2, "assistant", "Yes."),
        (3, "user", "Really?"),
        (4, "assistant", "No."),
    ]
    assert (turns[0]["finish_reason"], turns[3]["num_tokens"]) == ("seed", 1)
    assert turns[3]["sampling_seed"] == sampling_seed(4, 0, 3)


def test_stepping_in(stage: Stage) -> None:
    stage.respondent.script += ["Yes.", "I said yes."]
    stage.simulator.script += ["Thanks."]
    result = piped(stage.url, "--as", "watch", "--num-turns", "1", "--opening", "Is it?", lines="Say again?\n\n")
    assert result.stdout.splitlines() == [
        "user: Is it?", "assistant: Yes.", "user: Say again?", "assistant: I said yes.", "user: Thanks.",
    ]  # fmt: skip


def test_commands(stage: Stage) -> None:
    stage.respondent.script += ["One.", "Two.", "Three.", "Four."]
    lines = [
        "/system Be brief.", "First?", "/regenerate", "/edit 1 Second?", "/undo", "//not a command", "/save A talk",
        "/quit", "never said",
    ]  # fmt: skip
    result = piped(stage.url, "--seed", "7", lines="".join(f"{line}\n" for line in lines))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "user: First?", "assistant: One.", "assistant: Two.", "assistant: Three.",
        "user: /not a command", "assistant: Four.",
    ]  # fmt: skip
    system = {"role": "system", "content": "Be brief."}
    assert [asked["messages"] for asked in stage.respondent.asked] == [
        [system, user(text)] for text in ("First?", "First?", "Second?", "/not a command")
    ]
    assert [asked["seed"] for asked in stage.respondent.asked[:2]] == [sampling_seed(7, 0, 1), sampling_seed(8, 0, 1)]
    told = result.stderr.splitlines()
    assert told[1:4] == [
        "the assistant's model is told: Be brief.",
        "turn 1 is changed; the talk goes on from there",
        "taken back: 2 turns; 0 are left",
    ]
    found = re.fullmatch(r"saved as (talks-\d{8}); `platolm runs conversation \1` shows it", told[4])
    assert found is not None
    record = httpx.get(f"{stage.url}/v1/conversations/{found[1]}").json()["record"]
    assert record["title"] == "A talk"
    assert [turn["value"] for turn in record["conversations"]] == ["/not a command", "Four."]
    assert record["respondent"]["system_prompt"] == "Be brief."


@pytest.mark.parametrize(
    ("lines", "code", "error"),
    [
        ("/nothing\n", 2, "there is no command /nothing: /help names them; // says a line that begins with /"),
        ("/edit\n", 2, "say which turn, and its new text: /edit 3 Why is that so?"),
        ("/edit 1 a\n", 2, "there is no turn 1: there are 0"),
        ("/regenerate\n", 2, "there is no utterance of a model at the end to make again"),
        ("/save\n", 2, "nothing was said yet: there is nothing to save"),
    ],
)
def test_a_line_that_makes_no_sense_ends_a_pipe(stage: Stage, lines: str, code: int, error: str) -> None:
    result = piped(stage.url, lines=lines)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (code, f"error: {error}")


def test_a_model_that_fails_ends_a_pipe(stage: Stage) -> None:
    stage.respondent.faults.append(GatewayFault.CUT)
    result = piped(stage.url, lines="Hi?\n")
    assert (result.returncode, result.stdout) == (1, "user: Hi?\n")
    assert result.stderr.splitlines()[-1] == (
        f"error: the respondent at {stage.respondent.url} broke off in the middle of its answer: try again"
    )


def test_no_api() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = piped(url)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: the API at {url} does not answer (")
    assert line.endswith("): start it with `platolm up`, or name another with --api")


def test_help_teaches() -> None:
    result = piped("http://127.0.0.1:1", "--help")
    assert result.returncode == 0
    for told in ("--as", "platolm chat --as watch", "/regenerate", "Ctrl-C", "platolm up"):
        assert told in result.stdout


def test_on_a_terminal_words_come_one_by_one_and_ctrl_c_stops_them(stage: Stage, terminal: Terminal) -> None:
    stage.respondent.script += ["Well then <script>.", "Whole answer."]
    terminal.wait_for("1 user > ")
    stage.respondent.hold()
    terminal.type("Hi?\n")
    assert "2 assistant Well" in terminal.wait_for("Well")
    assert stage.respondent.num_now == 1
    terminal.process.send_signal(signal.SIGINT)
    assert "(stopped)" in terminal.wait_for("3 user > ")
    wait_until(lambda: stage.respondent.num_left == 1, what="the model stopped", timeout_s=5)
    stage.respondent.go_on()
    terminal.type("/regenerate\n")
    assert "Whole answer.  (2 tokens" in terminal.wait_for("3 user > ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait_end() == 130


def test_a_failure_on_a_terminal_leaves_the_talk(stage: Stage, terminal: Terminal) -> None:
    terminal.wait_for("1 user > ")
    stage.respondent.faults.append(GatewayFault.ERROR_EVENT)
    stage.respondent.script += ["Half", "All of it."]
    terminal.type("Hi?\n")
    assert "failed: the engine broke off its answer" in terminal.wait_for("2 (Enter: assistant speaks) > ")
    terminal.type("More?\n")
    assert "it is the model's turn: press Enter to ask it" in terminal.wait_for("2 (Enter: assistant speaks) > ")
    terminal.type("\n")
    assert "All of it." in terminal.wait_for("3 user > ")
    terminal.type("\x04")
    assert terminal.wait_end() == 0
    assert [asked["messages"] for asked in stage.respondent.asked] == [[user("Hi?")]] * 2


def test_what_a_model_writes_moves_no_cursor(stage: Stage, terminal: Terminal, tmp_path: Path) -> None:
    terminal.wait_for("1 user > ")
    stage.respondent.script.append("clear \x1b[2J \x07 done [bold]x[/bold]")
    terminal.type("Hi?\n")
    assert "clear \ufffd[2J \ufffd done [bold]x[/bold]" in terminal.wait_for("3 user > ")
