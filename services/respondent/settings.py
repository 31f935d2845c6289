"""Settings of the respondent's server."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from platolm.respondents import RESPONDENTS, PlatoLM
from platolm.stack.demo import demo_model
from services.gateway.settings import GatewaySettings


class RespondentSettings(GatewaySettings):
    """`GatewaySettings` under `PLATOLM_RESPONDENT_`, serving the assistant's side."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_RESPONDENT_", extra="forbid", frozen=True)

    profiles: ClassVar[tuple[str, ...]] = tuple(RESPONDENTS)

    model: str | None = Field(
        default_factory=lambda: demo_model("platolm"),
        description="model folder, or a name on the Hugging Face hub; default: the demo model of a checkout",
    )
    served_model_name: str = Field("platolm", description="the name that requests use", min_length=1)
    profile: str | None = Field(
        PlatoLM.name,
        description="how it is prompted: platolm, the dyadic format; chat, the model's own format (llama3, chatml)",
    )
    port: int = Field(8002, ge=1, le=65535, description="port to listen on")
    engine_port: int = Field(8012, ge=1, le=65535, description="port of the inner engine")
