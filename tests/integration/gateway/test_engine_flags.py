"""Every flag that an engine is started with is one of the installed vLLM, and means there what it means here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from services.gateway.engine import EngineBuild, engine_argv
from services.respondent.settings import RespondentSettings

PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
parsed = []
for argv in json.loads(sys.argv[1]):
    namespace = parser.parse_args(argv)
    validate_parsed_serve_args(namespace)
    parsed.append(vars(namespace))
print(json.dumps(parsed, default=str))
"""

OPTIONS = {
    "tensor_parallel_size": 2,
    "data_parallel_size": 4,
    "quantization": "fp8",
    "kv_cache_dtype": "fp8",
    "max_num_seqs": 96,
    "max_num_batched_tokens": 16_384,
}
SPECULATIVE = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}


@pytest.mark.slow
def test_vllm_takes_them_and_understands_the_same() -> None:
    plain = RespondentSettings(model="org/model")
    big = plain.model_copy(
        update={**OPTIONS, "chunked_prefill": True, "speculative_config": json.dumps(SPECULATIVE), "dtype": "bfloat16"}
    )
    commands = [
        engine_argv(big, EngineBuild.GPU)[3:],
        engine_argv(plain, EngineBuild.GPU)[3:],
        engine_argv(plain, EngineBuild.CPU)[3:],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with_all, without, on_cpu = json.loads(done.stdout.splitlines()[-1])
    assert {name: with_all[name] for name in OPTIONS} == OPTIONS
    assert (with_all["enable_chunked_prefill"], with_all["dtype"]) == (True, "bfloat16")
    assert with_all["speculative_config"] == SPECULATIVE
    assert {without[name] for name in ("enable_chunked_prefill", "speculative_config", "max_num_seqs")} == {None}
    assert on_cpu["enable_chunked_prefill"] is False
