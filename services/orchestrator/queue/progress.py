"""A run's hash in Redis, read as its progress."""

from __future__ import annotations

import json

from platolm.conversation import TerminationReason
from platolm.runs import Pause, PausedBy, RunProgress, RunState
from platolm.spec import RunSpec

_ENDED = "ended:"


def progress_of(run_id: str, fields: dict[str, str], *, dead: int) -> RunProgress:
    """The progress that a run's fields tell."""
    return RunProgress(
        id=run_id,
        state=RunState(fields["state"]),
        pause=_pause(fields),
        spec=RunSpec.model_validate_json(fields["spec"]),
        created_at=float(fields["created_at"]),
        fed=int(fields["cursor"]),
        in_flight=max(0, int(fields.get("claimed", 0))),
        finished=int(fields.get("finished", 0)),
        committed=int(fields["committed"]),
        dead=dead,
        cancelled=int(fields.get("cancelled", 0)),
        utterances=int(fields.get("utterances", 0)),
        generated_tokens=int(fields.get("generated_tokens", 0)),
        terminations={
            TerminationReason(name.removeprefix(_ENDED)): int(count)
            for name, count in fields.items()
            if name.startswith(_ENDED)
        },
        warnings=json.loads(fields.get("warnings", "[]")),
    )


def _pause(fields: dict[str, str]) -> Pause | None:
    by = fields.get("pause_by")
    return Pause(by=PausedBy(by), reason=fields.get("pause_reason", "")) if by else None
