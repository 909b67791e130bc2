"""What drills work on: tiny folders of pictures, tiny runs, and the product as people call it."""

import hashlib
import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SETTINGS = (
    *("width=2", "n_local=0", "projection_dim=4", "snapshot_every=1", "warmup_epochs=0", "device=cpu"),
    *("batch_size=8", "checkpoint_seconds=0", "log_every=1"),
)
TINY = [part for setting in SETTINGS for part in ("--set", setting)]


def warm_up(scratch: Path) -> None:
    "Import everything that a command may need, before the first child is forked, and start no thread."
    os.environ |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.environ["NUMBA_CACHE_DIR"] = str(scratch / "numba")  # read when a module is imported; all children may write it
    import gc
    import importlib
    import pkgutil

    import torch

    import dcacn_nb

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(dcacn_nb.__path__, "dcacn_nb."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    import matplotlib.pyplot  # noqa: F401

    gc.freeze()


def dcacn(*args) -> int:
    "The command in this process, which it ends: its exit code."
    from dcacn_nb.cli.app import app

    sys.argv = ["dcacn", *map(str, args)]
    app(args=sys.argv[1:])
    return 0


def picture(seed: int, size: int = 8, shade: int = 0) -> Image.Image:
    "A small picture of noise around a shade."
    pixels = np.random.default_rng(seed).integers(0, 100, (size, size, 3)) + shade
    return Image.fromarray(pixels.astype(np.uint8))


def photos(folder: Path, each: int = 8, bad: bool = True) -> Path:
    "Two classes of pictures, and a file that is none."
    for c, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            picture(100 * c + i, shade=150 * c).save(folder / name / f"{i}.png")
    if bad:
        (folder / "dark" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    return folder


def features(path: Path, n: int = 24, dim: int = 6) -> Path:
    "A file of features in two groups."
    rng = np.random.default_rng(0)
    np.savez(path, features=(rng.normal(size=(n, dim)) + 4 * (np.arange(n) % 2)[:, None]).astype(np.float32))
    return path


def tree(folder: Path) -> "dict[str, str]":
    "Every file below a folder -> what it is: a digest, a link's target, or its kind; caches of `.home` left out."
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".home" and not os.path.islink(os.path.join(place, name))]
        for name in files:
            path = Path(place, name)
            found[path.relative_to(folder).as_posix()] = _what(path)
    return found


def _what(path: Path) -> str:
    "A digest of an ordinary file that is not huge; of anything else its kind."
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        return f"link {os.readlink(path)}"
    if not stat.S_ISREG(about.st_mode) or about.st_size > 2**28:
        return f"{stat.filemode(about.st_mode)} {about.st_size}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(folder: Path) -> "list[str]":
    "Temporary files that a kill left and nothing has removed."
    names = [path for path in folder.rglob("*") if ".home" not in path.parts or "cache" in path.parts]
    temporary = [path for path in names if path.name.endswith((".tmp", ".part")) or path.name.startswith(".part-")]
    return [path.relative_to(folder).as_posix() for path in temporary]


def plain_pictures() -> None:
    "In a child: leave out the rendering of figures, which takes most of a report's time; all else of it is made."
    from dcacn_nb.report.picture import Picture

    Picture.html = lambda self, *args, **options: "<figure></figure>"


def command(*args) -> int:
    "The command in this process, which goes on: its exit code."
    try:
        return dcacn(*args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1


def digest_run(run_dir: Path) -> dict:
    "What a run is, to the bit: weights and state, log, table of clusters, and whether its report is whole."
    from dcacn_nb.core.events import to_dict
    from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint
    from dcacn_nb.runs.log import read_events

    def sha(*parts) -> str:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part if isinstance(part, bytes) else repr(part).encode())
        return digest.hexdigest()[:16]

    tensors, meta = load_checkpoint(latest_checkpoint(run_dir / "checkpoints"))
    wall = ("time", "seconds", "versions", "images_per_second")
    events = []
    for event in read_events(run_dir):
        values = to_dict(event)
        arrays = values.pop("arrays", {}) | {"indices": values.pop("indices", None)}
        kept = {name: value for name, value in values.items() if name not in wall}
        parts = (sha(name, np.asarray(array).tobytes()) for name, array in sorted(arrays.items()))
        events.append(f"{kept['event']} {kept.get('step', '')} {sha(json.dumps(kept, sort_keys=True), *parts)[:6]}")
    table, page = run_dir / "clusters.csv", run_dir / "report.html"
    return {
        "step": meta["step"],
        "weights": sha(*(sha(name, tensor.numpy().tobytes()) for name, tensor in sorted(tensors.items()))),
        "events": events,
        "clusters": sha(table.read_bytes()) if table.exists() else None,
        "report": page.exists() and page.read_bytes().rstrip().endswith(b"</html>"),
    }
