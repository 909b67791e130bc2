"""What a person asks for once groups are there, as plain values: kept in a run's folder, shown by its report."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dcacn_nb.clusters.duplicates import find_duplicates, near_threshold
from dcacn_nb.clusters.groups import GroupingFile
from dcacn_nb.clusters.names import ClusterName, cluster_numbers, telling_images
from dcacn_nb.clusters.number import merge_suggestions
from dcacn_nb.clusters.outliers import far_limit, outlier_scores
from dcacn_nb.clusters.similar import UnitRows, unit_rows
from dcacn_nb.core.files import atomic_write, read_json
from dcacn_nb.core.text import logger

log = logger(__name__)

FILE = "groups.json"
VERSION = 1
FEWEST = 8  # images that say something about which clusters to merge


def after_groups(
    features: object,  # FeatureSet, or (N,D) array or tensor
    probabilities: object,  # (N,K), or (N,) cluster of each
    paths: "Sequence[str] | None" = None,  # a file per image; None: those of the FeatureSet
    telling: int = 12,  # telling images of each cluster, at most
    names: "dict[int, ClusterName] | None" = None,  # cluster -> name, from `suggest_names`
) -> dict:  # plain values: images are named by their number
    """Copies, outliers, telling images, merges worth a thought, and suggested names.

    {"version", "n_images", "duplicates": {"threshold", "groups": [{"keep", "copies", "cosines", "exact"}],
    "copies", "bytes"}, "outliers": {"limit", "images", "scores"}, "telling": {cluster: images},
    "merges": [{"into", "cluster", "gain"}], "names": {cluster: {"word", "share", "runner_up"}}}.
    "copies" counts the images that could go, "bytes" their files; scores are multiples of the usual distance;
    merges come in their order, each gain is how much more often than by chance the two share neighbours.
    """
    paths = getattr(features, "paths", None) if paths is None else list(paths)
    images = getattr(features, "images", None)
    unit = unit_rows(features)
    clusters = cluster_numbers(probabilities, len(unit))
    threshold = near_threshold(unit)
    groups = [asdict(group) for group in find_duplicates(unit, threshold, paths, images)]
    copies = [image for group in groups for image in group["copies"]]
    found = {"version": VERSION, "n_images": len(unit)}
    found["duplicates"] = {"threshold": round(threshold, 4), "groups": groups}
    found["duplicates"] |= {"copies": len(copies), "bytes": _bytes(paths, copies)}
    found["outliers"] = _outliers(unit)
    found["telling"] = {str(cluster): few for cluster, few in telling_images(unit, clusters, telling).items()}
    found["merges"] = _merges(unit, clusters)
    found["names"] = {str(cluster): asdict(name) for cluster, name in (names or {}).items()}
    return found


def _merges(unit: UnitRows, clusters: np.ndarray) -> "list[dict]":
    "Pairs of clusters that belong together more than chance would have it, in the order to merge them."
    if len(unit) < FEWEST or clusters.min() == clusters.max():
        return []
    pairs = merge_suggestions(unit.rows, clusters)
    return [{"into": into, "cluster": other, "gain": round(gain, 5)} for into, other, gain in pairs if gain > 0]


def _bytes(paths: "Sequence[str] | None", images: "list[int]") -> "int | None":
    "Size of some images' files together; None where images are not files."
    if paths is None:
        return None
    files = [Path(paths[image]) for image in images]
    return sum(file.stat().st_size for file in files if file.is_file())


def _outliers(unit: UnitRows) -> dict:
    "The images that belong nowhere, the farthest first; a set of one or two has none."
    if len(unit) < 3:
        return {"limit": None, "images": [], "scores": []}
    scores = outlier_scores(unit)
    limit = far_limit(scores)
    images = np.flatnonzero(scores >= limit)
    images = images[np.argsort(-scores[images], kind="stable")]
    return {"limit": round(limit, 3), "images": images.tolist(), "scores": scores[images].round(3).tolist()}


def keep_names(
    names: "dict[int, ClusterName]",  # cluster -> name, from `suggest_names`
    folder: "str | Path",  # of a run
    n_clusters: int,  # K
) -> None:
    "Give the clusters of a run their suggested names, unless a person has named, merged or moved anything."
    if not names:
        return
    file, path = GroupingFile(folder), Path(folder) / FILE
    try:
        grouping = file.read(n_clusters)
        before = read_json(path).get("names", {}) if path.is_file() else {}
    except ValueError as error:  # what a person made must not be lost, nor cost the report
        log.warning("clusters get no names: %s", error)
        return
    if grouping.merged or grouping.moved or grouping.names != {int(k): name["word"] for k, name in before.items()}:
        return
    grouping.names = {cluster: name.word for cluster, name in names.items()}
    file.write(grouping)


def write_groups(
    found: dict,  # from `after_groups`
    folder: "str | Path",  # of a run
) -> Path:
    "Keep what was found in a run's folder."
    return atomic_write(Path(folder) / FILE, (json.dumps(found, allow_nan=False) + "\n").encode(), home=folder)
