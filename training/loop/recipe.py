"""What a closed loop is: its data, both trainings, the synthesis between them, what is measured at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from platolm.sampling import DEFAULT_TEMPERATURE, Sampling
from platolm.spec import Endings, RunRequest, RunSpec, Seed, SeedMode, SideSpec
from training.recipes.demo import DEMO_PLATOLM, DEMO_SOCRATIC
from training.recipes.overrides import named
from training.recipes.recipe import Recipe, Side

PositiveInt = Annotated[int, Field(ge=1)]
_SIDES = (Side.SOCRATIC, Side.PLATOLM)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Test(_Group):
    """Dialogues that no stage sees but the last, chosen by a hash of their opening before everything else."""

    __test__ = False  # not one of pytest's

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    salt: str = "split"
    """Of the hash. The demo base was trained without the dialogues below 0.06 under this one, so that a test share up
    to that is new to the base too."""
    max_dialogues: PositiveInt = 300
    """So many are measured, drawn at random."""
    seed: int = 125


class Synthesis(_Group):
    """The run between the trained simulator and the teacher."""

    conversations: PositiveInt = 1000
    seeds: Literal["free", "questions"] = "free"
    """free: the simulator opens by itself; questions: with the first questions of the training dialogues."""
    max_turns: Annotated[int, Field(ge=2)] | None = 6
    """Utterances of both sides together."""
    max_tokens: PositiveInt = 128
    """New tokens of an utterance."""
    context_tokens: Annotated[int, Field(ge=16)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = DEFAULT_TEMPERATURE
    seed: Annotated[int, Field(ge=0)] = 0

    def request(self, questions: Sequence[Seed]) -> RunRequest:
        """The run to submit; `questions` are used in question mode only."""
        mode = SeedMode.FREE if self.seeds == "free" else SeedMode.QUESTION
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        spec = RunSpec(
            conversations=self.conversations,
            seed_mode=mode,
            seed=self.seed,
            simulator=SideSpec(profile="socratic", sampling=sampling),
            respondent=SideSpec(profile="platolm", sampling=sampling),
            endings=Endings(context_tokens=self.context_tokens, max_turns=self.max_turns),
        )
        return RunRequest(spec=spec, seeds=[] if mode is SeedMode.FREE else list(questions))

    def arguments(self, questions: Path) -> list[str]:
        """The same run for `platolm run`."""
        values = self.model_dump(exclude={"seeds"}, exclude_none=True)
        seeds = ["--seeds", str(questions)] if self.seeds == "questions" else []
        flags = ("--" + name.replace("_", "-") for name in values)
        return [*seeds, *(part for pair in zip(flags, map(str, values.values()), strict=True) for part in pair)]


class LoopRecipe(_Group):
    """One turn of the closed loop."""

    name: str
    purpose: str
    """One line for `platolm loop --list`."""
    data: tuple[str, ...] = ()
    """People's dialogues: files or folders, ShareGPT or OpenAI records."""
    test: Test = Test()
    socratic: Recipe
    """Of the user simulator, trained on people's dialogues."""
    teacher: str = "models/demo/platolm"
    """Who answers the simulator: a model folder or hub name."""
    synthesis: Synthesis = Synthesis()
    platolm: Recipe
    """Of the respondent, trained on the dialogues of simulator and teacher."""
    serve_while_training: bool = True
    """Leave simulator and teacher up while the respondent is trained; off where engines and training share one GPU."""

    @model_validator(mode="after")
    def _sides_fit(self) -> LoopRecipe:
        for recipe, side in zip((self.socratic, self.platolm), _SIDES, strict=True):
            if recipe.side is not side:
                raise ValueError(f"{side}.side must be {side}, not {recipe.side}")
            if recipe.model.shape is not None:
                raise ValueError(f"{side}.model.shape: the loop fine-tunes a base that exists; take it away")
        held_out = self.socratic.data
        if self.test.salt == held_out.split_salt and held_out.held_out_share <= self.test.share:
            raise ValueError(
                "with one salt, socratic.data.held_out_share must be above test.share: the test set is taken out before"
            )
        return self


def _demo(recipe: Recipe, *, max_steps: int, every_steps: int) -> Recipe:
    return recipe.model_copy(
        update={
            "schedule": recipe.schedule.model_copy(update={"max_steps": max_steps}),
            "evaluation": recipe.evaluation.model_copy(update={"every_steps": every_steps}),
        }
    )


DEMO_LOOP = LoopRecipe(
    name="demo",
    purpose="the demo models' size: the whole loop in half an hour on two CPU cores",
    socratic=DEMO_SOCRATIC,
    platolm=_demo(DEMO_PLATOLM, max_steps=160, every_steps=40),
)

LOOPS: Mapping[str, LoopRecipe] = {DEMO_LOOP.name: DEMO_LOOP}


def loop_of(name: str) -> LoopRecipe:
    """The loop of this name, or of this file; see `training.recipes.overrides.named`."""
    return named(name, LOOPS, LoopRecipe, kind="loop", command="platolm loop")
