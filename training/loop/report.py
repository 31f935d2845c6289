"""What a loop came to: as JSON, as a page, as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platolm.cli.live import duration_text
from platolm.storage import write_atomically
from training.loop.folder import REPORT_FILE, Stage, StageRecord
from training.loop.measure import SideLoss

PAGE_FILE = "report.md"
PLOT_FILE = "losses.png"


@dataclass(frozen=True)
class LoopReport:
    """The losses, and how they came about; `stages` in their order."""

    name: str
    sides: Sequence[SideLoss]
    stages: Mapping[Stage, StageRecord]

    def as_json(self) -> dict[str, Any]:
        stages = {
            stage.value: {"command": record.command, "seconds": round(record.seconds, 1), "figures": record.figures}
            for stage, record in self.stages.items()
        }
        sides = [{**asdict(side), "verdict": side.verdict} for side in self.sides]
        return {"loop": self.name, "sides": sides, "stages": stages}

    def as_page(self) -> str:
        """In Markdown."""
        return "\n".join([f"# Loop {self.name}\n", _losses(self.sides), _stages(self.stages), _figures(self.stages)])


def write_report(report: LoopReport, folder: Path) -> None:
    """The three files; `report.json` last, its being there means whole.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_plot(report.sides, folder / PLOT_FILE)
    write_atomically(folder / PAGE_FILE, report.as_page().encode())
    write_atomically(folder / REPORT_FILE, json.dumps(report.as_json(), indent=2, ensure_ascii=False).encode() + b"\n")


def write_plot(sides: Sequence[SideLoss], path: Path) -> None:
    """Each side's loss before and after, and their difference with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, differences = figure.subplots(1, 2)
    names = [f"{side.side}\n({side.role} turns)" for side in sides]
    positions = range(len(sides))
    for shift, title in ((-0.2, "before"), (0.2, "after")):
        bars = losses.bar([p + shift for p in positions], [getattr(s, title) for s in sides], width=0.38, label=title)
        losses.bar_label(bars, fmt="%.3f")
    losses.set_xticks(positions, names)
    losses.set_ylabel("held-out loss, nats a token")
    losses.margins(y=0.15)
    losses.legend(loc="lower right")
    means = [side.difference.mean for side in sides]
    reach = [
        [side.difference.mean - side.difference.low for side in sides],
        [side.difference.high - side.difference.mean for side in sides],
    ]
    differences.errorbar(means, positions, xerr=reach, fmt="o", capsize=4)
    differences.axvline(0, color="grey", linewidth=1)
    differences.set_yticks(positions, names)
    differences.set_ylim(len(sides) - 0.5, -0.5)
    differences.locator_params(axis="x", nbins=5)
    differences.set_xlabel("after − before, 95 % interval (below zero: better)")
    figure.savefig(path, dpi=150)


def _losses(sides: Sequence[SideLoss]) -> str:
    lines = [
        "Loss on people's dialogues that no stage has seen, in nats a token, before and after the side's training, and",
        "the difference with the 95 % interval of a paired bootstrap over dialogues (below zero: better).",
        "",
        "| side | turns | dialogues | tokens | before | after | difference | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.side} | {s.role} | {s.num_dialogues:,} | {s.num_tokens:,} | {s.before:.4f} | {s.after:.4f} | "
        f"{s.difference.mean:+.4f} [{s.difference.low:+.4f}, {s.difference.high:+.4f}] | {s.verdict} |"
        for s in sides
    ]
    return "\n".join([*lines, "", f"![losses]({PLOT_FILE})", ""])


def _stages(stages: Mapping[Stage, StageRecord]) -> str:
    lines = ["| stage | time | command |", "|---|---|---|"]
    lines += [f"| {stage} | {duration_text(r.seconds)} | `{r.command}` |" for stage, r in stages.items()]
    total = sum(record.seconds for record in stages.values())
    return "\n".join([*lines, f"| all | {duration_text(total)} | |", ""])


def _figures(stages: Mapping[Stage, StageRecord]) -> str:
    lines = ["| stage | figure | |", "|---|---|---|"]
    lines += [
        f"| {stage} | {name} | {_shown(value)} |"
        for stage, record in stages.items()
        for name, value in record.figures.items()
    ]
    return "\n".join([*lines, ""])


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
