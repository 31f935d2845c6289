"""A run's hash in Redis, read as its progress."""

from __future__ import annotations

import json
from collections.abc import Mapping

from platolm.chat_apis.prices import NANOS
from platolm.chat_apis.use import ApiUse, EstimatedCost
from platolm.conversation import TerminationReason
from platolm.runs import Pause, PausedBy, RunProgress, RunState
from platolm.spec import RunSpec
from services.orchestrator.queue.chat_use import accounts_of
from services.orchestrator.queue.realism import realism_of

ENDED = "ended:"
"""Begins the names of the fields that count conversations by how they ended."""


def progress_of(
    run_id: str,
    fields: Mapping[str, str],
    *,
    dead: int,
    accounts: Mapping[str, str] | None = None,
    budget: str | None = None,
) -> RunProgress:
    """The progress that a run's fields tell, and what its speakers' accounts do; `budget` is one that was changed."""
    realism = realism_of(fields)
    spec = RunSpec.model_validate_json(fields["spec"])
    return RunProgress(
        id=run_id,
        state=RunState(fields["state"]),
        pause=_pause(fields),
        spec=spec,
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
            TerminationReason(name.removeprefix(ENDED)): int(count)
            for name, count in fields.items()
            if name.startswith(ENDED)
        },
        realism=realism,
        apis={side: ApiUse.of(account) for side, account in accounts_of(accounts or {}).items()},
        budget=spec.limits.budget if budget is None else int(budget) / NANOS,
        cost_estimate=EstimatedCost.model_validate_json(told) if (told := fields.get("cost_estimate")) else None,
        warnings=[*json.loads(fields.get("warnings", "[]")), *(realism.out_of_bounds.values() if realism else ())],
    )


def _pause(fields: Mapping[str, str]) -> Pause | None:
    by = fields.get("pause_by")
    return Pause(by=PausedBy(by), reason=fields.get("pause_reason", "")) if by else None
