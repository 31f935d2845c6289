"""The dataset card: a header as the hub reads it, and the account of where the data is from and what is in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.export.filters import Filters
from curation.export.provenance import Provenance
from curation.export.report import ExportReport, SplitCounts
from curation.export.split import Split
from platolm import __version__
from platolm.runs_api import DatasetFormat

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_HUGE = "10M<n<100M"
_COLUMNS = (
    ("id", "the conversation's"),
    ("num_rounds", "questions that were answered"),
    ("termination_reason", "why it ended, where a run recorded it"),
    ("run_id, simulator_model, respondent_model", "the run that made it"),
    ("model, language", "as its source names them"),
    ("mark", "what a person thought of it: good or bad"),
)


@dataclass(frozen=True)
class MeasuredLine:
    """One line of the statistics: a measure, its value, and its 95 % interval, as they are shown."""

    title: str
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Card:
    """What a card says besides the counts. `licence` is an id of the hub's list, `languages` ISO 639-1 codes."""

    title: str
    form: DatasetFormat
    licence: str = ""
    languages: tuple[str, ...] = ()
    filters: Filters = field(default_factory=Filters)
    measured: Sequence[MeasuredLine] = ()


def card_text(card: Card, report: ExportReport, provenance: Provenance) -> str:
    """The whole README.md."""
    sections = [
        f"---\n{_header(card, report)}\n---",
        f"# {_plain(card.title)}",
        _introduction(report, provenance),
        "## Splits and columns\n\n" + _splits_table(report) + "\n\n" + _columns_table(card.form),
        "## Statistics\n\n" + _statistics(card, report),
        "## Provenance\n\n" + _provenance(provenance),
        "## Selection\n\n" + _selection(card.filters, report),
        "## Licence\n\n" + _licence(card.licence),
    ]
    return "\n\n".join(sections) + "\n"


def _header(card: Card, report: ExportReport) -> str:
    from huggingface_hub import DatasetCardData

    data_files = [{"split": str(split), "path": counts.file_name} for split, counts in report.splits.items()]
    data = DatasetCardData(
        pretty_name=" ".join(card.title.split()),
        license=card.licence or "unknown",
        language=list(card.languages) or None,
        task_categories=["text-generation"],
        size_categories=[_size(report.num_written)],
        tags=["dialogue", "multi-turn", "platolm"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    return data.to_yaml(line_break="\n")


def _introduction(report: ExportReport, provenance: Provenance) -> str:
    rounds = sum(counts.num_rounds for counts in report.splits.values())
    simulated = provenance.runs.total()
    of_them = "" if simulated == report.num_written else f"{simulated:,} of them "
    made = f" ({of_them}between a user simulator and a respondent)" if simulated else ""
    return (
        f"{report.num_written:,} conversations{made} with {rounds:,} questions and their answers, written by PlatoLM "
        f"Stack {__version__}."
    )


def _splits_table(report: ExportReport) -> str:
    rows = [
        (str(split), f"`{counts.file_name}`", f"{counts.num_conversations:,}", f"{counts.num_rounds:,}")
        for split, counts in report.splits.items()
    ]
    table = _table(("split", "file", "conversations", "rounds"), rows)
    if Split.TEST in report.splits:
        table += "\n\nSplit by the opening: conversations that begin alike are in one split."
    return table


def _columns_table(form: DatasetFormat) -> str:
    if form is DatasetFormat.OPENAI:
        spoken = [("messages", "turns: `role` (user, assistant, a system message first) and `content`")]
    else:
        spoken = [("conversations", "turns: `from` (human or gpt) and `value`"), ("system", "the system message")]
    columns = [_COLUMNS[0], *spoken, *_COLUMNS[1:]]
    return _table(("column", ""), [(name, said) for name, said in columns]) + "\n\nAn unknown text is empty."


def _statistics(card: Card, report: ExportReport) -> str:
    rows = [(name, *(said(counts) for counts in report.splits.values())) for name, said in _COUNTED]
    parts = [_table(("", *map(str, report.splits)), rows)]
    endings = sum((counts.endings for counts in report.splits.values()), start=Counter[str]())
    if endings:
        ranked = sorted(endings.items(), key=lambda entry: (-entry[1], entry[0]))
        parts.append(_table(("ended by", "conversations"), _counted(ranked)))
    if card.measured:
        lines = [(line.title, line.value, line.interval) for line in card.measured]
        parts.append(_table(("measure, both splits together", "value", "95 % interval"), lines))
    return "\n\n".join(parts)


def _mean(total: int, count: int) -> str:
    return f"{total / count:,.2f}" if count else "not recorded"


_COUNTED: tuple[tuple[str, Callable[[SplitCounts], str]], ...] = (
    ("conversations", lambda counts: f"{counts.num_conversations:,}"),
    ("rounds a conversation", lambda counts: _mean(counts.num_rounds, counts.num_conversations)),
    ("utterances", lambda counts: f"{counts.num_utterances:,}"),
    ("tokens an utterance, as the speakers count", lambda counts: _mean(counts.num_tokens, counts.num_counted)),
)


def _provenance(provenance: Provenance) -> str:
    sources = [(_plain(source.name), f"{source.num_files:,}", f"`{source.sha256}`") for source in provenance.sources]
    parts = [_table(("input", "files", "sha256"), sources)]
    if runs := provenance.ranked_runs():
        parts.append(_table(("run", "conversations"), _counted(runs)))
    if models := provenance.ranked_models():
        parts.append(_table(("model named in the records", "conversations"), _counted(models)))
    if sides := provenance.sides():
        head = ("side", "model", "profile", "sampling", "system prompt", "conversations")
        parts.append(_table(head, [_side_row(*side) for side in sides]))
    parts += [
        f"The run's spec:\n\n{_fenced(json.dumps(spec, indent=2, ensure_ascii=False))}" for spec in provenance.specs
    ]
    return "\n\n".join(parts)


def _side_row(name: str, side: dict[str, Any], count: int) -> tuple[str, ...]:
    sampling = side.get("sampling")
    said = ", ".join(f"{key} {value}" for key, value in sampling.items()) if isinstance(sampling, dict) else ""
    texts = (side.get("model"), side.get("profile"), said, side.get("system_prompt"))
    return (name, *(_plain(str(text or "")) for text in texts), f"{count:,}")


def _selection(filters: Filters, report: ExportReport) -> str:
    asked = [
        f"at least {filters.min_rounds} rounds" if filters.min_rounds else "",
        f"ended by {', '.join(sorted(filters.endings))}" if filters.endings else "",
        f"marked {filters.mark}" if filters.mark else "",
    ]
    text = f"Asked for: {'; '.join(filter(None, asked)) or 'everything'}. {report.num_read:,} conversations were read."
    if report.left_out:
        text += "\n\n" + _table(("left out", "conversations"), _counted(report.left_out.most_common()))
    if report.num_cut:
        text += f"\n\nOf {report.num_cut:,} conversations a last question was cut, as nobody answered it."
    return text


def _licence(licence: str) -> str:
    if not licence:
        return "Not named. Whoever hands this on says under which licence (`license:` at the top of this card)."
    return f"`{_plain(licence)}`"


def _counted(entries: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(_plain(name), f"{count:,}") for name, count in entries]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text of a file or a model for a table: on one line, with nothing that Markdown or HTML would take as a sign."""
    for sign in ("\\", "|", "`", "*", "_", "[", "]", "<", ">"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}json\n{text}\n{fence}"


def _size(num: int) -> str:
    return next((name for limit, name in _SIZES if num < limit), _HUGE)
