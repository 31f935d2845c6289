"""Where the small models lie that come with a checkout."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def demo_model(name: str) -> str | None:
    """The folder of the demo model `socratic` or `platolm`; None outside a checkout, or before it is there."""
    folder = REPOSITORY / "models" / "demo" / name
    return str(folder) if (folder / "config.json").is_file() else None


def demo_adapter(name: str) -> str | None:
    """The folder of the demo pair's LoRA adapter `socratic` or `platolm`, of the demo's `base`; None as above."""
    folder = REPOSITORY / "models" / "demo" / "adapters" / name
    return str(folder) if (folder / "adapter_config.json").is_file() else None
