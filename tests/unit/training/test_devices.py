"""A rank's view of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.distributed import DistNetworkError

from training.devices import PEER_TIMEOUT, PEER_TIMEOUT_S, Devices, lost_peer

GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711"


def test_alone_without_torchrun_and_as_it_says_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", PEER_TIMEOUT):
        monkeypatch.delenv(name, raising=False)
    alone = Devices.from_environment()
    assert alone == Devices(1, 0, 0, PEER_TIMEOUT_S)
    assert alone.is_first
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "0"), (PEER_TIMEOUT, "60")):
        monkeypatch.setenv(name, value)
    second_machine = Devices.from_environment()
    assert second_machine == Devices(4, 2, 0, 60)
    assert (second_machine.is_first, second_machine.is_first_here) == (False, True)


def test_alone_a_path_is_agreed_on() -> None:
    assert Devices(1, 0).agreed(Path("a")) == Path("a")
    assert Devices(1, 0).agreed(None) is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(GLOO),
        RuntimeError("Timed out waiting 600000ms for recv operation to complete"),
        RuntimeError("NCCL error: remote process exited or there was a network error"),
        DistNetworkError("failed to recv, got 0 bytes"),
    ],
)
def test_a_broken_collective_is_a_lost_peer(error: BaseException) -> None:
    assert lost_peer(error) == str(error)
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = error
    assert lost_peer(wrapped) == str(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory"), RuntimeError("shape mismatch"), ValueError("connection closed")]
)
def test_other_errors_are_none(error: BaseException) -> None:
    assert lost_peer(error) is None
