"""The back and forth of `platolm chat`: a person's lines and commands, the models' utterances, Ctrl-C between them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from platolm.cli.api_access import with_advice
from platolm.cli.chat.commands import Command, Name, parse
from platolm.cli.chat.lines import Lines
from platolm.cli.chat.screen import Screen
from platolm.cli.chat.talk import Talk
from platolm.client import OrchestratorClient
from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import (
    DialogueEnded,
    DialogueEvent,
    DialogueFailed,
    DialogueTurn,
    Speakers,
    UtteranceAgain,
    UtteranceBegun,
    UtteranceToken,
)
from platolm.errors import ApiError, InputError, PlatoLMError

HELP = """\
/regenerate          make the model's last utterance again, with another seed
/undo                take back your last message and what followed it (watching: the last turn)
/edit N TEXT         put TEXT in place of turn N and go on from there; what followed it goes
/system [SIDE] TEXT  what a model is told besides its header; SIDE: simulator or respondent; - for nothing
/save [TITLE]        put the talk into the dataset of saved talks
/help, /quit         this; the end (also Ctrl-D)
A blank line lets the model speak, or both go on. A line that begins with // says a line that begins with /.
Ctrl-C stops the utterance; at the prompt it quits."""

_SIDES = {"simulator": USER, "respondent": ASSISTANT}


class ChatSession:
    """One talk from its first line to its end. `runner` holds the loop that the client lives on."""

    def __init__(
        self, talk: Talk, client: OrchestratorClient, runner: asyncio.Runner, *, screen: Screen, lines: Lines
    ) -> None:
        self._talk = talk
        self._client = client
        self._runner = runner
        self._screen = screen
        self._lines = lines
        self._models: dict[str, str | None] = {}
        self._heard = ""

    def run(self) -> None:
        """Until a person quits, or their lines end.

        Raises:
            KeyboardInterrupt: Ctrl-C at the prompt.
            PlatoLMError: something failed that nobody sits there to try again.
        """
        self._look_at(self._runner.run(self._client.speakers()))
        for number, turn in enumerate(self._talk.turns, start=1):
            self._screen.given(number, turn)
        speaks: bool | None = not self._talk.is_persons_turn
        while True:
            try:
                if speaks:
                    self._speak()
                line = self._lines.read(self._prompt())
                if line is None or (speaks := self._take(line)) is None:
                    return
            except PlatoLMError as error:
                if not self._lines.are_typed:
                    raise
                self._screen.warn(str(with_advice(error) if isinstance(error, ApiError) else error))
                speaks = False

    def _look_at(self, speakers: Speakers) -> None:
        """Say who is there, and what to do about who is not."""
        for role, name, state in (
            (USER, "simulator", speakers.simulator),
            (ASSISTANT, "respondent", speakers.respondent),
        ):
            self._models[role] = state.model
            if role != self._talk.person:
                self._screen.note(f"{name} (speaks as the {role}): {state.model if state.ready else 'not ready'}")
                if state.detail is not None:
                    self._screen.warn(state.detail)
        if self._lines.are_typed:
            self._screen.note("/help says what else can be done; Ctrl-D ends")

    def _prompt(self) -> str:
        number, role = len(self._talk.turns) + 1, self._talk.next_role
        if self._talk.is_persons_turn:
            return f"{number:>3} {role} > "
        return f"{number:>3} (Enter: {role} speaks) > "

    def _take(self, line: str) -> bool | None:
        """Do what a line says; gives whether a model speaks next, None: it was the last line."""
        command = parse(line)
        if isinstance(command, Command):
            return None if command.name is Name.QUIT else self._do(command)
        if not command.strip():
            return not self._talk.is_persons_turn
        self._screen.said(len(self._talk.turns) + 1, self._talk.say(command))
        return True

    def _do(self, command: Command) -> bool:
        talk = self._talk
        match command.name:
            case Name.HELP:
                self._screen.note(HELP)
            case Name.REGENERATE:
                talk.forget_last_utterance()
                return True
            case Name.UNDO:
                self._screen.note(f"taken back: {talk.undo()} turns; {len(talk.turns)} are left")
            case Name.EDIT:
                talk.edit(command.number, command.text)
                self._screen.note(f"turn {command.number} is changed; the talk goes on from there")
                return not talk.is_persons_turn
            case Name.SAVE:
                saved = self._runner.run(self._client.save_talk(talk.to_save(command.text)))
                self._screen.note(f"saved as {saved.id}; `platolm runs conversation {saved.id}` shows it")
            case Name.SYSTEM:
                self._tell(command)
        return False

    def _tell(self, command: Command) -> None:
        role = _SIDES[command.side] if command.side else None
        if role is None and self._talk.person is None:
            raise InputError("say whom: /system simulator TEXT, or /system respondent TEXT")
        role = role or (ASSISTANT if self._talk.person == USER else USER)
        side = self._talk.sides[role]
        if command.text:
            prompt = None if command.text == "-" else command.text
            side = self._talk.sides[role] = side.model_copy(update={"system_prompt": prompt})
        self._screen.note(f"the {role}'s model is told: {side.system_prompt or '(nothing)'}")

    def _speak(self) -> None:
        """Let models speak; Ctrl-C stops them, and what was said so far stays."""
        self._heard = ""
        try:
            self._runner.run(self._listen())
        except KeyboardInterrupt:
            if not self._heard.strip():
                self._screen.broken_off()
                self._screen.note("stopped before a word; Enter asks again")
                return
            number, model = len(self._talk.turns) + 1, self._models.get(self._talk.next_role)
            self._screen.end(number, self._talk.hear_stopped(self._heard, model))

    async def _listen(self) -> None:
        async with aclosing(self._client.dialogue(self._talk.request())) as events:
            async for event in events:
                self._hear(event)

    def _hear(self, event: DialogueEvent) -> None:
        match event:
            case UtteranceBegun():
                self._heard = ""
                self._screen.begin(event.turn_index + 1, event.role)
            case UtteranceToken():
                self._heard += event.text
                self._screen.token(self._talk.next_role, event.text)
            case UtteranceAgain():
                self._heard = ""
                self._screen.again(event.turn_index + 1, self._talk.next_role)
            case DialogueTurn():
                self._heard = ""
                self._screen.end(event.turn_index + 1, self._talk.hear(event))
            case DialogueEnded():
                self._talk.ended = event.termination_reason
                self._screen.ended(event.termination_reason)
            case DialogueFailed():
                self._screen.broken_off()
                raise ApiError(event.detail, status=502, retryable=event.retryable)
            case _:
                pass
