"""A run as one HTML file for someone who did not run it: what came out, whether to trust it, and how it was made."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dcacn_nb.core.files import atomic_write, sweep, user_path
from dcacn_nb.core.text import logger
from dcacn_nb.data.unread import UNREADABLE, unread, unread_in_words
from dcacn_nb.report import clusters_shown, run_files
from dcacn_nb.report.clusters_shown import MOST_OUTLIERS, Shown, cluster_rows, duplicate_rows, merge_rows
from dcacn_nb.report.diagnosis import diagnose, verdict
from dcacn_nb.report.glossary import CRITERIA, WHY_TOGETHER, glossary
from dcacn_nb.report.palette import SCORES
from dcacn_nb.report.record import RunRecord, read_record
from dcacn_nb.report.run_files import Groups, Reference

STATUS = {"completed": "completed", "stopped": "stopped by the user", "interrupted": "interrupted", "failed": "failed"}
MOST_UNREAD = 50  # files that the page names
DPI, MOST = 100, 150_000  # pixels per inch and bytes of a picture: the page can be sent by mail
log = logger(__name__)


@dataclass
class Found:
    "What a run folder holds, as far as it can be read."

    folder: Path
    record: RunRecord
    shown: Shown
    groups: "Groups | None" = None
    reference: "Reference | None" = None
    number: "dict | None" = None  # how the number of clusters was chosen
    notes: "list[str]" = field(default_factory=list)  # on what could not be read


def write_report(
    folder: "str | Path",  # a run folder: with events.jsonl
) -> Path:  # folder/report.html
    "Write the report of a run, finished or not: one HTML file without scripts that needs no network."
    folder = user_path(folder)
    sweep(folder)
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    page = pages.get_template("page.html").render(_values(_read(folder)))
    return atomic_write(folder / "report.html", page.encode("utf-8", "replace"), home=folder)


def _read(folder: Path) -> Found:
    "Everything in the folder; a damaged file costs its part of the page, and a note says so."
    record = read_record(folder)
    notes = [f"Left out: {record.lost} of the snapshots shown here could not be read."] if record.lost else []

    def whole(read: Callable):
        try:
            return read(folder)
        except ValueError as error:
            notes.append(f"Left out: {error}")
            return None

    groups, reference = whole(run_files.read_groups), whole(run_files.read_reference)
    shown = _shown(record, whole(run_files.read_confidence))
    pictures, paths = whole(run_files.read_pictures) or ({}, {})
    shown.pictures, shown.paths = pictures | shown.pictures, paths | shown.paths
    return Found(folder, record, shown, groups, reference, whole(run_files.read_number), notes)


def _shown(record: RunRecord, table) -> Shown:
    "All images, where there is a table of the whole set; else those of the snapshot."
    sample = clusters_shown.snapshot_shown(record)
    if table is None or record.start is None or len(table.indices) != record.start.n_images:
        return sample
    paths = {i: path for i, path in zip(table.indices.tolist(), table.paths) if path}
    return Shown(table.indices, table.clusters, table.confidence, True, sample.pictures, paths, record.names)


def _values(found: Found) -> dict:
    "Everything that the page shows."
    record, reference, groups = found.record, found.reference or Reference(), found.groups
    start, end = record.start, record.end
    last = record.evaluations[-1].health if record.evaluations else {}
    scores = next((e.scores for e in reversed(record.evaluations) if e.scores), {})
    share = last.get("cluster_share") or last.get("cluster_mass") or []
    share = share if all(map(math.isfinite, share)) else []
    findings = diagnose([start, *record.evaluations, *record.snapshots[-1:]])
    clear = None if found.number is None else found.number.get("clear")
    clusters = cluster_rows(found.shown, groups or Groups(), share, start.n_images if start else 0)
    certainty = clusters_shown.certainty(found.shown)
    graded = certainty is not None and certainty["graded"]
    unsure = clusters_shown.unsure_clusters(found.shown)
    said = verdict(findings, last, end.reason if end else None, scores, reference.chance, clear, unsure=unsure)
    return {
        "title": _title(record, clusters, found.folder),
        "name": found.folder.resolve().name,
        "method": start.method if start else "an unknown method",
        "notes": found.notes,
        "message": end.message if end else "",
        "verdict": said,
        "findings": findings,
        "by_labels": _by_labels(scores, reference),
        "scores": _score_rows(scores, reference),
        "confusion": reference.confusion is not None,
        "clusters": clusters,
        "empty": ", ".join(str(row["cluster"]) for row in clusters if row["images"] == "0"),
        "hidden": sum(row["images"] != "0" and "telling" not in row for row in clusters),
        "suggested": bool(groups) and any(record.names.get(k) == name for k, name in groups.names.items()),
        "certainty": certainty,
        "glossary": glossary(
            record, " ".join([said, *findings]), _frozen(record), graded, bool(scores), found.number is not None
        ),
        **_group_values(found.shown, groups),
        "encoder": _encoder(record),
        "frozen": _frozen(record),
        **_number_values(found.number),
        "trained": _trained_pictures(record),
        "facts": _facts(record),
        "draw": partial(_draw, found),
        "started": start is not None,
        **_left_out(start.protocol if start else {}, start.n_images if start else 0),
        "unread_listed": (found.folder / UNREADABLE).is_file(),
        "protocol": _worded({name: start.protocol[name] for name in start.protocol if name not in _OWN})
        if start
        else {},
        "settings": _worded(start.config) if start else {},
        "versions": _worded(start.versions) if start else {},
    }


def _number_values(number: "dict | None") -> dict:
    "How the number of clusters was chosen: the sentence, and what each curve of the picture is."
    if number is None:
        return {"number": None, "criteria": []}
    curves = number.get("curves")
    known = [CRITERIA[key] for key in CRITERIA if isinstance(curves, dict) and key in curves]
    return {"number": str(number.get("sentence", "")), "criteria": known, "why_together": WHY_TOGETHER}


def _group_values(shown: Shown, groups: "Groups | None") -> dict:
    "Duplicates, outliers and merges; None where nobody looked for them."
    if groups is None:
        return {"duplicates": None, "outliers": None, "merges": None}
    strange = groups.outliers[:MOST_OUTLIERS]
    return {
        "duplicates": duplicate_rows(shown, groups),
        "n_duplicates": len(groups.duplicates),
        "n_copies": sum(len(copies.images) - 1 for copies in groups.duplicates),
        "outliers": {"photos": shown.strip(strange), "words": [shown.about(i) for i in strange]} if strange else {},
        "n_outliers": len(groups.outliers),
        "merges": merge_rows(shown, groups),
    }


_OWN = ("skipped", "notes", "ignored")  # of the protocol: shown in a section of their own


def _left_out(protocol: dict, count: int) -> dict:
    "What of the folder is not among the images, and why."
    notes, found = protocol.get("notes"), unread(protocol)
    return {
        "left_out": [str(note) for note in notes] if isinstance(notes, (list, tuple)) else [],
        "unread": unread_in_words(protocol, count),
        "unread_files": dict(list(found.items())[:MOST_UNREAD]),
        "more_unread": len(found) - MOST_UNREAD,
    }


def _title(record: RunRecord, clusters: "list[dict]", folder: Path) -> str:
    "The name of what was sorted, how many images, and into how many groups."
    start = record.start
    if start is None:
        return folder.resolve().name
    source = str(start.protocol.get("source") or folder.resolve().name)
    name = Path(source.replace("\\", "/")).name or source
    used = sum(row["images"] != "0" for row in clusters) or start.config.get("n_clusters")
    images = f"{start.n_images:,} image{'s' * (start.n_images != 1)}"
    return f"{name}: {images}" + (f" in {used} group{'s' * (used != 1)}" if used else "")


def _frozen(record: RunRecord) -> bool:
    "Whether the run was made on features that an encoder had computed before."
    return record.start is not None and "encoder" in record.start.protocol


def _encoder(record: RunRecord) -> dict:
    "What is known of the encoder behind the features."
    about = record.start.protocol.get("encoder") if record.start else None
    known = about.items() if isinstance(about, dict) else ()
    return _worded({name.replace("_", " "): value for name, value in known if value is not None})


def _trained_pictures(record: RunRecord) -> "list[str]":
    "The pictures of the training that this run has something for."
    arrays = {name for s in record.snapshots for name in s.arrays}
    attention = any(name.startswith(("spatial_attention.", "activation.")) for name in arrays)
    views = not _frozen(record) and bool(record.start and "global_size" in record.start.config and "images" in arrays)
    kept = {"features": not _frozen(record), "attention": attention, "views": views}
    return [name for name in ("curves", "health", "features", "attention", "views") if kept.get(name, True)]


def _by_labels(scores: dict, reference: Reference) -> str:
    "The scores in one sentence for a reader who does not know their names."
    if "acc" not in scores:
        return ""
    beside = [f"{name} {values['acc']:.0%}" for name, values in _beside(reference) if "acc" in values]
    text = f"Compared with the labels, {scores['acc']:.0%} of the images are in the group of their class"
    return f"{text} ({', '.join(beside)})." if beside else f"{text}."


def _beside(reference: Reference) -> "list[tuple[str, dict]]":
    "What stands beside every score."
    return [("by chance", reference.chance), ("K-Means", reference.kmeans)]


def _score_rows(scores: dict, reference: Reference) -> "list[dict]":
    "Each score with chance and K-Means beside it."
    text = lambda values, key: f"{round(values[key], 3) + 0:.3f}" if key in values else ""  # never -0.000
    rows = [(key, label) for key, (label, _, _) in SCORES.items() if key in scores]
    return [
        {
            "label": label,
            "run": text(scores, key),
            **{n: text(v, key) for n, v in vars(reference).items() if n in _KINDS},
        }
        for key, label in rows
    ]


_KINDS = ("chance", "kmeans")


def _facts(record: RunRecord) -> "dict[str, str]":
    "When, how long and how far the run went."
    start, end = record.start, record.end
    last = (record.steps or record.epochs or record.evaluations or [None])[-1]
    done = max([e.epoch for e in (*record.epochs, *record.evaluations)], default=0) if end is None else end.epoch
    steps = end.step if end else last.step if last else 0
    planned = math.ceil(start.n_steps / max(1, start.steps_per_epoch)) if start else "?"
    return {
        "Status": STATUS[end.reason] if end else "no end in the log: still running, or killed",
        "Started": _when(start.time) if start else "unknown",
        "Duration": _duration(record),
        "Images": f"{start.n_images:,}" if start else "unknown",
        "Epochs": f"{done} of {planned}",
        "Optimisation steps": f"{steps:,} of {f'{start.n_steps:,}' if start else '?'}",
    }


def _duration(record: RunRecord) -> str:
    "How long the whole run took: its end knows only the time since it was last resumed."
    start, end = record.start, record.end
    if end is None:
        return f"{_length(record.seconds)} so far" if record.seconds else "unknown"
    if start is None or not math.isfinite(end.seconds) or end.time - end.seconds < start.time + 1:
        return _length(end.seconds)
    return f"{_length(max(record.seconds, end.seconds))} of training; {_length(end.seconds)} since it was last resumed"


def _length(seconds: float) -> str:
    "A length of time in words."
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _when(seconds: float) -> str:
    "A moment in words."
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%d %B %Y, %H:%M UTC")
    except (ValueError, OverflowError, OSError, TypeError):
        return "at an unknown time"


def _worded(values: dict) -> dict:
    "Names and values as text."
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    "A dictionary, a list or None in plain words; everything else as it is."
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(part)}" for name, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)


def _pictures(found: Found) -> "dict[str, Callable]":
    "The pictures of the page, each a function without arguments."
    # imported here, or every training run would load matplotlib at its start
    from dcacn_nb.report.figures.attention import plot_attention
    from dcacn_nb.report.figures.confusion import plot_confusion
    from dcacn_nb.report.figures.curves import plot_curves
    from dcacn_nb.report.figures.health import plot_health
    from dcacn_nb.report.figures.map import plot_map, plot_map_evolution
    from dcacn_nb.report.figures.number import plot_number
    from dcacn_nb.report.figures.views import plot_views

    record, reference = found.record, found.reference
    return {
        "number": lambda: plot_number(found.number),
        "confusion": lambda: plot_confusion(reference.confusion, reference.classes, record.names),
        "map": lambda: plot_map(record, "tsne" if _frozen(record) else "pca"),
        "curves": lambda: plot_curves(record),
        "health": lambda: plot_health(record),
        "features": lambda: plot_map_evolution(record),
        "attention": lambda: plot_attention(record),
        "views": lambda: plot_views(record),
    }


def _draw(found: Found, name: str, caption: str) -> "Markup | None":
    "A picture for light and dark paper, with its text alternative and a caption; None if drawing failed."
    try:
        return Markup(_pictures(found)[name]().html(caption, dpi=DPI, most=MOST))
    except Exception:  # the end of a long training must not fail over a picture
        log.exception("the picture %r could not be drawn", name)
        return None
