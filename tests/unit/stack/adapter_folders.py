"""Adapters' folders without weights: what a plan looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_adapter(folder: Path, **config: Any) -> Path:
    """A folder as PEFT writes it, of rank 8 unless told otherwise; its weights are an empty file."""
    folder.mkdir(parents=True)
    written = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_dora": False, "modules_to_save": None} | config
    (folder / "adapter_config.json").write_text(json.dumps(written), encoding="utf-8")
    (folder / "adapter_model.safetensors").touch()
    return folder
