"""Are clusters empty, duplicated or collapsed? Measures without labels, with a diagnosis and what to try."""

import math
from collections.abc import Sequence

import numpy as np

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Evaluated, Event, RunStarted, SnapshotTaken
from dcacn_nb.report.diagnosis import SENTENCES, Finding, diagnose
from dcacn_nb.report.figures.health import plot_health
from dcacn_nb.report.health import HEALTH, similarity
from dcacn_nb.report.picture import Picture
from dcacn_nb.runs.thinned import ThinnedList
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import STATIC, LiveWidget, float_bytes, widget_words

WORDS = {lang: texts | {key: SENTENCES[lang][key] for key in HEALTH} for lang, texts in widget_words("health").items()}


def limits(
    k: int,  # clusters
) -> (
    "tuple[float, float]"
):  # shares of the images: a cluster below the first is empty or nearly so, above the second it is large
    "The shares at which the widget marks a cluster, the same as those of `report.diagnose`."
    return 0.1 / max(1, k), max(3 / k, 0.2) if k > 2 else 0.9


def row(
    health: dict,  # of an `Evaluated` event
    k: int,  # clusters
) -> "list[float]":  # 2K + 7 numbers; NaN where unknown
    "Masses, shares, the measures of `HEALTH` and the number of empty clusters."
    unknown = [math.nan] * k
    mass = health.get("cluster_mass") or health.get("cluster_share") or unknown
    parts = [part if len(part) == k else unknown for part in (mass, health.get("cluster_share") or mass)]
    return [*parts[0], *parts[1], *(health.get(key, math.nan) for key in (*HEALTH, "n_empty"))]


