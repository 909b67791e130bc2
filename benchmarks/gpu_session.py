"""The full recipe in sessions of about ten minutes: each resumes where the last one ended, on this machine or another.

`preset("paper")` on a folder of pictures (CIFAR-10 as JPEG files in ten folders): ResNet-34 or ResNet-18 at full width,
multi-crop, bfloat16 and recorded CUDA graphs. After a session the run folder is kept in `--keep` as parts of less than
16 MB with their checksums; a session on a machine without the run folder first puts it together again. On a processor
the sessions give the same bits as one run, which a test shows. Untested on a GPU.
Example: python benchmarks/gpu_session.py cifar10_jpeg --backbone resnet18 --run-dir runs/r18 --keep kept/r18
"""

import argparse
import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

from dcacn_nb.compare.paper import paper_table
from dcacn_nb.core.events import Evaluated
from dcacn_nb.core.files import atomic_write
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import TrainConfig, preset
from dcacn_nb.runs.log import read_events

PART = 15_000_000  # bytes
CLAIMS = {150: "above 80 (section 4.2, Figure 3)", 400: "level from here on (section 4.2)"}  # CIFAR-10's ACC


def keep(run_dir: Path, target: Path) -> None:
    "The run folder as parts, and their checksums last: parts without their list are not used."
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(p for p in run_dir.rglob("*") if p.is_file() and not p.name.startswith(".lock")):
            tar.add(file, file.relative_to(run_dir).as_posix())
    target.mkdir(parents=True, exist_ok=True)
    whole, sums = packed.getvalue(), {}
    for first in range(0, len(whole), PART):
        piece = whole[first : first + PART]
        name = hashlib.sha256(piece).hexdigest()[:16] + ".part"
        atomic_write(target / name, piece)
        sums[name] = hashlib.sha256(piece).hexdigest()
    atomic_write(target / "parts.json", json.dumps(sums).encode())
    for file in target.glob("*.part"):
        if file.name not in sums:
            file.unlink()


def put_together(target: Path, run_dir: Path) -> None:
    "The run folder from its parts; a part that is missing or changed is named."
    whole = io.BytesIO()
    for name, expected in json.loads((target / "parts.json").read_text("utf-8")).items():
        piece = (target / name).read_bytes()
        if hashlib.sha256(piece).hexdigest() != expected:
            raise ValueError(f"{target / name} is not the part that was kept; copy it again")
        whole.write(piece)
    whole.seek(0)
    run_dir.mkdir(parents=True)
    with tarfile.open(fileobj=whole) as tar:
        tar.extractall(run_dir, filter="data")


def session(images, config: TrainConfig, run_dir: Path, kept: Path, minutes: float):
    "Train for some minutes, or to the end; then keep the run."
    if not run_dir.exists() and (kept / "parts.json").exists():
        put_together(kept, run_dir)
    run = fit(images, config=config, labels=images.labels, run_dir=run_dir, resume=True, start=False, progress=True)
    clock = threading.Timer(60 * minutes, run.stop)
    clock.daemon = True
    clock.start()
    run.drive()
    clock.cancel()
    keep(run_dir, kept)
    return run


def curve(run_dir: Path, last: int) -> str:
    "ACC by epoch, and what the paper says about CIFAR-10 beside it."
    claims = CLAIMS | {last: f"{paper_table('CIFAR-10').loc['dcacn', 'acc']} (Table 2)"}
    lines, said = ["epoch    ACC   the paper"], set()
    for event in read_events(run_dir, arrays=False):
        if isinstance(event, Evaluated) and event.scores:
            due = [epoch for epoch in claims if epoch <= event.epoch and epoch not in said]
            said |= set(due)
            beside = "; ".join(f"epoch {epoch}: {claims[epoch]}" for epoch in due)
            lines.append(f"{event.epoch:5d}  {100 * event.scores['acc']:5.1f}   {beside}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="folder of pictures with a folder for each class")
    parser.add_argument("--backbone", choices=("resnet34", "resnet18"), default="resnet34")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True, help="folder for the parts; outside --run-dir")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images = load_images(options.images)
    changes = {"backbone": options.backbone, "epochs": options.epochs, "seed": options.seed, "keep_last": 1}
    config = preset("paper", images, 10, upright=False, eval_every=5, snapshot_every=0, **changes)
    run = session(images, config, options.run_dir, options.keep, options.minutes)
    print(curve(options.run_dir, config.epochs))
    print(f"{run.status} at epoch {run.state.epoch} of {config.epochs}, step {run.state.step}")


if __name__ == "__main__":
    main()
