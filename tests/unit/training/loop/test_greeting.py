"""Both models say something, or the error says which does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiohttp import web

from platolm.errors import StackError
from platolm.stack.settings import LocalStackSettings
from tests.redis_server import free_port
from tests.serving import serving
from training.loop.greeting import greet


async def models(_request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "the-model"}]})


async def chat(request: web.Request) -> web.Response:
    body = await request.json()
    assert body["model"] == "the-model"
    said = "Answer." if body["messages"] else "Opening?"
    return web.json_response({"choices": [{"message": {"role": "assistant", "content": said}}]})


@pytest.fixture
def port() -> Iterator[int]:
    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    with serving(app) as address:
        yield int(address.rpartition(":")[2])


def settings(**ports: int) -> LocalStackSettings:
    base = LocalStackSettings(simulator_model="a", respondent_model="b")
    return base.model_copy(update=ports)


async def test_the_simulator_opens_and_the_respondent_answers(port: int) -> None:
    said = await greet(settings(simulator_port=port, respondent_port=port))
    assert said == {"question": "Opening?", "answer": "Answer."}


async def test_a_model_that_does_not_answer_is_named(port: int) -> None:
    silent = free_port()
    with pytest.raises(StackError, match=f"the new model at http://127.0.0.1:{silent}/v1 does not answer"):
        await greet(settings(simulator_port=port, respondent_port=silent))
