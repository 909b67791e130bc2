"Sections of scale.py about images: listing, decoding, caching, streaming."

import io
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scale import Measured, measured, row

CLASSES, DIFFERENT, SIDE = 20, 4096, 16  # class folders; files that differ, the others are hard links to them; px


def folder_of(
    n: int,  # images
    work: Path,
) -> Path:
    "A folder of small JPEG files in class folders, made once."
    root = work / f"folder-{n}"
    if not (work / f"folder-{n}.done").exists():
        draws, names = np.random.default_rng(0), []
        for i in range(n):
            name = root / f"class_{i % CLASSES:02}" / f"{i:07}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True) if i < CLASSES else None
            if i < DIFFERENT:
                file = io.BytesIO()
                Image.fromarray(draws.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "jpeg")
                name.write_bytes(file.getvalue())
                names.append(name)
            else:
                os.link(names[i % DIFFERENT], name)
        (work / f"folder-{n}.done").touch()
    return root


def list_folder(n: int, work: Path) -> Iterator[dict]:
    from dcacn_nb.data.image_file import image_suffixes
    from dcacn_nb.data.listing import list_images

    root, _ = folder_of(n, work), image_suffixes()  # Pillow loads its formats once
    with measured() as found:
        listing = list_images(root)
    assert len(listing.files) == n
    yield row(found, n)


def decode(n: int, work: Path) -> Iterator[dict]:
    "The first load decodes, the second finds the cache; another process would do the same."
    from dcacn_nb.data.loading import load_images

    root = folder_of(n, work)
    shutil.rmtree(work / "cache", ignore_errors=True)
    for note in ("listed, decoded and cached", "loaded again, from the cache"):
        with measured() as found:
            images = load_images(root, progress=False)
        assert len(images) == n and len(images.class_names) == CLASSES
        yield row(found, n, note)
        del images


def resume(n: int, work: Path) -> Iterator[dict]:
    "Decoding is interrupted in its second half; the second call goes on."
    from dcacn_nb.data import folders
    from dcacn_nb.data.loading import load_images

    root, done, true_read = folder_of(n, work), [0], folders.read_image
    shutil.rmtree(work / "cache", ignore_errors=True)

    def interrupted(*given):
        done[0] += 1
        if done[0] > 0.75 * n:
            raise KeyboardInterrupt
        return true_read(*given)

    folders.read_image = interrupted
    with suppress(KeyboardInterrupt), measured():
        load_images(root, progress=False)
    folders.read_image = true_read
    with measured() as found:
        images = load_images(root, progress=False)
    assert len(images) == n
    yield row(found, n, "resumed after three quarters; checksum of what was there included")


def shards(n: int, work: Path) -> Iterator[dict]:
    "Ten tar files in WebDataset's convention."
    from dcacn_nb.data.listing import list_source
    from dcacn_nb.data.loading import load_images

    names, home = [], work / f"shards-{n}"
    home.mkdir(exist_ok=True)
    pictures = [file.read_bytes() for file in sorted((folder_of(1000, work)).rglob("*.jpg"))]
    for part in range(10):
        names.append(home / f"shard-{part:03}.tar")
        with tarfile.open(names[-1], "w") as packed:
            for i in range(part * n // 10, (part + 1) * n // 10):
                for suffix, data in (("jpg", pictures[i % 1000]), ("cls", str(i % CLASSES).encode())):
                    member = tarfile.TarInfo(f"{i:07}.{suffix}")
                    member.size = len(data)
                    packed.addfile(member, io.BytesIO(data))
    source = str(home / "shard-{000..009}.tar")
    with measured() as found:
        assert len(list_source(source).files) == n
    yield row(found, n, "listed")
    with measured() as found:
        images = load_images(source, progress=False)
    assert len(images) == n and len(images.class_names) == CLASSES
    yield row(found, n, "listed, decoded and cached")
    shutil.rmtree(home)


def _image_file(n: int, work: Path, side: int = 32) -> Path:
    "A .npy file of random images (n,3,side,side), written block by block."
    path = work / f"images-{n}-{side}.npy"
    if not path.exists():
        draws = np.random.default_rng(0)
        file = np.lib.format.open_memmap(work / "part.npy", "w+", np.uint8, (n, 3, side, side))
        for start in range(0, n, 10_000):
            block = file[start : start + 10_000]
            block[:] = draws.integers(0, 256, block.shape, np.uint8)
        file.flush()
        os.replace(work / "part.npy", path)
    return path


def _limited(limit: int) -> "Path | None":
    "Move this process into a group that may hold so many bytes, pages of files included; None: not possible here."
    for parent, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent) / f"dcacn-scale-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            (group / name).write_text(str(limit))
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return group
    return None


