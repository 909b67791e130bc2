"""A run as one page: what came out, whether it is healthy, what the clusters look like, and with which settings, in a single HTML file."""

import html
import logging
import math
from datetime import datetime, timezone
from pathlib import Path

from dcacn_nb.core.files import atomic_write
from dcacn_nb.report.diagnosis import diagnose
from dcacn_nb.report.figures import (
    plot_attention,
    plot_clusters,
    plot_curves,
    plot_health,
    plot_map_evolution,
    plot_views,
)
from dcacn_nb.report.picture import SCORES
from dcacn_nb.report.record import RunRecord, read_record
from dcacn_nb.runs.log import read_events

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0; --bar: #0072b2; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a0a8b2; --paper: #16181d; --line: #3a4048; --bar: #56b4e9; --panel: #1f232a; } }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 60rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
p.sub, figcaption, .note { color: var(--soft); } p.sub { margin-top: .2rem; }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1rem 0; padding: 0; list-style: none; }
.cards li { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; min-width: 6rem; }
.cards b { display: block; font-size: 1.35rem; } .cards span { color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .15rem .9rem .15rem 0; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .7rem; background: var(--bar); border-radius: 2px; } .bars { width: 22rem; }
figure { margin: 0; } img { width: 100%; height: auto; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; } .failed { border-left: 4px solid #d55e00; padding-left: .8rem; }
"""
PICTURES = {  # title, drawing function, caption
    "Curves": (
        plot_curves,
        "Loss terms are means since the previous report; the horizontal axis counts passes over the images.",
    ),
    "Health": (
        plot_health,
        "All figures lie in [0, 1]. Good is: high view information, view agreement and balance entropy; low assignment entropy; no empty clusters; "
        "a likeness map that is dark off its diagonal.",
    ),
    "Clusters in pictures": (
        plot_clusters,
        "Images of the snapshot sample; the number behind a cluster counts those it has there. "
        "Look at both ends: the left shows what a cluster stands for, the right where it ends.",
    ),
    "Features": (
        plot_map_evolution,
        "The same images at several epochs. Each panel is scaled alike and turned to match the one before; colour and marker are the cluster at the last.",
    ),
    "Attention": (
        plot_attention,
        "The map of the last block of each stage over the image in grey; bright is strong. Each map is stretched over its own range; "
        "the range of the values in a row stands at its left: a narrow one means nearly even attention.",
    ),
    "Views": (
        plot_views,
        "What the network was shown of one image: solid boxes are global crops, dashed ones local crops. Two views of one image are to land in one cluster.",
    ),
}
logger = logging.getLogger(__name__)


def write_report(
    folder: "str | Path",  # a run folder: with events.jsonl
) -> Path:  # folder/report.html
    "Write the report of a run, finished or not: one HTML file without scripts that needs no network."
    folder, notes = Path(folder), []
    try:
        story = read_record(folder)
    except ValueError as error:  # a damaged snapshot must not cost the rest of the report
        story = read_record(read_events(folder, arrays=False))
        notes.append(f"The snapshots could not be read: {error}")
    title = f"Clustering report: {_text(story.start.method if story.start else 'unknown method')}"
    parts = [_header(story, title), *(f"<p class='note'>{_text(note)}</p>" for note in notes), _results(story)]
    parts += [_picture(name, function, caption, story) for name, (function, caption) in PICTURES.items()]
    parts.append(_origin(story))
    page = (
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
    return atomic_write(folder / "report.html", page.encode("utf-8", "replace"))


def _text(value: object) -> str:
    "Any value as text that HTML shows literally."
    return html.escape(str(value), quote=True)


def _rows(values: dict) -> str:
    "A table of names and values."
    return (
        "<table>"
        + "".join(f"<tr><th scope='row'>{_text(k)}</th><td>{_text(_said(v))}</td></tr>" for k, v in values.items())
        + "</table>"
    )


def _said(value: object) -> object:
    "A dictionary, a list or nothing in plain words; everything else as it is."
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_said(part)}" for name, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_said(part)) for part in value) or "none"
    return "none" if value is None else value


def _when(seconds: float) -> str:
    "A moment in words."
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%d %B %Y, %H:%M UTC")
    except (ValueError, OverflowError, OSError, TypeError):
        return "at an unknown time"


def _duration(seconds: float) -> str:
    "A length of time in words."
    if not math.isfinite(seconds):
        return "unknown"
    minutes, s = divmod(round(seconds), 60)
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{minutes} min {s} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60} min"
    )


STATUS = {"completed": "completed", "stopped": "stopped by the user", "interrupted": "interrupted", "failed": "failed"}


def _header(story: RunRecord, title: str) -> str:
    "Title, status, scores and the facts of the run."
    start, end, last = story.start, story.end, (story.steps or story.epochs or story.evaluations or [None])[-1]
    done = max([e.epoch for e in (*story.epochs, *story.evaluations)], default=0) if end is None else end.epoch
    planned = math.ceil(start.n_steps / max(1, start.steps_per_epoch)) if start else "?"
    facts = {
        "Status": STATUS[end.reason] if end else "no end in the log: still running, or killed",
        "Started": _when(start.time) if start else "unknown",
        "Duration": _duration(end.seconds) if end else "unknown",
        "Images": f"{start.n_images:,}" if start else "unknown",
        "Epochs": f"{done} of {planned}",
        "Optimisation steps": f"{end.step if end else last.step if last else 0:,} of {f'{start.n_steps:,}' if start else '?'}",
    }
    scores = next((e.scores for e in reversed(story.evaluations) if e.scores), {})
    cards = "".join(
        f"<li><b>{scores[key]:.3f}</b><span>{name}</span></li>" for key, (name, _, _) in SCORES.items() if key in scores
    )
    parts = [f"<h1>{title}</h1><p class='sub'>{_text(facts['Started'])} · {_text(facts['Status'])}</p>"]
    if end and end.message:
        parts.append(f"<div class='failed'><b>The run ended with a message</b><pre>{_text(end.message)}</pre></div>")
    parts.append(
        f"<ul class='cards'>{cards}</ul>"
        if cards
        else "<p class='note'>No scores: the images have no labels, or none were given.</p>"
    )
    return "\n".join(parts) + _rows(facts)


def _results(story: RunRecord) -> str:
    "Health in words, and the sizes of the clusters."
    words = "".join(
        f"<li>{_text(line)}</li>" for line in diagnose([story.start, *story.evaluations, *story.snapshots[-1:]])
    )
    parts = [f"<h2>How it went</h2><ul>{words}</ul>"]
    health = story.evaluations[-1].health if story.evaluations else {}
    share = health.get("cluster_share") or health.get("cluster_mass") or []
    if share and all(map(math.isfinite, share)):
        n, top = story.start.n_images if story.start else 0, max([*share, 1e-9])
        lines = "".join(
            f"<tr><th scope='row'>{k}</th><td class='n'>{round(x * n):,}</td><td class='n'>{x:.1%}</td>"
            f"<td class='bars'><span class='bar' style='width:{100 * x / top:.1f}%'></span></td></tr>"
            for k, x in enumerate(share)
        )
        head = "<tr><th scope='col'>cluster</th><th scope='col'>images</th><th scope='col'>share</th><td></td></tr>"
        table = f"<table>{head}{lines}</table>"
        parts.append(
            "<h2>Cluster sizes</h2>"
            + (table if len(share) <= 30 else f"<details><summary>{len(share)} clusters</summary>{table}</details>")
        )
    return "".join(parts)


def _picture(name: str, function, caption: str, story: RunRecord) -> str:
    "One section: the picture with its words and its caption."
    try:
        return f"<h2>{_text(name)}</h2>{function(story).html(caption, dpi=100, most=150_000)}"  # many photographs: smaller, so that the page can be mailed
    except Exception:  # the end of a long training must not fail over a picture: say so, and go on
        logger.exception("the picture %r could not be drawn", name)
        return f"<h2>{_text(name)}</h2><p class='note'>This picture could not be drawn; the reason is in the program's log.</p>"


def _origin(story: RunRecord) -> str:
    "Where the images come from, all settings, and how the report was made."
    start = story.start
    parts = [
        "<h2>Images and protocol</h2>",
        _rows(start.protocol) if start and start.protocol else "<p class='note'>Not in the log.</p>",
    ]
    if start:
        parts.append(f"<details><summary>All settings</summary>{_rows(start.config)}</details>")
        parts.append(f"<details><summary>Versions and machine</summary>{_rows(start.versions)}</details>")
    return "\n".join(parts) + (
        "<h2>How this report was made</h2><p>Everything here was read from the run's log, <code>events.jsonl</code>, and the snapshots beside it; "
        "nothing was computed anew from the images. Labels, where there are any, were used for the scores alone: training and the health "
        "figures never see them. <code>dcacn_nb.report.write_report(folder)</code> writes this file again.</p>"
    )
