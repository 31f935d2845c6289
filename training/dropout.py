"""Residual dropout for Llama, which has none of its own: a small corpus seen many times needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def residual_dropout(model: PreTrainedModel, probability: float) -> Iterator[None]:
    """Drop out the embeddings and what each attention and MLP block adds, in training mode, inside this context.

    One mask a row, the same at every position (Gal & Ghahramani 2016, arXiv 1512.05287): as good a regulariser as a
    mask for each position, and almost free on a CPU. Forward hooks do it, so the architecture, the weights' names and
    the saved files stay those of a plain Llama. A model with adapters is dropped out below them.
    """
    import torch
    from torch.nn import Module

    def masked(states: torch.Tensor) -> torch.Tensor:
        keep = 1 - probability
        mask = torch.rand(states.shape[0], 1, states.shape[2], device=states.device) < keep
        return states * (mask / keep).to(states.dtype)

    def drop(module: Module, _inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (masked(output[0]), *output[1:])
        return masked(output)

    if probability == 0:
        yield
        return
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    blocks = [block for layer in decoder.layers for block in (layer.self_attn, layer.mlp)]
    hooks = [module.register_forward_hook(drop) for module in (decoder.embed_tokens, *blocks)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
