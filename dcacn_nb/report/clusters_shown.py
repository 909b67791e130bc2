"""The clusters of a run as a page shows them: pictures, sizes, certainty, duplicates, outliers, possible merges."""

from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from markupsafe import Markup

from dcacn_nb.report.photos import photos
from dcacn_nb.report.record import RunRecord
from dcacn_nb.report.run_files import Groups

CLEARLY, FEW, MOST_UNSURE = 0.2, 5, 3  # so much less sure than the median cluster; images it must have; named at most
SURE, DOUBTFUL = 0.9, 0.5  # confidence from which on an image is sure; below which it is doubtful
MOST_CLUSTERS = 20  # with pictures
MOST_PHOTOS = 160  # in the strips of all clusters together
MOST_DUPLICATES, MOST_ALIKE, MOST_OUTLIERS, MOST_MERGES, EACH = 8, 5, 16, 4, 3


@dataclass
class Shown:
    "Images of a run with their clusters, and the pictures there are."

    indices: np.ndarray  # (n,) which images
    clusters: np.ndarray  # (n,)
    confidence: np.ndarray  # (n,)
    whole: bool  # whether these are all images, or the snapshot's sample
    pictures: "dict[int, np.ndarray]" = field(default_factory=dict)  # image -> (C,H,W) uint8
    paths: "dict[int, str]" = field(default_factory=dict)  # image -> file
    names: "dict[int, str]" = field(default_factory=dict)  # cluster -> name that a person gave it

    def __post_init__(self):
        self.at = {int(image): row for row, image in enumerate(self.indices)}

    @property
    def graded(self) -> bool:
        "Whether there are degrees of confidence: K-Means knows none."
        return bool((self.confidence < 0.9999).any())

    def title(self, cluster: int) -> str:
        "What a cluster is called."
        return f"cluster {cluster}" + (f" ({self.names[cluster]})" if cluster in self.names else "")

    def about(self, image: int) -> str:
        "An image in words: its file, cluster and confidence."
        row = self.at.get(image)
        where = "" if row is None else f", {self.title(self.clusters[row])}, confidence {self.confidence[row]:.2f}"
        return f"image {image}{where}{f': {short_path(self.paths[image])}' if image in self.paths else ''}"

    def strip(self, images: "list[int]") -> Markup:
        "Those of the images of which there are pictures, side by side."
        return photos((self.pictures[i], self.about(i)) for i in images if i in self.pictures)

    def members(self, cluster: int) -> "list[int]":
        "The images of a cluster, the surest first."
        rows = np.flatnonzero(self.clusters == cluster)
        return self.indices[rows[np.argsort(-self.confidence[rows], kind="stable")]].tolist()


def short_path(path: str) -> str:
    "The end of a path: the file and its folder."
    return "/".join(PurePath(path.replace("\\", "/")).parts[-2:])


def snapshot_shown(record: RunRecord) -> Shown:
    "The images of the last snapshot; none if it has no finite assignments."
    last = next((s for s in reversed(record.snapshots) if getattr(s.arrays.get("p"), "ndim", 0) == 2), None)
    pictured = next((s for s in record.snapshots if len(s.arrays.get("images", ())) == len(s.indices) > 0), None)
    pictures = {} if pictured is None else dict(zip(pictured.indices.tolist(), pictured.arrays["images"]))
    p = np.zeros((0, 1)) if last is None else last.arrays["p"]
    if last is None or len(p) != len(last.indices) or not np.isfinite(p).all():
        return Shown(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), False, pictures, names=record.names)
    return Shown(last.indices, p.argmax(1), p.max(1).astype(float), False, pictures, names=record.names)


