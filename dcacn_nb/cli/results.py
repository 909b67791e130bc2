"""What a run leaves behind: a summary in words, a table of clusters, sorted copies of the images."""

import csv
import errno
import io
import os
import shutil
import tempfile
from pathlib import Path

from dcacn_nb.cli.output import BadInput, complain, resume_command, say

SCORES = "ACC {acc:.3f}  NMI {nmi:.3f}  ARI {ari:.3f}  (labels were used for these scores alone, never in training)"


def in_words(
    run_dir: Path,  # a run folder
) -> "list[str]":  # one sentence each
    "The report's sentences on a run's health."
    from dcacn_nb.report.diagnosis import diagnose
    from dcacn_nb.runs.log import read_events

    return diagnose(read_events(run_dir, arrays=False))


def report_files(
    run_dir: Path,  # a run folder
) -> "list[Path]":  # one, or none if it could not be written
    "The report of a run."
    return [path for path in [run_dir / "report.html"] if path.is_file()]


def sizes_in_words(
    sizes: "list[int]",  # images in each cluster
) -> str:
    "The number of images, of clusters, and of images in each cluster."
    return f"{sum(sizes):,} images in {len(sizes)} clusters of sizes {', '.join(map(str, sizes))}"


def summarise(run, images, run_dir: Path) -> dict:
    "Print how a run went, for people, and return the same as a dictionary."
    import numpy as np

    sizes = np.bincount(run.assignments, minlength=run.config.n_clusters).tolist()
    files, words = report_files(run_dir), in_words(run_dir)
    scores = [SCORES.format(**run.scores)] if run.scores else []
    for line in [sizes_in_words(sizes), *scores, *words, f"Run folder: {run_dir}", *(f"Report: {f}" for f in files)]:
        say(line)
    return {
        "status": run.status,
        "run_dir": run_dir,
        "n_images": len(images),
        "cluster_sizes": sizes,
        "scores": run.scores,
        "health": run.health,
        "diagnosis": words,
        "reports": files,
    }


def write_clusters(path: Path, names: "list[str]", probabilities) -> None:
    "A CSV file of path, cluster, confidence."
    from dcacn_nb.core.files import atomic_write

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "cluster", "confidence"])
    for name, row in zip(names, probabilities):
        writer.writerow([name, int(row.argmax()), f"{float(row.max()):.4f}"])
    try:
        # file names that are not text in this machine's encoding keep their bytes
        atomic_write(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); give another place for the table of clusters"
        ) from error


def sort_images(
    paths: "list[str]",  # the images' files
    clusters,  # (N,) cluster of each
    target: Path,  # new folder; it appears when all files are copied
) -> None:
    "Copy every image into target/cluster_K, with the sub-folders it had."
    if target.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    target.parent.mkdir(parents=True, exist_ok=True)
    # the temporary folder is removed on any error; only a kill leaves it
    with tempfile.TemporaryDirectory(prefix=f"{target.name}-", suffix=".part", dir=target.parent) as part:
        for path, cluster in zip(paths, clusters):
            place = Path(part) / "all" / f"cluster_{cluster}" / os.path.relpath(path, root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
        (Path(part) / "all").rename(target)


def leave_clusters(
    run,  # a finished run
    images,  # the ImageSet it was trained on
    run_dir: Path,  # where clusters.csv goes
    sort_into: "Path | None" = None,  # new folder for sorted copies
) -> dict:  # what was written, by kind
    "The table of clusters for images that are files, and copies sorted by cluster."
    if images.paths is None:
        return {}
    table = run_dir / "clusters.csv"
    write_clusters(table, images.paths, run.probabilities.numpy())
    say(f"Clusters: {table}")
    if sort_into is None:
        return {"clusters": table}
    try:
        sort_images(images.paths, run.assignments, sort_into)
    except OSError as error:  # the run itself is done
        elsewhere = f"{resume_command(run_dir)} --sort-into NEW"
        complain(f"No sorted copies: {error.filename or sort_into}: {error.strerror}; to another place: {elsewhere}")
        return {"clusters": table}
    say(f"Sorted copies: {_short(sort_into)}")
    empty = sorted(set(range(run.config.n_clusters)) - set(map(int, run.assignments)))
    if empty:
        total, names = run.config.n_clusters, ", ".join(map(str, empty))
        say(f"No folder for {len(empty)} of {total} clusters, which hold no image: {names}")
    return {"clusters": table, "sorted": sort_into}


def _short(path: Path) -> Path:
    "A path as people write it: relative to the present folder if it is below."
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
