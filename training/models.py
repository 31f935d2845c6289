"""The model that is trained: from a folder, from the hub, or from random weights; checked against its tokenizer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platolm.errors import InputError
from platolm.tokenizer import HubTokenizer
from training.recipes.recipe import Lora, Memory, Model, ModelShape

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import LlamaForCausalLM, PreTrainedModel

_VOCABULARY_MULTIPLE = 64  # tensor cores want the head's width so


def new_model(
    shape: ModelShape,
    *,
    seed: int,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    dtype: str = "float32",
    attention: str = "sdpa",
) -> LlamaForCausalLM:
    """A Llama with random weights and tied embeddings."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
        dtype=dtype,
    )
    model: LlamaForCausalLM = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, attn_implementation=attention
    )
    return model


def load_model(source: str | Path, *, dtype: str = "float32", attention: str = "sdpa") -> PreTrainedModel:
    """A causal language model's weights from a folder or the hub.

    Raises:
        InputError: nothing of that name, or no causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, attn_implementation=attention
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{source}: no causal language model there ({_first_line(error)})") from error
    return model


def empty_model(source: str | Path, *, dtype: str, attention: str) -> PreTrainedModel:
    """A causal language model of a folder or the hub whose parameters are reserved and never written: nothing is read,
    and no memory is taken until somebody writes. Its buffers are as they are.

    Raises:
        InputError: nothing of that name, or no causal language model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(source)
        with _on_meta():
            model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, dtype=dtype, attn_implementation=attention
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{source}: no causal language model there ({_first_line(error)})") from error
    _reserve(model)
    return model


def model_to_train(
    settings: Model,
    memory: Memory,
    tokenizer: HubTokenizer,
    *,
    attention: str,
    pad_id: int,
    seed: int,
    without_weights: bool = False,
) -> PreTrainedModel:
    """The recipe's model, its embedding as large as the tokenizer needs, in training's own settings.

    Args:
        without_weights: another rank sends them; of a folder's or the hub's model nothing is loaded then.

    Raises:
        InputError: no such model, or its vocabulary is too small.
    """
    if settings.shape is not None:
        model: PreTrainedModel = new_model(
            settings.shape,
            seed=seed,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=pad_id,
            dtype=memory.weights,
            attention=attention,
        )
    elif without_weights and not settings.grow_vocabulary:
        model = empty_model(settings.path, dtype=memory.weights, attention=attention)
    else:  # growing an embedding looks at its weights
        model = load_model(settings.path, dtype=memory.weights, attention=attention)
    fit_vocabulary(model, tokenizer, grow=settings.grow_vocabulary)
    model.config.use_cache = False
    return model


def fit_vocabulary(model: PreTrainedModel, tokenizer: HubTokenizer, *, grow: bool) -> None:
    """Make sure that every id of the tokenizer has an embedding.

    Raises:
        InputError: one has none, and growing is not allowed.
    """
    num_rows: int = model.get_input_embeddings().num_embeddings  # type: ignore[assignment]
    if tokenizer.vocab_size <= num_rows:
        return
    if not grow:
        raise InputError(
            f"the tokenizer {tokenizer.name} has {tokenizer.vocab_size:,} ids, the model only {num_rows:,}: take the "
            "model's own tokenizer, or --set model.grow_vocabulary=true"
        )
    model.resize_token_embeddings(tokenizer.vocab_size, pad_to_multiple_of=_VOCABULARY_MULTIPLE)


def attention_for(settings: Model) -> str:
    """The attention implementation, by transformers' name."""
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    if settings.attention != "auto":
        return settings.attention
    if not torch.cuda.is_available():
        return "sdpa"
    return "flash_attention_2" if is_flash_attn_2_available() else "flex_attention"


def compile_layers(model: PreTrainedModel) -> None:
    """torch.compile each decoder layer in place; names and saved weights stay as they are."""
    for module in model.modules():
        if type(module).__name__ in layer_classes(model):
            module.compile(dynamic=True)


def layer_classes(model: PreTrainedModel) -> list[str]:
    """Class names of the decoder layers: the units of compilation and of sharding."""
    return sorted(model._no_split_modules or [])


def lora_config(settings: Lora) -> LoraConfig:
    """As PEFT's configuration."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rank_stabilised,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _on_meta() -> AbstractContextManager[None]:
    """While inside, modules are made with their parameters on the meta device."""
    from accelerate import init_empty_weights  # type: ignore[import-untyped]

    context: AbstractContextManager[None] = init_empty_weights(include_buffers=False)
    return context


def _reserve(model: PreTrainedModel) -> None:
    """Parameters of the meta device get an address each, by which accelerate tells them apart."""
    import torch

    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            reserved = torch.empty_like(parameter, device="cpu")
            setattr(module, name, torch.nn.Parameter(reserved, requires_grad=parameter.requires_grad))
    model.tie_weights()


def _first_line(error: Exception) -> Any:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
