"""The API's OpenAPI description: what FastAPI finds out by itself, and the body of a submission."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from platolm.spec import RunRequest
from services.orchestrator.web.auth import OPEN_PATHS

_REF = "#/components/schemas/{model}"
_SCHEME = "bearer"


def describe(app: FastAPI, *, needs_key: bool) -> None:
    """Give the app its description, made when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
            _add_request(found)
            if needs_key:
                _add_key(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_request(found: dict[str, Any]) -> None:
    schema = RunRequest.model_json_schema(ref_template=_REF)
    schemas = found["components"]["schemas"]
    schemas.update(schema.pop("$defs", {}))
    schemas["RunRequest"] = schema


def _add_key(found: dict[str, Any]) -> None:
    found["components"]["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}
    found["security"] = [{_SCHEME: []}]
    for path in OPEN_PATHS:
        for operation in found["paths"].get(path, {}).values():
            operation["security"] = []