def _forget(path: Path) -> None:
    "Have the system drop the pages of a file."
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def stream(n: int, work: Path) -> Iterator[dict]:
    "Training on images in memory, and on a mapped file of which a quarter fits, by turns."
    import torch

    from dcacn_nb.data import batching
    from dcacn_nb.method.config import TrainConfig

    torch.set_num_threads(1)
    path = _image_file(n, work)
    resident = torch.from_numpy(np.load(path))  # before the limit: it stays with the group of the parent process
    train_for(resident, TrainConfig(n_clusters=20, image_size=32, width=4, n_local=0, device="cpu"), 3)
    size = resident.numel()
    limit = size // 4 + 2**28
    group = _limited(limit)
    note = f"{size / 2**20:,.0f} MB of images; " + (
        f"a memory limit of {limit / 2**20:,.0f} MB for all that is new, mapped pages included (cgroup)"
        if group
        else "no memory limit could be set: pages are dropped before each turn (posix_fadvise)"
    )
    mapped = torch.from_numpy(np.load(path, mmap_mode="c"))
    cases: dict[str, tuple[torch.Tensor, int]] = {
        "resident": (resident, 2**60),
        "mapped, read ahead": (mapped, 0),
        "mapped, not read ahead": (mapped, 2**60),
    }
    seconds, images = dict.fromkeys(cases, 0.0), dict.fromkeys(cases, 0)
    for turn in range(TURNS):
        for case, (store, batching.LARGE) in cases.items():
            if store is mapped:
                _forget(path)
            config = TrainConfig(n_clusters=20, image_size=32, width=4, n_local=0, device="cpu", seed=turn, log_every=1)
            took, count = train_for(store, config, TURN)
            seconds[case], images[case] = seconds[case] + took, images[case] + count
    for case in cases:
        found = Measured()
        found.seconds = seconds[case]
        share = images[case] / seconds[case] / (images["resident"] / seconds["resident"])
        yield row(
            found, images[case], f"training, {case}: {share:.0%} of resident" + f"; {note}" * (case != "resident")
        )
    for case, (store, batching.LARGE) in list(cases.items())[1:]:
        _forget(path)
        found = Measured()
        found.seconds, count = gather_for(store, TURN)
        yield row(found, count, f"random batches alone, {case}")


TURNS, TURN = 3, 15.0  # seconds


def train_for(store, config, seconds: float) -> "tuple[float, int]":
    "Train for so long; seconds and images, from the first report on."
    from dcacn_nb.core.events import StepDone
    from dcacn_nb.method.config import build_model
    from dcacn_nb.method.step import TrainState
    from dcacn_nb.method.train import train

    config = replace(config, snapshot_every=0, batch_size=256)
    state = TrainState(build_model(config), config)
    state.step = 1  # no evaluation before the first step
    steps, began, first, last = train(state.model, store, config, state=state), time.perf_counter(), None, None
    for event in steps:
        if isinstance(event, StepDone):
            first, last = first or (time.perf_counter(), event.step), (time.perf_counter(), event.step)
            if time.perf_counter() - began > seconds:
                break
    steps.close()
    assert first and last
    return max(last[0] - first[0], 1e-9), (last[1] - first[1]) * config.batch_size