class ClusterHealth(LiveWidget):
    "Sizes and similarity of the clusters and label-free measures over the epochs, with a diagnosis in words."

    ESM = STATIC / "health.js"
    WORDS = WORDS

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None
        *,
        history: "History | None" = None,  # shared: its owner also calls `handle`; None: the widget keeps one
        lang: str = "en",  # "en" or "zh"
        limit: int = 400,  # evaluations shown besides the newest, evenly spaced, >= 2
        **kwargs,  # as for LiveWidget
    ):
        self.limit = check_int("limit", limit, low=2)
        super().__init__(run, history=history, lang=lang, **kwargs)

    def prepare(self) -> None:
        "Use what a shared history already holds."
        self._forget()
        for event in self.history.evaluations:
            self.evaluations.append(event)
            self._n_clusters = self._clusters(event)

    def _forget(self) -> None:
        "Forget everything."
        self.evaluations = ThinnedList(self.limit)
        self._n_clusters, self._known, self._tested, self._said = 0, (None, None), [], (None, "", [])

    def _clusters(self, event: Evaluated) -> int:
        "The number of clusters in an evaluation; if unknown, that of the evaluation before."
        return len(event.health.get("cluster_mass") or event.health.get("cluster_share") or ()) or self._n_clusters

    # ---- events
    def update(self, event: Event) -> None:
        "Send the views what an event adds."
        if isinstance(event, RunStarted):
            self._forget()
            self._reset()
        elif isinstance(event, Evaluated):
            self._append(event)
        elif isinstance(event, SnapshotTaken):
            self.post("snapshots", epochs=self._snapshots())

    def _append(self, event: Evaluated) -> None:
        "Add an evaluation."
        halve, before = self.evaluations.append(event), self._n_clusters
        self._n_clusters, self._said = self._clusters(event), (None, "", [])
        if self._n_clusters != before:
            self._reset()
        elif self._viewed:
            numbers = float_bytes(row(event.health, self._n_clusters))
            self.post(
                "append",
                [numbers],
                halve=halve,
                at=len(self.evaluations) - 1,
                epoch=event.epoch,
                found=self._found(event),
            )

    def _reset(self) -> None:
        "Send everything to all views again."
        if self._viewed:
            for content, buffers in self.backlog():
                self.send(content, buffers=buffers)

    def backlog(self) -> "list[tuple[dict, list[bytes]]]":
        "All evaluations kept, as one message."
        kept, k = list(self.evaluations), self._n_clusters
        empty, large = limits(k)
        content = {
            "kind": "reset",
            "k": k,
            "figures": list(HEALTH),
            "epochs": [event.epoch for event in kept],
            "found": [self._found(event) for event in kept],
            "names": self.named_clusters(),
            "snapshots": self._snapshots(),
            "emptyBelow": empty,
            "largeAbove": large,
        }
        return [(content, [float_bytes([number for event in kept for number in row(event.health, k)])])]

    def on_message(self, content: dict, buffers: list) -> None:
        "Answer a view that asks for the similarity of the clusters in a snapshot."
        if content.get("kind") == "similarity" and content.get("epoch") in self._snapshots():
            matrix, about = self.similarity(content["epoch"])
            self.post("similarity", [float_bytes(matrix)], names=self.named_clusters(), **about)

    # ---- words
    def _config(self) -> dict:
        "The settings of the run."
        return self.history.start.config if self.history.start else {}

    def _found(self, event: Evaluated) -> "list[tuple[str, str]]":
        "Findings of an evaluation: (severity, sentence)."
        if self._said[0] is not event or self._said[1] != self.lang:  # the message and the summary share them
            begin = [("note", self.text("untrained"))] if event.epoch == 0 else []
            self._said = event, self.lang, begin + _plain(diagnose(event.health, self.lang, self._config()))
        return self._said[2]

    def describe(self) -> str:
        "The last evaluation in numbers, with its first finding."
        last = self.evaluations.last
        if last is None:
            return self.text("nothing" if self.history.start else "waiting")
        health, k, (severity, finding) = last.health, self._n_clusters, self._found(last)[0]
        known = [key for key in HEALTH if key in health and severity != "good"]  # a good finding names them already
        parts = [f"{self.text(key)} {health[key]:.2f}" for key in known]
        if "n_empty" in health:
            parts.append(self.text("n_empty", n=health["n_empty"]) if health["n_empty"] else self.text("none_empty"))
        figures = "".join(self.text("comma") + part for part in parts)
        share = row(health, k)[k : 2 * k]
        sizes = {"k": k, "low": min(share), "high": max(share)} if share and all(map(math.isfinite, share)) else {}
        key = "summary" if sizes else "summary_short"
        return self.text(key, epoch=last.epoch, figures=figures, finding=finding, **sizes)

    # ---- similarity
    def _snapshots(self) -> "list[int]":
        "Epochs of the snapshots kept in which the clusters can be compared."
        return sorted({snapshot.epoch for snapshot in self._comparable()})

    def _comparable(self) -> "list[SnapshotTaken]":
        "Snapshots kept in which the clusters can be compared; each is checked once."
        known = {id(snapshot): fit for snapshot, fit in self._tested}
        self._tested = [
            (snapshot, known[id(snapshot)] if id(snapshot) in known else _comparable(snapshot))
            for snapshot in self.history.snapshots
        ]
        return [snapshot for snapshot, fit in self._tested if fit]

    def similarity(
        self,
        epoch: int,  # of a snapshot that is kept
    ) -> "tuple[np.ndarray, dict]":  # (K,K) float32 in [0,1]; epoch, number of clusters, most similar pair, findings
        "The similarity of the clusters in a snapshot: cosine similarity of the columns of assignments."
        snapshot = next((s for s in reversed(self._comparable()) if s.epoch == epoch), None)
        if snapshot is None:
            raise ValueError(f"epoch must be that of a snapshot: one of {self._snapshots()}, got {epoch!r}")
        if self._known[0] is not snapshot:  # several views ask for the same
            self._known = snapshot, similarity(snapshot.arrays["p"]).astype(np.float32)
        matrix = self._known[1]
        first, second = divmod(int(np.where(np.triu(np.ones_like(matrix), 1), matrix, -1).argmax()), len(matrix))
        evaluation = next((event for event in reversed(self.evaluations) if event.epoch <= epoch), None)
        found = []
        if evaluation is not None:
            findings = diagnose(evaluation.health, self.lang, self._config(), matrix)
            found = _plain([finding for finding in findings if finding.key == "twins"])
        return matrix, {"epoch": epoch, "k": len(matrix), "pair": [first, second], "found": found}

    def figure(self) -> Picture:
        "For print: sizes over the epochs, measures, similarity and empty clusters."
        return plot_health(self.history.events())


def _plain(findings: "Sequence[Finding]") -> "list[tuple[str, str]]":
    "Findings as pairs (severity, sentence)."
    return [(finding.severity, str(finding)) for finding in findings]


def _comparable(snapshot: SnapshotTaken) -> bool:
    "Whether a snapshot holds finite assignments to at least two clusters."
    p = snapshot.arrays.get("p")
    return (
        p is not None and p.ndim == 2 and len(p) > 0 and p.shape[1] > 1 and bool(np.isfinite(p.sum()))
    )  # one pass: NaN stays NaN in a sum
