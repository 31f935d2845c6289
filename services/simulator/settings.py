"""Settings of the simulator's server."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from platolm import simulators
from platolm.stack.demo import demo_model
from services.gateway.settings import GatewaySettings


class SimulatorSettings(GatewaySettings):
    """`GatewaySettings` under `PLATOLM_SIMULATOR_`, serving the user's side."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_SIMULATOR_", extra="forbid", frozen=True)

    profiles: ClassVar[tuple[str, ...]] = tuple(simulators.names())

    model: str | None = Field(
        default_factory=lambda: demo_model("socratic"),
        description="model folder, or a name on the Hugging Face hub; default: the demo model of a checkout",
    )
    served_model_name: str = Field("socratic", description="the name that requests use", min_length=1)
    profile: str | None = Field(
        None,
        description=f"what kind of simulator it is: {', '.join(profiles)}; default: by the model's name, else socratic",
    )
    port: int = Field(8001, ge=1, le=65535, description="port to listen on")
    engine_port: int = Field(8011, ge=1, le=65535, description="port of the inner engine")
