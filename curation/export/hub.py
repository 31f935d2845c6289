"""A finished folder onto the Hugging Face hub, through its own client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from platolm.errors import InputError, OutputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9]|[-_.](?=[A-Za-z0-9])){0,95}"
_KEPT = "the folder itself is written"
_REPOSITORY = re.compile(f"{_WORD}/{_WORD}")


def check_repository(name: str) -> None:
    """See that a name can be a dataset's on the hub, before anything is written.

    Raises:
        InputError: it is not OWNER/NAME.
    """
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"--push-to-hub {name}: give OWNER/NAME, of letters, digits, and - _ . between them")


def push(folder: Path, repository: str, *, public: bool, show_progress: bool = False, api: HfApi | None = None) -> str:
    """Upload the folder as a dataset in one commit, and give its URL; a repository that is not there is made.

    One that is there keeps its visibility, and files that are not in the folder. The token is the one that
    `hf auth login` stored, or HF_TOKEN.

    Args:
        folder: as `curation.export` wrote it.
        repository: OWNER/NAME.
        public: whether a new repository can be seen by everybody.
        show_progress: whether the hub's client may draw its bars on stderr.
        api: instead of the hub's own client with its defaults.

    Raises:
        OutputError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # it is documented

    if not show_progress:
        disable_progress_bars()
    api = api or HfApi()
    with _hub_errors(repository):
        url = api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository, repo_type="dataset", folder_path=folder, commit_message="Export of PlatoLM Stack"
        )
    return str(url)


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise OutputError(f"{repository} needs a token: run `hf auth login`, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        said = _one_line(error.server_message or error)
        raise OutputError(f"the hub refuses {repository}: {said}; {_KEPT}") from error
    except (httpx2.HTTPError, OSError) as error:
        raise OutputError(f"the hub cannot be reached ({_one_line(error)}); {_KEPT}") from error
    except (RuntimeError, ValueError) as error:  # what its client makes of a large file's upload that failed
        reason = _one_line(error.__cause__ or error)
        raise OutputError(f"the upload to {repository} failed: {reason}; {_KEPT}") from error


def _one_line(said: object) -> str:
    return " ".join(str(said).split()) or type(said).__name__
