"The kernel's stop button, in a real kernel: the run ends with a checkpoint, and the cell shows one sentence."

import re
import sys
import time

import pytest
from jupyter_client.manager import KernelManager
from running import until

from dcacn_nb.core.events import StepDone
from dcacn_nb.runs.checkpoint import list_checkpoints
from dcacn_nb.runs.log import read_events

SETUP = """
import asyncio
import torch
torch.set_num_threads(1)
import dcacn_nb as dc
images = dc.load_images("digits", limit=120)
settings = dict(n_clusters=10, width=4, projection_dim=8, batch_size=40, n_local=1, log_every=1, eval_every=100_000,
                snapshot_every=0, epochs=100_000, checkpoint_seconds=1e9, device="cpu")
"""
CELLS = {
    "awaited": "run = dc.fit(images, run_dir={folder!r}, background=True, **settings)\nawait run",
    "foreground": "dc.fit(images, run_dir={folder!r}, **settings)",
    "waited": "run = dc.fit(images, run_dir={folder!r}, background=True, **settings)\nrun.wait()",
    # with a top-level await in the cell, the kernel turns the signal into a cancellation, which a blocking call misses
    "blocking beside an await": "await asyncio.sleep(0)\ndc.fit(images, run_dir={folder!r}, **settings)",
}


class Kernel:
    "A kernel, and the messages of its cells."

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def end(self, request):
        "Wait for the end of a cell: its reply, and the outputs on the way."
        outputs = []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") == request:
                outputs.append((message["msg_type"], message["content"]))
                if outputs[-1] == ("status", {"execution_state": "idle"}):
                    break
        while (reply := self.client.get_shell_msg(timeout=120))["parent_header"].get("msg_id") != request:
            pass
        return reply["content"], outputs

    def run(self, code):
        return self.end(self.client.execute(code))

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    reply, outputs = kernel.run(SETUP)
    assert reply["status"] == "ok", outputs
    yield kernel
    kernel.close()


def steps_of(folder):
    found = read_events(folder) if (folder / "events.jsonl").exists() else []
    return [event.step for event in found if isinstance(event, StepDone)]


@pytest.mark.parametrize("cell", CELLS)
def test_the_stop_button_ends_with_one_sentence(kernel, cell, tmp_path):
    folder = tmp_path / "run"
    request = kernel.client.execute(CELLS[cell].format(folder=str(folder)))
    until(lambda: steps_of(folder))
    pressed = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply, outputs = kernel.end(request)
    assert time.monotonic() - pressed < 20
    errors = [content for kind, content in outputs if kind == "error"]
    assert reply["status"] == "error" and len(errors) == 1, "an error reply is what stops Run All"
    sentence = rf"The run was stopped at step (\d+); to resume it, call fit again with resume=True, run_dir='{folder}'"
    shown = re.fullmatch(sentence, "\n".join(errors[0]["traceback"]))
    assert shown, errors[0]["traceback"]
    assert not [content for kind, content in outputs if kind == "stream"], "nothing else is printed"
    step = int(shown[1])
    assert [int(p.stem.split("_")[1]) for p in list_checkpoints(folder / "checkpoints")] == [step]
    last = read_events(folder)[-1]
    assert (last.reason, last.step) == ("interrupted", step)


def test_what_the_sentence_says_resumes_the_run(kernel, tmp_path):
    folder = str(tmp_path / "run")
    request = kernel.client.execute(CELLS["foreground"].format(folder=folder))
    until(lambda: steps_of(tmp_path / "run"))
    kernel.manager.interrupt_kernel()
    kernel.end(request)
    at = read_events(tmp_path / "run")[-1].step
    reply, outputs = kernel.run(
        f"run = dc.fit(images, run_dir={folder!r}, resume=True, start=False, **settings)\n"
        f"assert run.state.step == {at}, run\nrun.stop(); run.wait()"
    )
    assert reply["status"] == "ok", outputs


def test_a_time_limit_on_an_awaited_run_is_still_a_timeout(kernel, tmp_path):
    "asyncio.wait_for cancels as the kernel does, and must get its own error."
    code = f"""
run = dc.fit(images, run_dir={str(tmp_path / "run")!r}, background=True, **settings)
try:
    await asyncio.wait_for(run, 0.3)
except asyncio.TimeoutError:
    print(run.status)
"""
    reply, outputs = kernel.run(code)
    assert reply["status"] == "ok", outputs
    assert [content["text"] for kind, content in outputs if kind == "stream"] == ["interrupted\n"]
