from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import results
from benchmarks.results import BEGIN, END, PAGE, RESULTS, Machine, Result
from platolm.errors import InputError

LAPTOP = Machine(processor="A", cores=2, memory_gib=8)
SERVER = Machine(processor="B", cores=16, memory_gib=128, gpus=("H200",))


def result(name: str = "rate", figure: float = 1.0, machine: Machine = LAPTOP, **fields: object) -> Result:
    given = {"benchmark": "overhead", "unit": "1/s", "versions": {"python": "3.11"}, "at": 0.0, **fields}
    return Result.model_validate({"name": name, "figure": figure, "machine": machine, **given})


@pytest.mark.parametrize(
    ("figure", "floor", "higher_is_better", "is_reached", "wanted"),
    [
        (1500.0, 1500.0, True, True, "≥ 1,500"),
        (1499.9, 1500.0, True, False, "≥ 1,500"),
        (0.05, 0.05, False, True, "≤ 0.050"),
        (0.051, 0.05, False, False, "≤ 0.050"),
        (0.0, None, True, True, ""),
    ],
)
def test_a_floor_may_be_met_exactly(
    figure: float, floor: float | None, higher_is_better: bool, is_reached: bool, wanted: str
) -> None:
    taken = result(figure=figure, floor=floor, higher_is_better=higher_is_better)

    assert taken.is_reached is is_reached
    assert taken.wanted == wanted


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.95, "0.950"), (9.9996, "10.000"), (2.0, "2"), (123.45, "123.5"), (1612.4, "1,612"), (1_000_000, "1,000,000")],
)
def test_rounded_keeps_what_people_read(value: float, text: str) -> None:
    assert results.rounded(value) == text
    assert results.rounded("two") == "two"


def test_results_come_back_as_they_were_appended(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.jsonl"
    first, second = result(details={"wall": 2, "rate": 0.5, "how": "so"}), result("memory", machine=SERVER)

    results.append(path, [first])
    results.append(path, [second])

    assert results.read_results(path) == [first, second]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results.append(path, [result()])
    path.write_text(path.read_text(encoding="utf-8") + '{"benchmark": "x"}\n', encoding="utf-8")

    with pytest.raises(InputError, match="line 2, is no result"):
        results.read_results(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `make bench` first"):
        results.read_results(tmp_path / "none.jsonl")


def test_newest_keeps_the_last_of_each_name_in_the_order_of_their_first() -> None:
    taken = [result("a", 1), result("b", 2), result("a", 3), result("a", 4, SERVER), result("a", 5, benchmark="tail")]

    newest = results.newest(taken)

    assert {machine: [r.figure for r in of_it] for machine, of_it in newest.items()} == {
        LAPTOP: [3, 2, 5],
        SERVER: [4],
    }


def test_table_of_each_machine() -> None:
    taken = [
        result("rate", 1612.3, floor=1500, details={"wall, 1/s": 900.25, "cores": 2}),
        result("share", 0.07, SERVER, unit="", floor=0.05, higher_is_better=False),
    ]

    assert results.table(taken) == (
        "2 cores of A, 8 GiB, no GPU; python 3.11.\n"
        "\n"
        "| benchmark | what | figure | wanted | beside it |\n"
        "|---|---|---|---|---|\n"
        "| overhead | rate | 1,612 1/s | ≥ 1,500 | wall, 1/s 900.2; cores 2 |\n"
        "\n"
        "16 cores of B, 128 GiB, H200; python 3.11.\n"
        "\n"
        "| benchmark | what | figure | wanted | beside it |\n"
        "|---|---|---|---|---|\n"
        "| overhead | share | 0.070 | ≤ 0.050, not reached |  |"
    )


def test_written_between_the_markers_and_nowhere_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    written = results.write_between_markers(page, "new")

    assert written == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert results.write_between_markers(written, "new") == written


@pytest.mark.parametrize("page", ["nothing", f"{BEGIN}\nno end", f"no begin\n{END}"])
def test_a_page_without_markers_is_refused(page: str) -> None:
    with pytest.raises(InputError, match="lacks the lines"):
        results.write_between_markers(page, "new")


def test_the_page_holds_the_table_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert results.write_between_markers(page, results.table(results.read_results(RESULTS))) == page


def test_report_prints_the_verdict_and_appends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.jsonl"
    taken = [result("rate", 1612.3, floor=1500, details={"wall": 2}), result("share", 0.07, floor=0.5)]

    results.report(taken, path)

    assert capsys.readouterr().out.splitlines() == [
        "rate        1,612 1/s   ≥ 1,500: yes",
        "    wall           2",
        "share       0.070 1/s   ≥ 0.500: NO",
    ]
    assert results.read_results(path) == taken


def test_measured_says_where_and_with_what() -> None:
    taken = results.measured("tail", "share", 0.04, floor=0.05, higher_is_better=False)

    assert taken.machine.cores >= 1
    assert taken.machine.memory_gib >= 1
    assert {"python", "platolm-stack", "redis-server"} <= set(taken.versions)
    assert taken.is_reached


def test_command_prints_the_table_or_says_what_is_missing(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(results.main)
    path = tmp_path / "results.jsonl"
    missing = CliRunner().invoke(app, ["--json", str(path)])
    results.append(path, [result("rate", 2)])

    printed = CliRunner().invoke(app, ["--json", str(path)])

    assert missing.exit_code == 1
    assert "cannot be read" in missing.output
    assert printed.exit_code == 0
    assert "| overhead | rate | 2 1/s |  |  |" in printed.output
