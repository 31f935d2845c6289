"""The API's description, and what answers without Redis."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from platolm.respondents import RESPONDENTS
from platolm.simulators import PROFILES as SIMULATORS
from platolm.spec import RunRequest, RunSpec, SideSpec
from services.orchestrator.app import create_app
from services.orchestrator.settings import ApiSettings
from services.orchestrator.web.auth import OPEN_PATHS

KEY = "a-key-for-this-test"
PATHS = {
    "/v1/runs": {"get", "post"},
    "/v1/profiles": {"get"},
    "/v1/runs/{run_id}": {"get"},
    "/v1/runs/{run_id}/pause": {"post"},
    "/v1/runs/{run_id}/resume": {"post"},
    "/v1/runs/{run_id}/cancel": {"post"},
    "/v1/runs/{run_id}/retry-dead": {"post"},
    "/v1/runs/{run_id}/dead": {"get"},
    "/v1/runs/{run_id}/manifest": {"get"},
    "/v1/runs/{run_id}/segments/{name}": {"get"},
    "/v1/runs/{run_id}/dataset": {"get"},
    "/v1/runs/{run_id}/conversations": {"get"},
    "/v1/runs/{run_id}/events": {"get"},
    "/v1/runs/{run_id}/records": {"get"},
    "/v1/runs/{run_id}/histograms": {"get"},
    "/v1/conversations/{conversation_id}": {"get"},
    "/v1/conversations/{conversation_id}/mark": {"put"},
    "/v1/conversations/{conversation_id}/events": {"get"},
    "/v1/live": {"get"},
    "/v1/series": {"get"},
    "/v1/render": {"post"},
    "/v1/dialogues": {"post"},
    "/v1/dialogues/speakers": {"get"},
    "/v1/talks": {"get", "post"},
    "/v1/talks/dataset": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}
NAMES_A_RUN = {"/v1/live"}
"""In its query."""

JSON = "application/json"


def described(**settings: Any) -> dict[str, Any]:
    return create_app(ApiSettings(**settings)).openapi()


def operations(description: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, methods in description["paths"].items() for operation in methods.values()]


def test_every_operation_is_described() -> None:
    assert {path: set(methods) for path, methods in described()["paths"].items()} == PATHS


def test_every_refusal_has_a_typed_body() -> None:
    description = described()
    for path, operation in operations(description):
        refusals = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert {"400", "401", "413", "415", "422", "503"} <= set(refusals), path
        assert ("404" in refusals) == ("{" in path or path in NAMES_A_RUN), path
        for status, answer in refusals.items():
            name = "InvalidRequest" if status == "422" else "Refusal"
            assert answer["content"][JSON]["schema"] == {"$ref": f"#/components/schemas/{name}"}, (path, status)


def test_steering_may_conflict() -> None:
    paths = described()["paths"]
    for action in ("pause", "resume", "cancel", "retry-dead"):
        assert "409" in paths[f"/v1/runs/{{run_id}}/{action}"]["post"]["responses"]
    assert {"200", "201", "409", "507"} <= set(paths["/v1/runs"]["post"]["responses"])
    assert {"200", "202"} <= set(paths["/v1/runs/{run_id}/cancel"]["post"]["responses"])


def test_the_body_of_a_submission_is_described_though_it_is_read_apart() -> None:
    description = described()
    content = description["paths"]["/v1/runs"]["post"]["requestBody"]["content"]
    assert content[JSON]["schema"] == {"$ref": "#/components/schemas/RunRequest"}
    schemas = description["components"]["schemas"]
    assert set(schemas["RunRequest"]["properties"]) == set(RunRequest.model_fields)
    assert schemas["RunSpec"]["additionalProperties"] is False
    references = str(description).split("#/components/schemas/")[1:]
    assert {reference.partition("'")[0] for reference in references} <= set(schemas)


def test_what_is_streamed_says_so() -> None:
    paths = described()["paths"]
    assert set(paths["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"]) == {"text/event-stream"}
    dataset = paths["/v1/runs/{run_id}/dataset"]["get"]["responses"]["200"]["content"]
    assert set(dataset) == {"application/jsonl", "application/vnd.apache.parquet"}


def test_the_key_is_described_where_there_is_one() -> None:
    assert "security" not in described()
    description = described(api_keys=SecretStr(KEY))
    assert description["security"] == [{"bearer": []}]
    assert description["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    for path, operation in operations(description):
        assert operation.get("security") == ([] if path in OPEN_PATHS else None), path


async def test_profiles_are_what_a_spec_takes() -> None:
    transport = httpx.ASGITransport(create_app(ApiSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
        offered = (await api.get("/v1/profiles")).raise_for_status().json()
    assert {side: [choice["name"] for choice in choices] for side, choices in offered.items()} == {
        "simulators": list(SIMULATORS),
        "respondents": list(RESPONDENTS),
    }
    assert {choice["name"]: choice for choice in offered["simulators"]}["userlm"] == {
        "name": "userlm",
        "about": "UserLM-8b: a user with an intent, who leaves when it is done.",
        "needs": ["intent", "goal"],
        "sampling": {
            "temperature": 1.0,
            "top_p": 0.8,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_tokens": 512,
        },
    }
    assert offered["respondents"][1]["sampling"] == {"max_tokens": 512}, "a chat model has its own"
    for choice in offered["respondents"]:
        spec = RunSpec(conversations=1, respondent=SideSpec(profile=choice["name"]))
        assert spec.respondent.profile == choice["name"]


@pytest.mark.parametrize("path", ["/v1/runs/.a", "/v1/runs/ab", f"/v1/runs/{'a' * 65}", "/v1/conversations/run-a"])
async def test_ids_that_are_none_never_reach_redis(path: str) -> None:
    app = create_app(ApiSettings())  # its lifespan was never entered: there is no Redis
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        with pytest.raises(AttributeError, match="runs") as caught:
            await client.get("/v1/runs")
        assert caught.value.name == "runs"
        app.state.runs = None
        response = await client.get(path)
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert (set(problem), problem["loc"][0]) == ({"loc", "msg"}, "path")
