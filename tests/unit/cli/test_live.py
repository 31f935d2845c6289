"""What is shown while a run is made: rates, lines, and which dialogue."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from platolm.cli.dialogue import DialogueTail, dialogue_panel
from platolm.cli.live import (
    LiveView,
    PlainView,
    RecentDialogues,
    duration_text,
    endings_line,
    progress_line,
    run_view,
)
from platolm.cli.rates import Speed, Speedometer, num_ended
from platolm.conversation import ASSISTANT, USER, Message, TerminationReason
from platolm.runs import RunProgress, RunState, TurnEvent
from platolm.spec import RunSpec


def progress_at(
    finished: int,
    *,
    tokens: int = 0,
    dead: int = 0,
    cancelled: int = 0,
    total: int = 100,
    state: RunState | None = None,
) -> RunProgress:
    return RunProgress(
        id="run-1",
        state=state or (RunState.COMPLETED if finished + dead == total else RunState.RUNNING),
        spec=RunSpec(conversations=total),
        created_at=0,
        fed=total,
        in_flight=0,
        finished=finished,
        committed=finished,
        dead=dead,
        cancelled=cancelled,
        generated_tokens=tokens,
        terminations={TerminationReason.REPETITION: 2, TerminationReason.CONTEXT_FULL: finished},
    )


def turn(conversation: int, turn_index: int, content: str = "hello") -> TurnEvent:
    role = USER if turn_index % 2 == 0 else ASSISTANT
    return TurnEvent(
        conversation_id=f"c{conversation}", index=conversation, turn_index=turn_index, role=role, content=content
    )


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=100, height=30, force_terminal=False, highlight=False)


def terminal_console() -> Console:
    return Console(
        file=io.StringIO(), width=100, height=30, force_terminal=True, highlight=False, _environ={"TERM": "xterm"}
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rates_are_those_of_the_last_minute() -> None:
    meter = Speedometer()
    assert meter.add(progress_at(0), 0.0).eta_s is None
    for second in range(1, 121):
        speed = meter.add(progress_at(second, tokens=1000 * second, total=1000), float(second))
    assert speed.conversations_per_minute == pytest.approx(60)
    assert speed.tokens_per_s == pytest.approx(1000)
    assert speed.eta_s == pytest.approx(880)
    slower = meter.add(progress_at(120, tokens=120_000, total=1000), 180.0)
    assert slower.conversations_per_minute == 0


def test_dead_conversations_count_as_ended() -> None:
    meter = Speedometer()
    meter.add(progress_at(0), 0.0)
    assert meter.add(progress_at(10, dead=10), 10.0).eta_s == pytest.approx(40)


def test_cancelled_conversations_count_as_ended() -> None:
    assert num_ended(progress_at(10, dead=2, cancelled=30)) == 42
    assert endings_line(progress_at(1, dead=2, cancelled=30)) == "repetition 2, context_full 1, dead 2, cancelled 30"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (RunState.RUNNING, "ETA -"),
        (RunState.PAUSED, "paused"),
        (RunState.CANCELLING, "cancelling"),
        (RunState.CANCELLED, "cancelled"),
    ],
)
def test_a_run_that_does_not_go_on_has_no_eta(state: RunState, said: str) -> None:
    line = progress_line(progress_at(10, state=state), Speed())
    assert line == f"10/100 conversations · 0.0/min · 0 tokens/s · {said} · context_full 10, repetition 2"


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_endings_the_most_frequent_first() -> None:
    assert endings_line(progress_at(50, dead=1)) == "context_full 50, repetition 2, dead 1"


def test_a_plain_line_every_ten_seconds_and_one_at_the_end() -> None:
    clock, console = Clock(), plain_console()
    with PlainView(console, clock=clock) as view:
        for finished in range(0, 101, 2):
            view.progress(progress_at(finished))
            view.turn(turn(1, 0))
            clock.now_s += 1
    lines = written(console).splitlines()
    assert len(lines) == 1 + 5
    assert lines[0].startswith("0/100 conversations")
    assert lines[-1].startswith("100/100 conversations")
    assert "\x1b" not in written(console)


def test_a_cancelled_run_has_its_last_line_at_once() -> None:
    console = plain_console()
    with PlainView(console, clock=Clock()) as view:
        view.progress(progress_at(10))
        view.progress(progress_at(20))
        view.progress(progress_at(30, cancelled=70, state=RunState.CANCELLED))
    assert [line.split()[0] for line in written(console).splitlines()] == ["10/100", "100/100"]


def test_the_same_notice_is_given_once() -> None:
    console = plain_console()
    view = PlainView(console)
    for text in ("gone", "gone", "back", "gone"):
        view.notice(text)
    assert written(console).split() == ["gone", "back", "gone"]


def test_a_terminal_gets_the_live_view() -> None:
    assert isinstance(run_view(terminal_console()), LiveView)
    assert isinstance(run_view(plain_console()), PlainView)


def test_the_live_view_shows_a_dialogue_a_bar_and_ends_with_a_line() -> None:
    clock, console = Clock(), terminal_console()
    with LiveView(console, clock=clock) as view:
        view.turn(turn(7, 0, "why is \x1b[2Jthe sky blue?"))
        view.turn(turn(7, 1, "[bold]because"))
        clock.now_s += 1
        view.progress(progress_at(10))
        clock.now_s += 1
        view.progress(progress_at(100))
        view.notice("something odd")
    shown = written(console)
    assert "the sky blue?" in shown
    assert "[bold]because" in shown
    assert "\x1b[2J" not in shown
    assert "conversations" in shown
    assert "something odd" in shown
    assert "100/100" in shown.splitlines()[-1]


def test_a_dialogue_is_shown_until_it_is_quiet_then_one_seen_from_its_opening() -> None:
    dialogues = RecentDialogues()
    assert dialogues.shown(0) is None
    dialogues.add(turn(1, 0), 0)
    assert dialogues.shown(0) is not None
    dialogues.add(turn(2, 0), 5)
    dialogues.add(turn(1, 1), 6)
    shown = dialogues.shown(10)
    assert shown is not None
    assert shown.conversation_id == "c1"
    assert [message.role for message in shown.messages] == [USER, ASSISTANT]
    dialogues.add(turn(3, 4), 19)
    dialogues.add(turn(2, 1), 18)
    later = dialogues.shown(20)
    assert later is not None
    assert later.conversation_id == "c2"


def test_only_so_many_dialogues_are_kept() -> None:
    dialogues = RecentDialogues()
    for conversation in range(5000):
        dialogues.add(turn(conversation, 0), 0)
    assert len(dialogues._dialogues) <= 1024


def test_a_dialogue_tail_has_a_fixed_height_and_shows_the_end() -> None:
    messages = [Message(USER, f"question {number} " + "word " * 40) for number in range(30)]
    console = plain_console()
    console.print(DialogueTail(messages, title="c1", num_lines=10))
    lines = written(console).splitlines()
    assert len(lines) == 10
    assert "word" in lines[-2]
    console = plain_console()
    console.print(DialogueTail([Message(USER, "short")], title="c1", num_lines=10))
    assert len(written(console).splitlines()) == 10


def test_a_whole_dialogue_shows_every_line() -> None:
    console = plain_console()
    console.print(dialogue_panel([Message(USER, "a\nb"), Message(ASSISTANT, "[c]")], title="t", subtitle="s"))
    assert all(part in written(console) for part in ("user      a", "b", "assistant [c]", "t", "s"))
