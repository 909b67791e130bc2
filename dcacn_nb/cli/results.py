"""What a run leaves behind: a summary in words, a table of clusters, sorted copies of the images."""

from pathlib import Path

from dcacn_nb.cli.output import BadInput, checking, complain, resume_command, say, say_text

SCORES = "ACC {acc:.3f}  NMI {nmi:.3f}  ARI {ari:.3f}  (labels were used for these scores alone, never in training)"

TERMS = {  # in the sentences on a run's health
    "balance entropy": "1 where clusters are of one size",
    "assignment entropy": "0 where every image is certain of its cluster",
    "neighbour agreement": "how often an image and its most similar images share a cluster",
    "view agreement": "how often two distorted copies of an image share a cluster",
    "neighbour information": "how far the cluster of the one tells that of the other, 0 to 1",
    "view information": "how far the cluster of the one tells that of the other, 0 to 1",
}


def explained(
    sentences: "list[str]",
) -> "list[str]":  # one line, or none
    "What the terms in the sentences on a run mean."
    found = [f"{term}: {meaning}" for term, meaning in TERMS.items() if any(term in text for text in sentences)]
    return [f"({'; '.join(found)})"] if found else []


def in_words(
    run_dir: Path,  # a run folder
) -> "list[str]":  # one sentence each
    "The report's sentences on a run's health, from what the report looks at: evaluations and the last snapshot."
    from dcacn_nb.report.diagnosis import diagnose
    from dcacn_nb.report.record import read_record

    record = read_record(run_dir, epochs=[])
    start = [] if record.start is None else [record.start]
    return diagnose([*start, *record.evaluations, *record.snapshots[-1:]])


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

    from dcacn_nb.data.unread import UNREADABLE, unread_in_words
    from dcacn_nb.report.record import cluster_names

    sizes = np.bincount(run.assignments, minlength=run.config.n_clusters).tolist()
    files, words = report_files(run_dir), in_words(run_dir)
    scores = [SCORES.format(**run.scores)] if run.scores else []
    names = cluster_names(run_dir)
    named = [f"Names: {', '.join(f'{k} {name}' for k, name in sorted(names.items()))}"] if names else []
    report = [f"Report: {file}" for file in files]
    unread = unread_in_words(images.protocol, len(images), run_dir / UNREADABLE)
    for line in [sizes_in_words(sizes), *named, *scores]:
        say(line)
    for line in [*words, *explained(words)]:
        say_text(line)
    for line in [f"Run folder: {run_dir}", *report, *unread]:
        say(line)
    return {
        "status": run.status,
        "run_dir": run_dir,
        "n_images": len(images),
        "cluster_sizes": sizes,
        "names": names,
        "scores": run.scores,
        "health": run.health,
        "diagnosis": words,
        "reports": files,
        "unreadable": run_dir / UNREADABLE if unread else None,
    }


def list_unread(
    images,  # ImageSet or FeatureSet
    beside: Path,  # the file that was made of them: the list gets its name, with _unreadable.csv at the end
) -> dict:  # for the answer: what could not be read, and where it is listed
    "Write down which files could not be read, and say it."
    from dcacn_nb.data.unread import keep_unread, unread_in_words

    with checking():
        file = keep_unread(images.protocol, unread_place(beside))
    for line in unread_in_words(images.protocol, len(images), file):
        say(line)
    return {"skipped": images.protocol["skipped"], "unreadable": file}


def unread_place(
    beside: Path,  # a file to write
) -> Path:
    "Where the files are listed that cannot be read."
    return beside.with_name(f"{beside.stem}_unreadable.csv")


def write_clusters(path: Path, names: "list[str]", probabilities, home: "Path | None" = None) -> None:
    "A CSV file of path, cluster, confidence."
    from dcacn_nb.clusters.export import cluster_csv
    from dcacn_nb.core.files import atomic_write

    try:
        atomic_write(path, cluster_csv(names, probabilities), home=home)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); give another place for the table of clusters"
        ) from error


def leave_clusters(
    run,  # a finished run
    images,  # the ImageSet it was trained on
    run_dir: Path,  # where `fit` left clusters.csv
    sort_into: "Path | None" = None,  # new folder for sorted copies
    how: str = "copy",  # or "link", "hardlink"
) -> dict:  # what was written, by kind
    "For images that are files, where their table of clusters is, and copies sorted by cluster."
    from dcacn_nb.clusters.export import sort_images

    if images.paths is None:
        return {}
    table = run_dir / "clusters.csv"
    if not table.is_file():
        raise BadInput(f"{table} could not be written; make room there, then: {resume_command(run_dir)}")
    say(f"Clusters: {table}")
    if sort_into is None:
        return {"clusters": table}
    try:
        sort_images(images.paths, run.assignments, sort_into, how)
    except OSError as error:  # the run itself is done
        elsewhere, what = f"{resume_command(run_dir)} --sort-into NEW", str(error.strerror).partition(";")[0]
        complain(f"No sorted copies: {error.filename or sort_into}: {what}; to another place: {elsewhere}")
        return {"clusters": table}
    say(f"Sorted {'copies' if how == 'copy' else 'links'}: {_short(sort_into)}")
    empty = sorted(set(range(run.config.n_clusters)) - set(map(int, run.assignments)))
    if empty:
        total, names = run.config.n_clusters, ", ".join(map(str, empty))
        say(f"No folder for {len(empty)} of {total} clusters, which hold no image: {names}")
    return {"clusters": table, "sorted": sort_into}


def _short(path: Path) -> Path:
    "A path as people write it: relative to the present folder if it is below."
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
