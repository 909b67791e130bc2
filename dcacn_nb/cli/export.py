"""`dcacn export`: a run's clusters, after all edits by hand, for other programs."""

import os
from pathlib import Path

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, guarded, refuse_idle, say
from dcacn_nb.cli.reading import network_of, of_run, open_source, run_settings
from dcacn_nb.cli.which import say_changes
from dcacn_nb.core.files import open_regular
from dcacn_nb.core.text import from_csv_cell

NETWORKS = {".onnx": o.ExportTo.onnx, ".pt2": o.ExportTo.pt2}
SUFFIXES = {to: suffix for suffix, to in NETWORKS.items()}
SUFFIXES |= {o.ExportTo.csv: ".csv", o.ExportTo.label_studio: ".json"}


@guarded
def export(
    run_dir: o.RunDir,
    target: o.ExportTarget,
    to: o.ExportForm = None,
    only: o.OnlyGroups = None,
    which: o.Weights = o.Which.last,
    encoder_weights: o.MovedWeights = None,
    source: o.RunSource = None,
    as_json: o.AsJson = False,
) -> None:
    """Export the clusters of a run with all names, merges and moves made by hand; or its network (.onnx, .pt2).

    By hand means in a notebook: dc.Dashboard.attach("RUN_FOLDER", tab="clusters") opens the cluster browser.
    A network takes uint8 images and gives probabilities and embeddings. A model card (.md) is written beside it."""
    if target.exists():
        raise BadInput(f"{target} exists already; give a new place")
    if to is None and target.suffix.lower() not in (".csv", *NETWORKS):
        endings = ".csv for a table, .onnx or .pt2 for the network, .json with --to label-studio"
        raise BadInput(f"{target} must end in {endings}; --to links or --to copies makes a folder")
    to = to or NETWORKS.get(target.suffix.lower(), o.ExportTo.csv)
    suffix = SUFFIXES.get(to)
    if suffix and target.suffix.lower() != suffix:
        raise BadInput(f"{target} must end in {suffix} for --to {to.value}")
    if to not in NETWORKS.values():
        refuse_idle("networks (.onnx, .pt2), and clusters are those of the last one", "which")
    run_settings(run_dir)  # refuses a folder that holds no run
    if to in NETWORKS.values():
        _export_network(run_dir, target, only, which, encoder_weights)
        return
    from dcacn_nb.clusters.export import export_clusters

    with checking():
        table = _chosen(run_table(run_dir, encoder_weights, source), only)
        export_clusters(table, to.value, target)
    say(f"{len(table):,} images in {table['group'].nunique()} clusters: {target}")
    if to is o.ExportTo.label_studio:
        say(f"Labelling interface of the project: {target.with_suffix('.xml')}")
        say("Images are served by Label Studio's local files; its document root is the folder above them.")
    answer({"output": target, "to": to.value, "n_images": len(table), "groups": sorted(set(table["group"].tolist()))})


def _export_network(run_dir: Path, target: Path, only: "list[str] | None", which: o.Which, weights: "Path | None"):
    "The network, and what was found when its file was compared with it."
    refuse_idle("clusters, and this is the network", "only", "source")
    from dcacn_nb.report.network_file import export_network

    with checking():
        made = export_network(run_dir, target, which.value, weights)
    c, h, w = made.shape
    say(f"Network for uint8 images (N,{c},{h},{w}): {made.path}")
    say(f"Compared with the run's network; the largest difference is {made.difference:.1g}. Model card: {made.card}")
    answer({"output": made.path, "card": made.card, "images": list(made.shape), "difference": made.difference})


def run_table(
    run_dir: Path,  # a run folder
    weights: "Path | None" = None,  # of its encoder, where they are now
    source: "str | None" = None,  # where its images are now
):  # DataFrame with the columns index, path (if images are files), cluster, group, name, confidence
    "The clusters of a run's images, from its clusters.csv or else from its network, after all edits by hand."
    from dcacn_nb.clusters.groups import GroupingFile

    listed = source is None and os.path.lexists(run_dir / "clusters.csv")
    if listed:
        refuse_idle("clusters that are computed again, and the run has clusters.csv", "encoder_weights")
    table = _table_of_files(run_dir) if listed else _table_of_network(run_dir, weights, source)
    grouping = GroupingFile(run_dir).read(run_settings(run_dir)["config"]["n_clusters"])
    table["group"] = grouping.assign(table["index"].to_numpy(), table["cluster"].to_numpy())
    table["name"] = [grouping.name(group) for group in table["group"].tolist()]
    columns = ["index", "path", "cluster", "group", "name", "confidence"]
    return table[[column for column in columns if column in table]]


def _table_of_files(run_dir: Path):
    "What `dcacn fit` or the cluster browser wrote."
    import pandas as pd

    file = run_dir / "clusters.csv"
    with open_regular(file) as opened:
        table = pd.read_csv(opened, encoding="utf-8-sig", encoding_errors="surrogateescape", keep_default_na=False)
    if not {"path", "cluster", "confidence"} <= set(table.columns):
        raise ValueError(f"{file} must have the columns path, cluster and confidence, it has {list(table.columns)}")
    for column in ("path", "name"):
        if column in table:
            table[column] = [from_csv_cell(text) for text in table[column].astype(str)]
    if "index" not in table:
        table.insert(0, "index", range(len(table)))
    return table


def _table_of_network(run_dir: Path, weights: "Path | None", source: "str | None"):
    "The clusters that a run's network gives to its images, which are read again."
    reading = of_run(run_dir, source, weights) | {"extra": False}
    model, config = network_of(run_dir, "last")
    images = open_source(**reading)
    say_changes(images, run_dir)
    from dcacn_nb.clusters.assigned import assigned_set, assignments
    from dcacn_nb.data.feature_set import training_tensor
    from dcacn_nb.method.step import encode

    return assignments(assigned_set(images, encode(model, training_tensor(images), config)))


def _chosen(table, only: "list[str] | None"):
    "The rows of the clusters asked for, by number or name."
    if not only:
        return table
    known = set(map(str, table["group"].tolist())) | set(table["name"].tolist()) - {""}
    wrong = [name for name in only if name not in known]
    if wrong:
        raise BadInput(f"--only {wrong[0]} is no cluster with images; there are {', '.join(sorted(known))}")
    return table[table["group"].astype(str).isin(only) | table["name"].isin(only)]
