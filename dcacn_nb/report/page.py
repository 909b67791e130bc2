"""A run as one HTML file: what came out, whether it is healthy, what is in the clusters, and with which settings."""

import logging
import math
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dcacn_nb.core.files import atomic_write
from dcacn_nb.report.diagnosis import diagnose
from dcacn_nb.report.palette import SCORES
from dcacn_nb.report.record import RunRecord, read_record
from dcacn_nb.runs.log import read_events

STATUS = {"completed": "completed", "stopped": "stopped by the user", "interrupted": "interrupted", "failed": "failed"}
DPI, MOST = 100, 150_000  # pixels per inch and bytes of a picture: the page can be sent by mail
logger = logging.getLogger(__name__)


def write_report(
    folder: "str | Path",  # a run folder: with events.jsonl
) -> Path:  # folder/report.html
    "Write the report of a run, finished or not: one HTML file without scripts that needs no network."
    folder, notes = Path(folder), []
    try:
        record = read_record(folder)
    except ValueError as error:  # a damaged snapshot must not cost the rest of the report
        record = read_record(read_events(folder, arrays=False))
        notes.append(f"The snapshots could not be read: {error}")
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    page = pages.get_template("page.html").render(_values(record, folder.resolve().name, notes))
    return atomic_write(folder / "report.html", page.encode("utf-8", "replace"))


def _values(record: RunRecord, name: str, notes: "list[str]") -> dict:
    "Everything that the page shows."
    start, end = record.start, record.end
    scores = next((e.scores for e in reversed(record.evaluations) if e.scores), {})
    return {
        "name": name,
        "method": start.method if start else "an unknown method",
        "notes": notes,
        "message": end.message if end else "",
        "scores": {label: f"{scores[key]:.3f}" for key, (label, _, _) in SCORES.items() if key in scores},
        "findings": diagnose([start, *record.evaluations, *record.snapshots[-1:]]),
        "sizes": _sizes(record),
        "facts": _facts(record),
        "draw": partial(_draw, record),
        "started": start is not None,
        "protocol": _worded(start.protocol) if start else {},
        "settings": _worded(start.config) if start else {},
        "versions": _worded(start.versions) if start else {},
    }


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
    epochs = sum(e.seconds for e in record.epochs if math.isfinite(e.seconds))
    if end is None:
        return f"{_length(epochs)} so far" if epochs else "unknown"
    if start is None or not math.isfinite(end.seconds) or end.time - end.seconds < start.time + 1:
        return _length(end.seconds)
    return f"{_length(max(epochs, end.seconds))} of training; {_length(end.seconds)} since it was last resumed"


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


def _sizes(record: RunRecord) -> "list[dict]":
    "Number, share and bar of each cluster at the last evaluation; none if they are not finite."
    health = record.evaluations[-1].health if record.evaluations else {}
    share = health.get("cluster_share") or health.get("cluster_mass") or []
    if not all(map(math.isfinite, share)):
        return []
    n, top = record.start.n_images if record.start else 0, max([*share, 1e-9])
    return [
        {"cluster": k, "images": f"{round(x * n):,}", "share": f"{x:.1%}", "width": f"{100 * x / top:.1f}"}
        for k, x in enumerate(share)
    ]


def _draw(record: RunRecord, name: str, caption: str) -> "Markup | None":
    "A picture for light and dark paper, with its text alternative and a caption; None if drawing failed."
    # imported here, or every training run would load matplotlib at its start
    from dcacn_nb.report.figures.attention import plot_attention
    from dcacn_nb.report.figures.clusters import plot_clusters
    from dcacn_nb.report.figures.curves import plot_curves
    from dcacn_nb.report.figures.health import plot_health
    from dcacn_nb.report.figures.map import plot_map_evolution
    from dcacn_nb.report.figures.views import plot_views

    functions = {
        "clusters": plot_clusters,
        "curves": plot_curves,
        "health": plot_health,
        "features": plot_map_evolution,
        "attention": plot_attention,
        "views": plot_views,
    }
    try:
        return Markup(functions[name](record).html(caption, dpi=DPI, most=MOST))
    except Exception:  # the end of a long training must not fail over a picture
        logger.exception("the picture %r could not be drawn", name)
        return None
