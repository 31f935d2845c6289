"""`--push-to-hub` through the hub's own client, against a fake of the hub's HTTP API on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from curation.export.hub import check_repository, push
from curation.export.writing import Wanted, export_dataset
from platolm.errors import InputError, OutputError
from platolm.runs_api import DatasetFormat
from tests.integration.curation.export.fake_hub import TOKEN, FakeHub, fake_hub
from tests.local_stack import REPOSITORY
from tests.unit.curation.export.exported import run_folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_dataset([run_folder(tmp_path / "run")], tmp_path / "talks", Wanted(test_share=0.4))
    return tmp_path / "talks"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_arrives_in_a_private_dataset(hub: FakeHub, folder: Path) -> None:
    url = push(folder, "me/talks", public=False, api=HfApi(endpoint=hub.url, token=TOKEN))
    assert url.endswith("/datasets/me/talks")
    assert hub.files == files_of(folder)
    assert len(hub.files) == 4
    assert [(one["type"], one["visibility"]) for one in hub.created] == [("dataset", "private")]
    assert sum("commit" in request for request in hub.requests) == 1


def test_a_public_one_is_asked_for(hub: FakeHub, folder: Path) -> None:
    push(folder, "me/talks", public=True, api=HfApi(endpoint=hub.url, token=TOKEN))
    assert [one["visibility"] for one in hub.created] == ["public"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_one_line(status: int, hub: FakeHub, folder: Path) -> None:
    hub.refuse = status
    with pytest.raises(OutputError, match=r"the hub refuses me/talks: .*; the folder itself is written") as refused:
        push(folder, "me/talks", public=False, api=HfApi(endpoint=hub.url, token=TOKEN))
    assert "\n" not in str(refused.value)
    assert hub.files == {}


def test_a_hub_that_is_away_is_one_line(folder: Path) -> None:
    with fake_hub() as gone:
        url = gone.url
    with pytest.raises(OutputError, match="the hub cannot be reached") as away:
        push(folder, "me/talks", public=False, api=HfApi(endpoint=url, token=TOKEN))
    assert "\n" not in str(away.value)


_CLIENTS_OWN_WARNING = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@pytest.fixture
def parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose data is uploaded as large files are: by git-lfs, as the newer storage cannot be imitated here."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    wanted = Wanted(DatasetFormat.PARQUET, test_share=0.4)
    export_dataset([run_folder(tmp_path / "run")], tmp_path / "talks", wanted)
    return tmp_path / "talks"


@_CLIENTS_OWN_WARNING
def test_large_files_arrive_too(hub: FakeHub, parquet: Path) -> None:
    push(parquet, "me/talks", public=False, api=HfApi(endpoint=hub.url, token=TOKEN))
    assert hub.files == files_of(parquet)
    assert len(hub.large) == 2


@_CLIENTS_OWN_WARNING
def test_an_upload_that_fails_midway_is_one_line_and_commits_nothing(hub: FakeHub, parquet: Path) -> None:
    hub.refuse_large = 400
    with pytest.raises(
        OutputError, match=r"the upload to me/talks failed: .*No room is left.*; the folder itself"
    ) as failed:
        push(parquet, "me/talks", public=False, api=HfApi(endpoint=hub.url, token=TOKEN))
    assert "\n" not in str(failed.value)
    assert hub.files == {}


def test_the_command_finds_hub_and_token_in_the_environment(hub: FakeHub, tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    code = "import sys, typer; from curation.export.cli import export; typer.run(export)"
    command = ["run", "--out", "talks", "--no-statistics", "--push-to-hub", "me/talks", "--licence", "mit"]
    variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (0, f"{hub.url}/datasets/me/talks\n"), result.stderr
    assert hub.files == files_of(tmp_path / "talks")


def test_names_of_repositories() -> None:
    for name in ("me/talks", "Org-1/a.b_c-d"):
        check_repository(name)
    for name in ("talks", "a/b/c", "me/", "/talks", "me/ta lks", "me/.talks", "me/a..b", "https://hub/me/talks"):
        with pytest.raises(InputError, match="give OWNER/NAME"):
            check_repository(name)
