"""What the cluster browser looks for by features: images like these, copies, outliers, groups to merge; and exports."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np

from dcacn_nb.clusters.duplicates import find_duplicates
from dcacn_nb.clusters.export import export_clusters
from dcacn_nb.clusters.names import telling_images
from dcacn_nb.clusters.number import merge_suggestions
from dcacn_nb.clusters.outliers import find_outliers
from dcacn_nb.clusters.similar import UnitRows, most_similar, unit_rows
from dcacn_nb.core.checks import check_in
from dcacn_nb.widgets.clusters_edits import NO_CLUSTERS

WHAT = ("similar", "copies", "outliers", "merges")
TARGETS = {"links": "clusters_links", "copies": "clusters_copies", "label-studio": "clusters_label_studio.json"}
MOST = 48  # images in a row of what was found
ROWS = 30  # groups of copies, or pairs of clusters, shown
EXAMPLES = 5  # images of each cluster of a pair


class FindsByFeatures:
    "The part of ClusterBrowser that looks at features; the rest holds the images, the edits and the views."

    def _use_features(self, source: object) -> None:
        "Look at the features of a FeatureSet from now on; other sets have none."
        self._source = source if hasattr(source, "whole") else None
        self._unit, self._kept = None, {}

    @property
    def _features(self) -> UnitRows:
        "Unit rows of all images of the set."
        if self._source is None:
            raise ValueError(self.text("no_features"))
        if self._unit is None:
            self._unit = unit_rows(self._source)
        return self._unit

    def find(
        self,
        what: str,  # "similar", "copies", "outliers" or "merges"
        images: "Sequence[int]" = (),  # for "similar": which images of the set to look for others like
    ) -> "list[dict]":  # rows of {"label", "images", "groups"}: what was found, best first
        "Look for images by their features, and show them above the clusters."
        check_in("what", what, WHAT)
        with self._lock:
            if self.assigned is None:
                raise ValueError(NO_CLUSTERS)
            rows, title = getattr(self, f"_find_{what}")(images)
            self._send_found(what, rows, title)
        return rows

    def _find_similar(self, images) -> "tuple[list[dict], str]":
        "The images most like some."
        images = [int(image) for image in images]
        found, _ = most_similar(self._features, images, MOST)
        title = self.text("found_similar", n=len(found), m=len(images))
        return [{"label": "", "images": found.tolist(), "groups": []}], title

    def _find_copies(self, _) -> "tuple[list[dict], str]":
        "Groups of copies, the one to keep first."
        if "copies" not in self._kept:
            self._kept["copies"] = find_duplicates(self._features, None, self._source.paths, self._source.images)
        groups = self._kept["copies"]
        rows = []
        for group in groups[:ROWS]:
            same = all(group.exact)
            label = self.text("same_bytes") if same else self.text("as_close_as", cosine=f"{min(group.cosines):.2f}")
            rows.append({"label": label, "images": [group.keep, *group.copies][:MOST], "groups": []})
        n = sum(len(group.copies) for group in groups)
        return rows, self.text("found_copies" if n else "no_copies", n=f"{n:,}", groups=f"{len(groups):,}")

    def _find_outliers(self, _) -> "tuple[list[dict], str]":
        "The images that belong nowhere."
        if "outliers" not in self._kept:
            self._kept["outliers"] = find_outliers(self._features)[0].tolist()
        found = self._kept["outliers"]
        rows = [{"label": "", "images": found[:MOST], "groups": []}] if found else []
        return rows, self.text("found_outliers" if found else "no_outliers", n=f"{len(found):,}")

    def _find_merges(self, _) -> "tuple[list[dict], str]":
        "Pairs of groups that belong together more than by chance, after all edits by hand."
        shown = self.assigned.indices
        unit, groups = self._features[shown], self.grouping.assign(shown, self.assigned.clusters)
        pairs = [(a, b) for a, b, gain in merge_suggestions(unit, groups) if gain > 0][:ROWS]
        telling = telling_images(unit, groups, EXAMPLES)
        rows = []
        for pair in pairs:
            images = [int(shown[i]) for group in pair for i in telling[group]]
            label = " + ".join(self.label(group) for group in pair)
            rows.append({"label": label, "images": images, "groups": list(pair)})
        return rows, self.text("found_merges" if rows else "no_merges", n=len(rows))

    def _send_found(self, what: str, rows: "list[dict]", title: str) -> None:
        "Show what was found in the view that asked, or in all."
        if not self._viewed:
            return
        places = [self.assigned.rows(row["images"]) for row in rows]  # those that are not shown are left out
        heads = [{"label": r["label"], "count": len(p), "groups": r["groups"]} for r, p in zip(rows, places)]
        buffers = self._arrangement.pack(np.concatenate([*places, np.zeros(0, np.int64)]).astype(np.int64))
        self.post("found", buffers, view=self._asking, what=what, title=title, rows=heads)

    def export_as(
        self,
        to: str,  # "links", "copies" or "label-studio"
        images: "Sequence[int]" = (),  # which images of the set; none: all that are shown
        target: "str | Path | None" = None,  # new folder or file; None: a new one in the run's folder
    ) -> Path:  # the folder or file
        "Write clusters after all edits, or a selection, as folders of links or copies or as tasks for Label Studio."
        check_in("to", to, tuple(TARGETS))
        if target is None and self.folder is None:
            raise ValueError(self.text("no_folder"))
        table = self._rows()
        table = table[table["index"].isin(list(images))] if len(images) else table
        target = export_clusters(table, to, self._free(TARGETS[to]) if target is None else target)
        self._publish(self.text("did_export", file=target))
        return target

    def _free(self, name: str) -> Path:
        "The first of NAME, NAME-2, ... that is not there yet, in the run's folder."
        path = self.folder / name
        numbered = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(2))
        return path if not path.exists() else next(other for other in numbered if not other.exists())
