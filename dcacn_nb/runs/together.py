"""Several processes, one run: the first reads and writes its folder, all begin with its state and end at one step."""

import json
from pathlib import Path

import safetensors.torch

from dcacn_nb.core.ranks import loudest, rank, send_bytes, world
from dcacn_nb.method.step import TrainState, place
from dcacn_nb.runs.folder import check_same_run

WORDS = ("", "pause", "stopped", "interrupted")  # what a process asks for; the last of them that is said is done


def begin_together(
    state: TrainState,  # of the first process: new, or as its folder holds it; of the others it becomes the same
    about: dict,  # describe_run(...)
) -> None:
    "Give every process the state of the first; refuse one that has other images or other settings."
    if world() == 1:
        return
    first = rank() == 0
    meta = json.dumps(state.meta() | {"about": about}) if first else ""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()} if first else {}
    told = json.loads(send_bytes(meta.encode()))
    data = send_bytes(safetensors.torch.save(tensors) if first else b"")
    if not first:
        check_same_run(told["about"], about, Path("the run of the first process"))
        place(state.model, state.config)
        state.restore(safetensors.torch.load(data), told)


def agree(
    word: str,  # one of WORDS: what this process asks for
) -> str:  # what all of them do
    "What several processes do next: what any of them asks for. While one holds, the others wait for its word."
    heard = WORDS[loudest(WORDS.index(word))]
    while heard == "pause" != word:
        heard = WORDS[loudest(WORDS.index(word))]
    return heard
