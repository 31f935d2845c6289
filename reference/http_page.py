"""docs/http-api.md: every route of the orchestrator's API and of the model servers, from their OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from platolm.stack.demo import REPOSITORY
from platolm.tokenizer import load_tokenizer
from reference.markdown import anchor, code, one_line, page, table
from reference.schemas import Link, Schema, answer_table, bounds_of, default_of, fields_table, kind_of
from services.gateway.app import create_app as gateway_app
from services.gateway.state import ServerState
from services.orchestrator.app import create_app as orchestrator_app
from services.orchestrator.settings import ApiSettings
from services.simulator.settings import SimulatorSettings

ORCHESTRATOR, MODEL_SERVERS = "Orchestrator", "Model servers"
_METHODS = ("get", "post", "put", "patch", "delete")
_JSON = "application/json"
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")

ABOUT = """\
Every route, what it takes and what it gives. The same as OpenAPI: `/openapi.json` of each process; for people: `/docs`
of the orchestrator. How to use them: [the orchestrator's API](api.md), [talks](dialogues.md),
[agent testing](agent-testing.md).

Refusals of the orchestrator are `{"detail": …}`, those of the model servers OpenAI's `{"error": {…}}`. Where keys are
set, every request but those to `/healthz` and `/readyz` carries `Authorization: Bearer KEY`."""

ABOUT_MODEL_SERVERS = """\
Simulator and respondent have the same routes; `/generate` is the simulator's alone."""


def http_page() -> str:
    """The whole page."""
    documents = {ORCHESTRATOR: orchestrator_document(), MODEL_SERVERS: gateway_document()}
    return page("HTTP API", ABOUT, *(part for name, document in documents.items() for part in _server(name, document)))


def orchestrator_document() -> dict[str, Any]:
    """The OpenAPI document of the API with the defaults of its settings, whatever the environment says."""
    return orchestrator_app(ApiSettings.model_construct()).openapi()


def gateway_document() -> dict[str, Any]:
    """The OpenAPI document of a model server, a simulator's: it has every route."""
    app: FastAPI = gateway_app(
        SimulatorSettings.model_construct(), load_tokenizer(REPOSITORY / "models/demo/socratic"), ServerState()
    )
    return app.openapi()


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each route as `GET /path`, with what the document says of it."""
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield f"{method.upper()} {path}", methods[method]


def _server(name: str, document: Mapping[str, Any]) -> list[str]:
    schemas = {key: value for key, value in document["components"]["schemas"].items() if key not in _OF_FASTAPI}
    link = _linking(schemas)
    tagged = _by_tag(document)
    everywhere = _answers_everywhere(document)
    about = [f"## {name}", ABOUT_MODEL_SERVERS if name == MODEL_SERVERS else ""]
    if everywhere:
        about += ["Any of its routes may answer", table(["status", "answer"], _answers(everywhere, link))]
    routes = [_operation(route, said, everywhere, link) for found in tagged.values() for route, said in found]
    objects = [_object(key, schema, link) for key, schema in schemas.items() if "enum" not in schema]
    return ["\n\n".join(filter(None, about)), *routes, f"### Objects of the {name.lower()}", *objects]


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for route, said in operations(document):
        found.setdefault(said.get("tags", [""])[0], []).append((route, said))
    return found


def _linking(schemas: Mapping[str, Any]) -> Link:
    def link(name: str) -> str:
        values = schemas.get(name, {}).get("enum")
        return ", ".join(code(str(value)) for value in values) if values else f"[{name}](#{anchor(name)})"

    return link


def _answers_everywhere(document: Mapping[str, Any]) -> dict[str, Any]:
    """The responses that all routes have alike."""
    every = [said["responses"] for _, said in operations(document)]
    return {
        status: answer
        for status, answer in every[0].items()
        if status >= "300" and all(one.get(status) == answer for one in every)
    }


def _operation(route: str, said: Mapping[str, Any], everywhere: Mapping[str, Any], link: Link) -> str:
    responses = {
        status: answer
        for status, answer in said["responses"].items()
        if status not in everywhere and not any(name in str(answer) for name in _OF_FASTAPI)
    }
    about = said.get("description") or (said["summary"] if "requestBody" in said or not _is_own_name(said) else "")
    parameters = [
        (code(one["name"]), _parameter_kind(one, link), default_of(one["schema"]), one_line(one.get("description", "")))
        for one in said.get("parameters", ())
    ]
    parts = [
        f"### `{route}`",
        "\n\n".join(one_line(paragraph) for paragraph in about.split("\n\n")),
        table(["parameter", "kind", "default", "meaning"], parameters),
        _body(said, link),
        table(["status", "answer"], _answers(responses, link)),
    ]
    return "\n\n".join(part for part in parts if part)


def _is_own_name(said: Mapping[str, Any]) -> bool:
    """Whether FastAPI made the summary of the function's name."""
    return str(said["operationId"]).startswith(str(said["summary"]).lower().replace(" ", "_"))


def _parameter_kind(parameter: Mapping[str, Any], link: Link) -> str:
    kind = kind_of(parameter["schema"], link).removesuffix(" or null")
    where = "" if parameter["in"] == "query" else f"in the {parameter['in']}"
    return ", ".join(part for part in (kind, bounds_of(parameter["schema"]), where) if part)


def _body(said: Mapping[str, Any], link: Link) -> str:
    if "requestBody" not in said:
        return ""
    schema: Schema = said["requestBody"]["content"][_JSON]["schema"]
    if "properties" not in schema:
        return f"Body: {kind_of(schema, link)}"
    return "Body:\n\n" + fields_table(schema, link)


def _answers(responses: Mapping[str, Any], link: Link) -> Iterator[tuple[str, str]]:
    for status, answer in sorted(responses.items()):
        content = answer.get("content", {})
        kinds = [_content(kind, one.get("schema", {}), link) for kind, one in content.items()]
        about = "" if answer["description"] == "Successful Response" else one_line(answer["description"])
        yield status, ": ".join(part for part in (about, " or ".join(filter(None, kinds))) if part)


def _content(content_type: str, schema: Schema, link: Link) -> str:
    if content_type != _JSON:
        return code(content_type)
    return kind_of(schema, link) if schema else ""


def _object(name: str, schema: Schema, link: Link) -> str:
    tabled = fields_table if "default" in str(schema.get("properties", "")) else answer_table
    about = one_line(str(schema.get("description", "")).partition("\n\n")[0])
    return "\n\n".join(part for part in (f"#### {name}", about, tabled(schema, link)) if part)