def gather_for(store, seconds: float) -> "tuple[float, int]":
    "Gather random batches for so long."
    import torch

    from dcacn_nb.data.batching import fetch_ahead

    draws = torch.Generator().manual_seed(int(time.time()))
    wanted: Iterator[tuple] = iter(lambda: (store, torch.randint(len(store), (256,), generator=draws)), None)
    began, count = time.perf_counter(), 0
    for batch, _ in fetch_ahead(wanted, "cpu"):
        count += len(batch)
        if time.perf_counter() - began > seconds:
            break
    return time.perf_counter() - began, count


class Means:
    "Stands for an encoder: means over a grid of 4 x 4, so that what is measured is the way there."

    interpolation, name, size, dim = "bilinear", "means", 16, 48

    def __call__(self, images):
        return images.float().unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).flatten(1) / 255

    def about(self) -> dict:
        return {"name": self.name, "weights": "0" * 64, "size": self.size, "engine": "by hand"}


def features(n: int, work: Path) -> Iterator[dict]:
    "From files to features, and again from the cache."
    from dcacn_nb.encoders import embed

    root = folder_of(n, work)
    shutil.rmtree(work / "cache", ignore_errors=True)
    for note in ("decoded, encoded by a stand-in for an encoder, kept", "loaded again, from the cache"):
        with measured() as found:
            assert len(embed(root, Means(), progress=False, thumbnails=16, batch_size=64)) == n
        yield row(found, n, note)


def _feature_rows(n: int, dim: int = 64):
    "Features around a thousand centres; a large array is a mapped file."
    from dcacn_nb.data.scratch import empty_rows

    draws, rows = np.random.default_rng(0), empty_rows((n, dim))
    centres = draws.standard_normal((1000, dim), np.float32) * 3
    for start in range(0, n, 10_000):
        block = rows[start : start + 10_000]
        block[:] = centres[draws.integers(0, 1000, len(block))] + draws.standard_normal(block.shape, np.float32)
    return rows


def clusters(n: int, work: Path) -> Iterator[dict]:
    "K-Means on features, and the clusters of other features."
    import torch

    from dcacn_nb.data.feature_set import FeatureSet
    from dcacn_nb.fitting import fit, predict

    given = FeatureSet(torch.from_numpy(_feature_rows(n)))
    with measured() as found:
        run = fit(given, n_clusters=20, method="kmeans", device="cpu", report=False, snapshot_size=100)
    yield row(found, n, "K-Means, K = 20, 64 features; of many it is fitted to a sample")
    with measured() as found:
        assert predict(run, given).shape == (n, 20)
    yield row(found, n, "prediction by that run")


def neighbours(n: int, work: Path) -> Iterator[dict]:
    "The exact nearest neighbours of some images among all."
    from dcacn_nb.clusters.similar import nearest_among, unit_rows

    unit, asked = unit_rows(_feature_rows(n)), np.linspace(0, n - 1, 1000).astype(int)
    with measured() as found:
        nearest_among(unit, asked, 10)
    yield row(found, 1000, "ten nearest of 1,000 images among all, exact")


def predictions(n: int, work: Path) -> Iterator[dict]:
    "A network's clusters of a mapped file of images."
    import torch

    from dcacn_nb.method.config import TrainConfig, build_model
    from dcacn_nb.method.step import encode

    torch.set_num_threads(1)
    config = TrainConfig(n_clusters=20, image_size=32, width=4, n_local=0, device="cpu")
    store, model = torch.from_numpy(np.load(_image_file(n, work), mmap_mode="c")), build_model(config)
    with measured() as found:
        assert encode(model, store, config).shape == (n, 20)
    yield row(found, n, "3x32x32 images, ResNet-18 of width 4, one thread")
