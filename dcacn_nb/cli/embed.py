"""`dcacn embed`: the features of images, computed once and written as one file."""

import sys
import time
from pathlib import Path

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, call, checking, guarded, say
from dcacn_nb.cli.reading import check_encoder, check_options, check_source, whole_path
from dcacn_nb.cli.results import list_unread, unread_place
from dcacn_nb.cli.settings import check_device


@guarded
def embed(
    source: o.Source,
    output: o.FeaturesFile = Path("features.npz"),
    encoder: o.FeatureEncoder = "lite0",
    encoder_weights: o.EncoderWeights = None,
    views: o.Views = 0,
    overwrite: o.OverwriteFeatures = False,
    root: o.Root = Path("data"),
    split: o.PartOfSource = o.Split.all,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    on_error: o.Unreadable = o.OnError.error,
    download: o.Download = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    "Turn images into features with a pretrained encoder, and write them as one file."
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES

    _check_output(output, overwrite)
    check_source(source)
    check_options(source)
    if Path(source).suffix.lower() in FEATURE_SUFFIXES:
        raise BadInput(f"{source} holds features already; give images")
    weights = check_encoder(encoder, encoder_weights).get("encoder_weights")
    with checking():
        check_device(device)
    call.on_interrupt = "What is encoded is kept: the same command goes on from there."
    from dcacn_nb.data.feature_set import save_features
    from dcacn_nb.encoders.embedding import embed as embed_images

    reading: dict = dict(root=root, split=split.value, limit=limit, seed=seed, on_error=on_error.value, weights=weights)
    reading |= dict(views=views, device=device, download=download, progress=sys.stderr.isatty())
    fresh: list[int] = []  # images encoded by this call, batch by batch
    began = time.perf_counter()
    with checking(RuntimeError, ImportError):  # an encoder that cannot be had
        found = embed_images(whole_path(source), encoder, observer=fresh.append, **reading)
    seconds = time.perf_counter() - began
    with checking():
        save_features(found, output)
    _report(found, sum(fresh), seconds, output)
    facts = {"n_images": len(found), "dim": found.dim, "views": views, "encoder": found.protocol["encoder"]}
    work = {"encoded": sum(fresh), "seconds": round(seconds, 3)}
    answer({"output": output, **facts, **work, **list_unread(found, output)})


def _check_output(output: Path, overwrite: bool) -> None:
    "Refuse a file that cannot be written, or must not be, before any work."
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES

    if output.suffix.lower() not in FEATURE_SUFFIXES:
        raise BadInput(f"--output {output} must end in one of {' '.join(FEATURE_SUFFIXES)}")
    if output.is_dir():
        raise BadInput(f"--output {output} is a folder; give the file to write")
    for path in (output, unread_place(output)):
        if path.exists() and not overwrite:
            raise BadInput(f"--output {output}: {path} exists already; give another file, or --overwrite")


def _report(found, fresh: int, seconds: float, output: Path) -> None:
    "What was done, how fast, and where the result is."
    say(repr(found))
    files = sum(not name.endswith("/") for name in found.protocol["skipped"])
    before = len(found) + files - fresh
    if before:
        say(f"{before:,} images were encoded before: their features come from the cache")
    if fresh:
        say(f"{fresh:,} images read and encoded in {seconds:.1f} s ({fresh / seconds:.0f} images/s)")
    say(f"Features: {output} ({output.stat().st_size / 2**20:.1f} MB)")
