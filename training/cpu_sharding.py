"""FSDP2 over CPU processes: gloo carries it, but accelerate knows sharding on accelerators alone.

So the same sharded path that GPUs run can be run, and tested, where there is none.
"""

from __future__ import annotations

from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState, PartialState  # type: ignore[import-untyped]


def shard_on_cpu(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Have an accelerator of several CPU processes shard as it would shard over GPUs."""
    if accelerator.distributed_type is not DistributedType.MULTI_CPU:
        return
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin}
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