def cluster_rows(
    shown: Shown,
    groups: Groups,
    share: "list[float]",  # of all images, for each cluster; empty: unknown
    n_images: int,  # in the whole set; 0: unknown
) -> "list[dict]":  # one for each cluster, in order
    "Number, name, size and certainty of each cluster, and a strip of its images."
    k = len(share) or int(shown.clusters.max(initial=-1)) + 1
    counts = np.bincount(shown.clusters, minlength=k)[:k]
    if shown.whole or not share:
        share = (counts / max(1, counts.sum())).tolist()
    top, each = max([*share, 1e-9]), int(np.clip(MOST_PHOTOS // max(1, min(k, MOST_CLUSTERS)), 6, 11))
    pictured = set(np.argsort(-np.array(share), kind="stable")[:MOST_CLUSTERS].tolist())
    rows = []
    for cluster in range(k):
        confidence = shown.confidence[shown.clusters == cluster]
        size = counts[cluster] if shown.whole else round(share[cluster] * n_images)
        strips = _strips(shown, groups, cluster, each) if cluster in pictured and share[cluster] > 0 else {}
        rows.append(
            {
                "cluster": cluster,
                "name": shown.names.get(cluster, ""),
                "images": f"{size:,}",
                "share": f"{share[cluster]:.1%}",
                "width": f"{100 * share[cluster] / top:.1f}",
                "sure": f"{(confidence >= SURE).mean():.0%}" if len(confidence) else "",
                "median": f"{np.median(confidence):.2f}" if len(confidence) else "",
                **strips,
            }
        )
    return rows


def _strips(shown: Shown, groups: Groups, cluster: int, each: int) -> dict:
    "The most telling images of a cluster, then its most doubtful ones."
    members = shown.members(cluster)
    telling = [i for i in groups.telling.get(cluster, []) if i in shown.pictures]
    pictured = [i for i in members if i in shown.pictures]
    telling = telling or pictured
    few = (each + 1) // 4 if shown.graded else 0
    first = telling[: each - few]
    last = [i for i in pictured if i not in first][::-1][:few]
    return {"telling": shown.strip(first), "doubtful": shown.strip(last)}


def certainty(shown: Shown) -> "dict | None":  # None: nothing is known
    "How many images are sure, and how many doubtful."
    if not len(shown.confidence):
        return None
    return {
        "sure": f"{(shown.confidence >= SURE).mean():.0%}",
        "doubtful": f"{(shown.confidence < DOUBTFUL).mean():.0%}",
        "n": f"{len(shown.confidence):,}",
        "whole": shown.whole,
        "graded": shown.graded,
    }


def unsure_clusters(shown: Shown) -> "dict[int, float]":  # cluster -> share of its images that are sure
    "The clusters that are sure for clearly fewer images than the median cluster: the least sure ones, a few."
    counts = np.bincount(shown.clusters)
    sure = np.bincount(shown.clusters, shown.confidence >= SURE) / np.maximum(counts, 1)
    counted = np.flatnonzero(counts >= FEW)
    below = np.median(sure[counted]) - CLEARLY if len(counted) else 0
    least = sorted((k for k in counted.tolist() if sure[k] <= below), key=lambda k: sure[k])
    return {k: float(sure[k]) for k in least[:MOST_UNSURE]} if shown.graded else {}


def duplicate_rows(shown: Shown, groups: Groups) -> "list[dict]":
    "The largest sets of near-duplicates, with pictures and files."
    return [
        {
            "exact": copies.exact,
            "photos": shown.strip(copies.images[:MOST_ALIKE]),
            "files": ", ".join(short_path(shown.paths.get(i, f"image {i}")) for i in copies.images[:MOST_ALIKE]),
            "more": max(0, len(copies.images) - MOST_ALIKE),
        }
        for copies in groups.duplicates[:MOST_DUPLICATES]
    ]


def merge_rows(shown: Shown, groups: Groups) -> "list[dict]":
    "Pairs of clusters that might be one, with some images of each."
    firsts = lambda cluster: groups.telling.get(cluster) or shown.members(cluster)
    pictured = lambda cluster: [i for i in firsts(cluster) if i in shown.pictures][:EACH]
    return [
        {
            "first": shown.title(a),
            "second": shown.title(b),
            "a": shown.strip(pictured(a)),
            "b": shown.strip(pictured(b)),
        }
        for a, b in groups.merges[:MOST_MERGES]
    ]
