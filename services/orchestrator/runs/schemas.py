"""Answers of the run endpoints; what they have in common with clients lives in `platolm.runs`."""

from __future__ import annotations

from pydantic import BaseModel

from platolm.dataset import ManifestEntry
from platolm.runs import DeadConversation, RunProgress


class RunList(BaseModel):
    runs: list[RunProgress]


class Manifest(BaseModel):
    entries: list[ManifestEntry]


class DeadList(BaseModel):
    dead: list[DeadConversation]
