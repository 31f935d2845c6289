"""HTTP of rendering: the dashboard shows what models wrote as Markdown, and has it made here."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.orchestrator.rendering.apart import Renderer

MAX_TEXTS = 200
MAX_CHARACTERS = 2**20

router = APIRouter(prefix="/v1", tags=["rendering"])

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class RenderRequest(BaseModel):
    """Texts of Markdown; together at most 1,048,576 characters."""

    model_config = ConfigDict(extra="forbid")

    texts: list[Text] = Field(max_length=MAX_TEXTS)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if sum(map(len, self.texts)) > MAX_CHARACTERS:
            raise ValueError(f"the texts have more than {MAX_CHARACTERS} characters together: send them in parts")
        return self


class RenderedTexts(BaseModel):
    """The texts' HTML, in their order: no script, no style, no picture, and links that lead away only."""

    html: list[str]


@router.post("/render")
async def render(request: Request, texts: RenderRequest) -> RenderedTexts:
    """Markdown (CommonMark, tables, strikethrough) as HTML that may be shown as it is. HTML in it stays text."""
    renderer: Renderer = request.app.state.renderer
    return RenderedTexts(html=await renderer.html_of(texts.texts))
