"""Every key that the project has in Redis, for Python and for the scripts."""

from __future__ import annotations

import json

from platolm.runs import CONVERSATION_ID_FORMAT

GROUP = "workers"
"""The consumer group of every run's stream."""

KEYS = {
    "runs": "runs",  # zset: run → created_at
    "active": "active",  # list: runs whose conversations are handed out
    "open": "open",  # set: runs that are not over
    "run": "run:{}",  # hash: spec, state, counters, cursor, limits, realism
    "stream": "run:{}:stream",  # stream: index; an entry lives until its conversation has ended
    "orphans": "run:{}:orphans",  # list: indices to hand out again
    "finished": "run:{}:finished",  # hash: index → record, until it is in the dataset
    "dead": "run:{}:dead",  # hash: index → dead letter
    "events": "run:{}:events",  # channel: utterances as they complete, conversations as they end
    # hash: run, index, entry, seed, attempts, lost_engines; token, worker, need; at_ROLE
    "conversation": "conversation:{}",
    "turns": "conversation:{}:turns",  # list: one JSON object an utterance
    "partial": "conversation:{}:partial",  # channel: the utterance in the making, while somebody watches
    "watched": "watched",  # zset: conversation that somebody watches → until when, in seconds of Redis' clock
    "workers": "workers",  # set: incarnations whose claims stand
    "lease": "worker:{}:lease",  # string that expires
    "claims": "worker:{}:claims",  # hash: conversation → token
    "reports": "reports",  # hash: worker of `workers` → when it reported and what, see reports.py
    "reserved": "reserved",  # hash: replica's URL → tokens that the conversations placed there may need
    "accounts": "run:{}:accounts",  # hash: SIDE:ID of a speaker → what it used of chat APIs, in JSON
    # hash of what is spent and held of a run's budget, and its limit where that was changed, see budget.lua; holds by
    # their end are in a zset at the same key with `:until`
    "budget": "run:{}:budget",
    "pace": "api:{}:pace",  # hash: how fast the chat API of this name is asked, see pace.lua
    "idempotency": "idempotency:{}",  # hash: run, digest
    "sides": "sides",  # hash: simulator, respondent → what workers found at the engines
}
DEFAULT_PREFIX = "platolm:"


def lua_keys(prefix: str) -> str:
    """`key_NAME(id)` for every key, the group and the conversation id, so that none is spelled in a script."""
    id_format = _lua_string(CONVERSATION_ID_FORMAT)
    lines = [f"local GROUP = {_lua_string(GROUP)}"]
    lines.append(f"local function conversation_id(run, index) return string.format({id_format}, run, index) end")
    for name, template in KEYS.items():
        before, placeholder, after = template.partition("{}")
        middle = ".. id .. " if placeholder else ".. "
        lines.append(
            f"local function key_{name}(id) return {_lua_string(prefix + before)} {middle}{_lua_string(after)} end"
        )
    return "\n".join(lines) + "\n"


def _lua_string(text: str) -> str:
    return json.dumps(text)
