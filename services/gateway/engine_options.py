"""Settings of an engine that is larger than one card, or that is to do more with one: vLLM's own flags, typed."""

from __future__ import annotations

import json

from pydantic import Field, field_validator

from services.secret_files import SecretFileSettings

_FLAGS = {
    "tensor_parallel_size": "--tensor-parallel-size",
    "data_parallel_size": "--data-parallel-size",
    "quantization": "--quantization",
    "kv_cache_dtype": "--kv-cache-dtype",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "speculative_config": "--speculative-config",
}


class EngineOptions(SecretFileSettings):
    """What vLLM decides by itself where nothing is said. What is not here goes into `engine_args`."""

    tensor_parallel_size: int | None = Field(None, ge=1, description="GPUs over which each layer of one engine is cut")
    data_parallel_size: int | None = Field(
        None, ge=1, description="copies of the model within one engine; prefer replicas: see docs/big-engines.md"
    )
    quantization: str | None = Field(
        None, min_length=1, description="how weights are quantised: fp8, awq, gptq, ...; default: as the model says"
    )
    kv_cache_dtype: str | None = Field(None, min_length=1, description="type of the KV cache: auto, fp8, bfloat16, ...")
    max_num_seqs: int | None = Field(None, ge=1, description="requests that the engine works on at a time")
    max_num_batched_tokens: int | None = Field(
        None, ge=1, description="tokens of one step of the engine, prompts' pieces included"
    )
    chunked_prefill: bool | None = Field(
        None, description="whether long prompts are taken in pieces beside other requests (GPU only)"
    )
    speculative_config: str | None = Field(
        None, description='speculative decoding, as vLLM\'s JSON: \'{"method": "ngram", ...}\''
    )

    @field_validator("speculative_config")
    @classmethod
    def _json_object(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            config = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from error
        if not isinstance(config, dict) or not {"method", "model"} & config.keys():
            raise ValueError('it is a JSON object with a "method" or a "model"')
        return text

    @property
    def given_options(self) -> tuple[str, ...]:
        """Names of the options that were set."""
        return tuple(name for name in EngineOptions.model_fields if getattr(self, name) is not None)

    def option_flags(self) -> list[str]:
        """vLLM's flags for what was set."""
        argv = []
        for name, flag in _FLAGS.items():
            value = getattr(self, name)
            if value is not None:
                argv += [flag, str(value)]
        if self.chunked_prefill is not None:
            argv.append("--enable-chunked-prefill" if self.chunked_prefill else "--no-enable-chunked-prefill")
        return argv
