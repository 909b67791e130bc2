"""A model card: what a network was trained on, how, what it scores, what it cannot do, and whose weights it holds."""

import json
from pathlib import Path

from dcacn_nb.core.events import Evaluated, RunStarted
from dcacn_nb.core.text import printable
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.runs.description import read_about
from dcacn_nb.runs.log import each_event

_USE = {
    ".onnx": """import onnxruntime
session = onnxruntime.InferenceSession({name!r})
probabilities, embedding = session.run(None, {{"images": images}})  # images: NumPy, uint8, ({shape})""",
    ".pt2": """import torch
network = torch.export.load({name!r}).module()
probabilities, embedding = network(images)  # images: torch.uint8, ({shape})""",
}
_LIMITS = """- The clusters are groups of images that looked alike to the network. They have no meaning of their own,
  and need not be the classes you want. Look at them (the run's `report.html`) before you rely on them.
- Every image gets a cluster, also one unlike anything in training. A high probability does not show that it belongs.
- On other images than those trained on (another camera, scanner, light), nothing was measured.
- Probabilities are not calibrated. What the training images lack or overrepresent, the clusters do as well."""
_INPUT = """Images are {colour}, {h} x {w} pixels, values 0 to 255, resized to that size beforehand. `probabilities` has
one row per image and one column per cluster; `embedding` holds the features. Before it was written, the file was
compared with the network, on made images in batches of three sizes: the largest difference was {difference:.1g}."""


def model_card(
    run_dir: Path,  # a run folder
    name: str,  # of the exported file
    which: str,  # which of the run's networks: "last" or "best"
    step: int,  # optimisation steps that it has done
    shape: "tuple[int, int, int]",  # (C,H,W) of the images that it takes
    difference: float,  # the largest one between the file and the network
) -> str:  # Markdown
    "The card, from what the run folder says."
    about = read_about(run_dir)
    started, evaluated = _measured(run_dir, step)
    c, h, w = shape
    use = _USE[Path(name).suffix.lower()].format(name=printable(name), shape=f"N,{c},{h},{w}")
    taken = _INPUT.format(colour="grey" if c == 1 else "RGB", h=h, w=w, difference=difference)
    encoder = (about["protocol"] or {}).get("encoder")
    by = f"a head, {about['method']}, on the features of {encoder['name']}" if encoder else str(about["method"])
    version = (started.versions if started else {}).get("dcacn_nb", "(version unknown)")
    parts = [
        f"# {_cell(name)}",
        f"Deep clustering into {about['config']['n_clusters']} clusters: {_cell(by)}. Trained without labels, by "
        f"dcacn_nb {version}.",
        f"## Use\n\n```python\n{use}\n```\n\n{taken}",
        f"## Data\n\n{_table(_data(about, started))}",
        f"## Scores\n\n{_scores(evaluated, which, step)}",
        f"## Limits\n\n{_LIMITS}",
        f"## Licences\n\n{_licences(encoder)}",
        f"## Settings\n\n{_table(_changed(about))}",
    ]
    return "\n\n".join(parts) + "\n"


def _measured(run_dir: Path, step: int) -> "tuple[RunStarted | None, Evaluated | None]":
    "The start of the run, and the evaluation of the exported network, or else the last one before it."
    started, evaluated = None, None
    for event in each_event(run_dir):
        if isinstance(event, RunStarted):
            started = event
        if isinstance(event, Evaluated) and event.epoch and event.step <= step:
            evaluated = event
    return started, evaluated


def _table(rows: "dict[str, object]") -> str:
    "Two columns in Markdown; text from outside cannot break out of its cell."
    lines = [f"| {key} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = printable(" ".join(text.split()))
    for sign in "\\|<>`[]":
        text = text.replace(sign, f"\\{sign}")
    return text


def _data(about: dict, started: "RunStarted | None") -> "dict[str, object]":
    "What is known about the images; of their place the last part alone, which is not private."
    protocol = about["protocol"] or {}
    known: dict[str, object] = {"source": Path(str(protocol.get("source", "an array"))).name}
    known["images"] = started.n_images if started else protocol.get("count")
    for name in ("split", "limit", "image_size", "channels", "resize", "extra_unlabeled"):
        if protocol.get(name) not in (None, 0, "none"):
            known[name.replace("_", " ")] = protocol[name]
    known["fingerprint"] = about.get("fingerprint")
    return known


def _scores(evaluated: "Evaluated | None", which: str, step: int) -> str:
    "What was measured, and how."
    if evaluated is None:
        return f"None: the exported weights (step {step}) were not evaluated, nor were any before them."
    network = "the last network" if which == "last" else "the best network by the label-free score"
    how = f"Measured at epoch {evaluated.epoch} ({network}), on the images that it was trained on."
    if evaluated.step != step:
        how = (
            f"Measured at epoch {evaluated.epoch}, before the exported weights (step {step}); these were not "
            "evaluated. The images are those of the training."
        )
    names = {"acc": "ACC", "nmi": "NMI", "ari": "ARI"}
    rows: dict[str, object] = {
        names.get(name, name): f"{value:.4f}" for name, value in (evaluated.scores or {}).items()
    }
    if rows:
        how += (
            " ACC is the accuracy under the best one-to-one match of clusters to classes (Hungarian method), NMI is "
            "normalised mutual information, ARI the adjusted Rand index. Labels were used for these figures alone."
        )
    else:
        how += " There were no labels, so whether the clusters are right was not measured; the figures below need none."
    for name, value in evaluated.health.items():
        if isinstance(value, float) and name.endswith(("information", "agreement", "entropy")):
            rows[name.replace("_", " ")] = f"{value:.4f}"
    return f"{how} One run, one seed: other seeds give other figures.\n\n{_table(rows)}"


def _licences(encoder: "dict | None") -> str:
    "Whose weights the file holds."
    if encoder is None:
        return "All weights were trained in this run, from the images above; the licence is yours to choose."
    facts = {"encoder": encoder["name"], "SHA-256 of its weights": encoder.get("weights")}
    facts["licence of its weights"] = encoder.get("licence") or "not known here; look it up before you pass the file on"
    facts["trained on"] = encoder.get("trained_on") or "not known here"
    return f"The file holds the encoder's weights as well. Their licence applies to it.\n\n{_table(facts)}"


def _changed(about: dict) -> "dict[str, object]":
    "Options of the method, and the settings that are not their field's default."
    default = vars(TrainConfig())
    config = {name: value for name, value in about["config"].items() if _plain(default.get(name)) != value}
    return {"method": about["method"], **about.get("options", {}), **config}


def _plain(value: object) -> object:
    "As JSON gives it back."
    return list(value) if isinstance(value, tuple) else value
