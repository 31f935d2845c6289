"""The stages of the closed loop in their order, each skipped where its output is there already."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from platolm.cli.live import duration_text
from platolm.cli.run import produce
from platolm.cli.up import addresses, running_stack
from platolm.errors import InputError, TrainingError
from platolm.mirror import DEFAULT_GIVE_UP_AFTER_S
from platolm.seeds import read_seeds
from platolm.spec import Seed, SeedMode
from platolm.stack.local import LocalStack
from platolm.stack.plan import RESPONDENT
from platolm.stack.settings import HOST, LocalStackSettings
from platolm.storage import write_atomically
from training.data.reading import files_of
from training.loop.children import TrainArgv, run_stage, stage_argv, train_argv
from training.loop.fingerprint import files_fingerprint, fingerprint_of, model_fingerprint
from training.loop.folder import REPORT_FILE, TRAIN_FILE, LoopFolder, Stage
from training.loop.greeting import greet
from training.loop.recipe import LoopRecipe
from training.recipes.recipe import Recipe

Figures = Mapping[str, Any]

_TITLES: Mapping[Stage, str] = {
    Stage.CLEAN: "people's dialogues in one form, the test set taken out",
    Stage.SOCRATIC: "train the user simulator",
    Stage.DIALOGUES: "simulator and teacher talk",
    Stage.PLATOLM: "train the respondent on what they said",
    Stage.EVALUATE: "measure both sides on the test set",
    Stage.SERVE: "serve the new pair",
}
_TRAINING_FIGURES = ("steps", "held_out_loss_before", "held_out_loss", "best_step", "share_of_the_way")


class Loop:
    """One go at a loop's folder. `finished` once every stage is done."""

    def __init__(
        self, loop: LoopRecipe, folder: LoopFolder, console: Console, *, train_argv: TrainArgv = train_argv
    ) -> None:
        self.finished = False
        self._loop = loop
        self._folder = folder
        self._console = console
        self._train_argv = train_argv
        self._stack: LocalStack | None = None
        self._open = AsyncExitStack()

    async def run(self, *, keep: bool = False, then: Callable[[], None] = lambda: None) -> None:
        """Make what is not there yet, and call `then`; with `keep`, serve the new pair until cancelled.

        Raises:
            PlatoLMError: a stage failed; those before it are kept.
        """
        async with self._open:
            cleaned = await self._clean()
            socratic = await self._train(Stage.SOCRATIC, self._loop.socratic, self._people(), cleaned)
            dialogues = await self._synthesise(socratic)
            if not self._loop.serve_while_training:
                await self._stop_stack()
            made = self._folder.output(Stage.DIALOGUES)
            platolm = await self._train(Stage.PLATOLM, self._loop.platolm, made, dialogues)
            await self._evaluate(socratic, platolm)
            await self._serve(socratic, platolm)
            self.finished = True
            then()
            if keep:
                stack = self._stack or await self._start_stack(self._new_pair())
                self._console.print(addresses(stack.settings), markup=False, soft_wrap=True)
                await stack.watch()

    async def _clean(self) -> str:
        async def make() -> Figures:
            await self._run(Stage.CLEAN, argv)
            report = _read_json(self._folder.output(Stage.CLEAN) / REPORT_FILE)
            return {name: report[name] for name in ("num_read", "num_train", "num_test", "left_out")}

        argv = stage_argv("clean", self._folder.path)
        inputs = [files_fingerprint(files_of(self._loop.data)), self._loop.test.share, self._loop.test.salt]
        return await self._stage(Stage.CLEAN, inputs, argv, make)

    async def _train(self, stage: Stage, recipe: Recipe, data: Path, earlier: str) -> str:
        async def make() -> Figures:
            write_atomically(self._folder.training_recipe(stage), resolved.model_dump_json(indent=2).encode() + b"\n")
            await self._run(stage, argv)
            result = _read_json(self._folder.output(stage) / "result.json")
            return {name: result[name] for name in _TRAINING_FIGURES if result.get(name) is not None}

        resolved = _trained_on(recipe, data)
        argv = self._train_argv(self._folder.training_recipe(stage), self._folder.output(stage))
        inputs = [recipe.model_dump(mode="json"), model_fingerprint(recipe.model.path), earlier]
        return await self._stage(stage, inputs, argv, make)

    async def _synthesise(self, socratic: str) -> str:
        async def make() -> Figures:
            stack = await self._start_stack({"simulator_model": self._socratic(), "respondent_model": self._teacher()})
            api = f"http://{HOST}:{stack.settings.api_port}"
            work = produce(request, out, api=api, give_up_after_s=DEFAULT_GIVE_UP_AFTER_S)
            summary = await stack.guarding(work)
            return summary.model_dump(mode="json", exclude={"run_id", "dead_conversations"})

        synthesis, out = self._loop.synthesis, self._folder.output(Stage.DIALOGUES)
        request = synthesis.request(self._questions(synthesis.conversations))
        inputs = [synthesis.model_dump(mode="json"), model_fingerprint(self._loop.teacher), socratic]
        argv = ["platolm", "run", *synthesis.arguments(self._people()), "--out", str(out)]
        return await self._stage(Stage.DIALOGUES, inputs, argv, make)

    async def _evaluate(self, socratic: str, platolm: str) -> str:
        async def make() -> Figures:
            await self._run(Stage.EVALUATE, argv)
            return {side["side"]: side["verdict"] for side in self.report()["sides"]}

        argv = stage_argv("evaluate", self._folder.path)
        inputs = [self._loop.test.max_dialogues, self._loop.test.seed, socratic, platolm]
        return await self._stage(Stage.EVALUATE, inputs, argv, make)

    async def _serve(self, socratic: str, platolm: str) -> str:
        """Lead the running stack to the new respondent; where none runs, start one with the new pair."""

        async def make() -> Figures:
            started = time.monotonic()
            replaced = await self._replaced()
            stack = self._stack or await self._start_stack(self._new_pair())
            seconds = round(time.monotonic() - started, 1)
            return {"replaced": replaced, "seconds": seconds, **await stack.guarding(greet(stack.settings))}

        model = self._new_pair()["respondent_model"]
        argv = ["platolm", "replace", "--respondent-model", model, "--data-dir", str(self._folder.stack)]
        return await self._stage(Stage.SERVE, [socratic, platolm], argv, make)

    async def _replaced(self) -> bool:
        """Whether a stack that runs now serves the new respondent; one that cannot take it over is stopped."""
        if self._stack is None:
            return False
        try:
            await self._stack.guarding(self._stack.replace({RESPONDENT: self._new_pair()["respondent_model"]}))
        except InputError as error:  # the teacher has another tokenizer; no conversation is in flight any more
            self._say(Stage.SERVE, f"stack started anew: {error}")
            await self._stop_stack()
        return self._stack is not None

    def report(self) -> dict[str, Any]:
        """What was measured."""
        return _read_json(self._folder.output(Stage.EVALUATE) / REPORT_FILE)

    async def _stage(
        self, stage: Stage, inputs: object, argv: list[str], make: Callable[[], Awaitable[Figures]]
    ) -> str:
        """Make a stage unless that was done from these inputs; the id of its output."""
        fingerprint = fingerprint_of(stage, inputs)
        done = self._folder.done(stage, fingerprint)
        if done is not None and done.id is not None:
            self._say(stage, f"skipped, made earlier ({duration_text(done.seconds)})")
            return done.id
        self._say(stage, _TITLES[stage])
        command = shlex.join("python" if argument == sys.executable else argument for argument in argv)
        moved = self._folder.begin(stage, fingerprint, command)
        if moved is not None:
            self._say(stage, f"what was there is from other inputs, and is now in {moved}")
        started = time.monotonic()
        try:
            figures = await make()
        except BaseException:
            self._folder.pause(stage, time.monotonic() - started)
            raise
        record = self._folder.finish(stage, time.monotonic() - started, figures)
        self._say(stage, f"done ({duration_text(record.seconds)})")
        return record.id or ""

    async def _run(self, stage: Stage, argv: list[str]) -> None:
        """A stage's process; should the stack die meanwhile, its error."""
        work = run_stage(stage, argv)
        await (self._stack.guarding(work) if self._stack is not None else work)

    async def _start_stack(self, models: Mapping[str, str]) -> LocalStack:
        settings = LocalStackSettings(data_dir=self._folder.stack, **models)  # type: ignore[arg-type]
        self._stack = await self._open.enter_async_context(running_stack(settings, self._console))
        return self._stack

    async def _stop_stack(self) -> None:
        self._stack = None
        await self._open.pop_all().aclose()

    def _new_pair(self) -> dict[str, str]:
        return {
            "simulator_model": self._socratic(),
            "respondent_model": os.path.abspath(self._folder.model(Stage.PLATOLM)),
        }

    def _socratic(self) -> str:
        return os.path.abspath(self._folder.model(Stage.SOCRATIC))

    def _teacher(self) -> str:
        teacher = self._loop.teacher
        return os.path.abspath(teacher) if Path(teacher).is_dir() else teacher

    def _people(self) -> Path:
        return self._folder.output(Stage.CLEAN) / TRAIN_FILE

    def _questions(self, count: int) -> list[Seed]:
        if self._loop.synthesis.seeds == "free":
            return []
        return list(islice(read_seeds(self._people(), SeedMode.QUESTION).seeds, count))

    def _say(self, stage: Stage, text: str) -> None:
        self._console.print(Text.assemble((stage.value, "bold"), " ", text), soft_wrap=True)


def _trained_on(recipe: Recipe, data: Path) -> Recipe:
    paths = {"paths": (os.path.abspath(data),)}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=paths)})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    return content
