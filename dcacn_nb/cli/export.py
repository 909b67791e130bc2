"""`dcacn export`: a run's clusters, after all edits by hand, for other programs."""

import csv
import io
import os
from pathlib import Path

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, complain, guarded, refuse_idle, say
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
        table = run_table(run_dir, encoder_weights, source)
        if _is_listed(run_dir, source):
            _compare_with_run(table, run_dir, to)
        table = _chosen(table, only)
        export_clusters(table, to.value, target)
    say(f"{len(table):,} images in {table['group'].nunique()} clusters: {target}")
    if to is o.ExportTo.label_studio:
        say(f"Labelling interface of the project: {target.with_suffix('.xml')}")
        say("Images are served by Label Studio's local files; its document root is the folder above them.")
    answer({"output": target, "to": to.value, "n_images": len(table), "groups": sorted(set(table["group"].tolist()))})


def _is_listed(run_dir: Path, source: "str | None") -> bool:
    "Whether the clusters are those of clusters.csv; else they are computed again."
    return source is None and os.path.lexists(run_dir / "clusters.csv")


def _compare_with_run(table, run_dir: Path, to: o.ExportTo) -> None:
    "Say how many of the run's images clusters.csv lists, and what has changed among files that are to be placed."
    count = (run_settings(run_dir)["protocol"] or {}).get("count")
    if type(count) is int and len(table) < count:
        complain(f"Note: {len(table):,} of the {count:,} images of the run are listed in {run_dir / 'clusters.csv'}")
    elif to in (o.ExportTo.copies, o.ExportTo.links):
        say_changes(_Files(table["path"]), run_dir)


class _Files(list):
    "Paths of images, with these as their attribute, as a set of images has them."

    @property
    def paths(self) -> "list[str]":
        return self


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

    listed = _is_listed(run_dir, source)
    if listed:
        refuse_idle("clusters that are computed again, and the run has clusters.csv", "encoder_weights")
    n_clusters = run_settings(run_dir)["config"]["n_clusters"]
    table = _table_of_files(run_dir, n_clusters) if listed else _table_of_network(run_dir, weights, source)
    grouping = GroupingFile(run_dir).read(n_clusters)
    table["group"] = grouping.assign(table["index"].to_numpy(), table["cluster"].to_numpy())
    table["name"] = [grouping.name(group) for group in table["group"].tolist()]
    columns = ["index", "path", "cluster", "group", "name", "confidence"]
    return table[[column for column in columns if column in table]]


def _table_of_files(run_dir: Path, n_clusters: int):
    "What `dcacn fit` or the cluster browser wrote, and perhaps a spreadsheet after them."
    import pandas as pd

    file = run_dir / "clusters.csv"
    rows = _rows(file)
    index = _numbers(file, rows, "index", int, 2**62) if "index" in rows[0] else list(range(len(rows)))
    if len(set(index)) < len(index):
        raise ValueError(f"{file}: index must not repeat, got {len(index) - len(set(index))} that do")
    columns = {
        "index": index,
        "path": [from_csv_cell(row["path"]) for row in rows],
        "cluster": _numbers(file, rows, "cluster", int, n_clusters - 1),
        "confidence": _numbers(file, rows, "confidence", float, 1),
    }
    return pd.DataFrame(columns)


def _rows(file: Path) -> "list[dict[str, str]]":
    "The rows of a table, each with all columns; a separator too many at the end of a line is left out."
    try:
        with open_regular(file) as opened, io.TextIOWrapper(opened, "utf-8-sig", "surrogateescape", newline="") as text:
            reader = csv.DictReader(text, restkey="beyond")
            rows, columns = list(reader), list(reader.fieldnames or [])
    except csv.Error as error:
        raise ValueError(f"{file} is not a table of clusters: {error}") from error
    if not {"path", "cluster", "confidence"} <= set(columns):
        raise ValueError(f"{file} must have the columns path, cluster and confidence, it has {columns}")
    if not rows:
        raise ValueError(f"{file} lists no image; it must have a row for each")
    for number, row in enumerate(rows, 1):
        if None in row.values() or any(row.get("beyond", [])):
            raise ValueError(f"{file}: image {number} must have {len(columns)} values, got {list(row.values())}")
    return rows


def _numbers(file: Path, rows: "list[dict[str, str]]", column: str, kind: type, high: float) -> list:
    "A column as numbers from 0 to `high`."
    values = []
    for number, row in enumerate(rows, 1):
        try:
            value = kind(row[column])
        except ValueError:
            value = -1
        if not 0 <= value <= high + 1e-3 * (kind is float):  # a rounded 1 may be a little more
            wanted = f"a {'whole ' * (kind is int)}number from 0 to {high:g}"
            raise ValueError(f"{file}: {column} of image {number} must be {wanted}, got {row[column]!r}")
        values.append(value)
    return values


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
