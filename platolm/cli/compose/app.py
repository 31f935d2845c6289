"""The commands of `platolm compose`, each with its examples."""

from __future__ import annotations

import typer

from platolm.cli.compose.gpus import gpus
from platolm.cli.compose.key import key

compose_app = typer.Typer(
    name="compose",
    help="Help with the stack in containers (`docker compose up`). Given in the folder of docker-compose.yml.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _examples(*lines: str) -> str:
    return "\n\n".join(["**Examples**", *(f"- {line}" for line in lines)])


compose_app.command(
    epilog=_examples(
        "`platolm compose gpus --simulators 2 --respondents 2`: four engines on the GPUs 0 to 3",
        "`platolm compose gpus --simulators 3 --respondents 1 --gpus 4,5,6,7`: on these",
        "`platolm compose gpus --simulators 2 --respondents 2 --share`: one of each on each of two GPUs",
        "`platolm compose gpus --simulators 2 --shared-engine`: two engines, each for both sides",
        '`docker compose run --rm --no-deps --user "$(id -u)" -v "$PWD:/stack" -w /stack cli compose gpus --simulators '
        "2 --respondents 2`: where `platolm` is in the image only",
    )
)(gpus)
compose_app.command(
    epilog=_examples(
        '`platolm compose key`: after `docker compose up -d`; as `export OPENAI_API_KEY="$(platolm compose key)"` for '
        "the openai SDK",
        '`PLATOLM_API_KEY="$(platolm compose key)" platolm runs list`: the stack\'s runs, with the command of this '
        "machine",
    )
)(key)
