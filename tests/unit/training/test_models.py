"""The model of a recipe: its vocabulary fits the tokenizer, or an error says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from platolm.errors import InputError
from platolm.tokenizer import HubTokenizer
from tests.unit.training.conftest import TINY_SHAPE, tiny_model
from training.models import compile_layers, fit_vocabulary, layer_classes, load_model, model_to_train, new_model
from training.recipes.recipe import Memory, Model


def smaller(num_rows: int) -> Model:
    return Model(path="-", shape=TINY_SHAPE.model_copy(update={"vocab_size": num_rows}))


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(tiny_tokenizer: HubTokenizer) -> None:
    with pytest.raises(InputError, match=r"has 320 ids, the model only 300.*model.grow_vocabulary=true"):
        model_to_train(smaller(300), Memory(), tiny_tokenizer, attention="sdpa", pad_id=3, seed=1)


def test_it_grows_to_a_multiple_of_64_when_asked_and_keeps_what_it_knew(tiny_tokenizer: HubTokenizer) -> None:
    model = new_model(TINY_SHAPE.model_copy(update={"vocab_size": 300}), seed=1, bos_id=1, eos_id=2, pad_id=3)
    known = model.model.embed_tokens.weight.detach().clone()
    fit_vocabulary(model, tiny_tokenizer, grow=True)
    grown = model.model.embed_tokens.weight
    assert grown.shape[0] == model.config.vocab_size == 320
    assert torch.equal(grown[:300], known)


def test_a_larger_vocabulary_stays_as_it_is(tiny_tokenizer: HubTokenizer) -> None:
    model = model_to_train(smaller(384), Memory(), tiny_tokenizer, attention="sdpa", pad_id=3, seed=1)
    fit_vocabulary(model, tiny_tokenizer, grow=True)
    assert model.config.vocab_size == 384


def test_no_model_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no causal language model there"):
        load_model(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_layers_are_compiled_in_place_under_their_names() -> None:
    model = tiny_model()
    names = list(model.state_dict())
    assert layer_classes(model) == ["LlamaDecoderLayer"]
    compile_layers(model)
    assert list(model.state_dict()) == names
    assert all(layer._compiled_call_impl is not None for layer in model.model.layers)
