"""Are clusters dead, doubled or collapsed? Figures that need no labels, epoch by epoch, with a diagnosis in plain words and what to try."""

import math
from collections.abc import Sequence

import numpy as np

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Evaluated, Event, RunStarted, SnapshotTaken
from dcacn_nb.report.diagnosis import SENTENCES, Finding, diagnose
from dcacn_nb.report.figures import HEALTH, plot_health, similarity
from dcacn_nb.report.picture import Picture
from dcacn_nb.report.record import cluster_names
from dcacn_nb.widgets.feed import History, Thinned
from dcacn_nb.widgets.live import LiveWidget, float_bytes

WORDS = {  # key -> (English, Chinese)
    "title": ("Health of the clusters", "簇的健康状况"),
    "diagnosis": ("Diagnosis at the chosen epoch", "所选轮次的诊断"),
    "severity_bad": ("Problem", "问题"),
    "severity_warning": ("Warning", "注意"),
    "severity_note": ("Note", "说明"),
    "severity_good": ("Well", "良好"),
    "untrained": (
        "Epoch 0: the network has not been trained yet. What follows is only where it starts from.",
        "第 0 轮：网络尚未训练，以下只是它的起点。",
    ),
    "newest": ("newest: follows the run", "最新：随训练更新"),
    "comma": (", ", "，"),
    "n_empty": ("{n} empty", "{n} 个空簇"),
    "none_empty": ("none empty", "没有空簇"),
    "cluster_named": ("cluster {k} ({name})", "簇 {k}（{name}）"),
    "is_empty": (" · E: empty or nearly so", " · 空：几乎没有图像"),
    "is_large": (" · L: large", " · 大：份额过大"),
    "letter_empty": ("E", "空"),
    "letter_large": ("L", "大"),
    "masses": ("Sizes of the clusters", "各簇的大小"),
    "bars_key": (
        "Bar: mean probability. Short line: share of the images. Dashed: an even share. E: empty, under a tenth of it. L: large, hatched.",
        "柱：平均概率。短线：图像所占份额。虚线：平均份额。空：不足其十分之一。大：份额过大，带斜纹。",
    ),
    "bars_say": (
        "From {low} ({least}) to {high} ({largest}); an even share is {even}.",
        "从 {low}（{least}）到 {high}（{largest}）；平均份额为 {even}。",
    ),
    "bar_says": (
        "{name}: mass {mass}, {times} times an even share; {share} of the images",
        "{name}：平均概率 {mass}，为平均份额的 {times} 倍；占图像的 {share}",
    ),
    "unknown_masses": ("The sizes of the clusters are not known here.", "此处各簇大小未知。"),
    "over_time": ("Sizes over the epochs", "各簇大小随轮次的变化"),
    "time_key": (
        "Row: cluster. Shade: times an even share. Dotted: empty. A click chooses the epoch.",
        "行：簇。明暗：平均份额的倍数。点线：空簇。点击选择轮次。",
    ),
    "time_says": (
        "{n} evaluations; empty clusters at epoch {epoch}: {empty}.",
        "共 {n} 次评估；第 {epoch} 轮的空簇数：{empty}。",
    ),
    "cell_says": (
        "epoch {epoch}, {name}: {times} times an even share ({mass})",
        "第 {epoch} 轮，{name}：平均份额的 {times} 倍（{mass}）",
    ),
    "figures": ("Figures without labels", "无需标签的指标"),
    "figures_key": ("Good: {parts}.", "良好：{parts}。"),
    "high": ("high {name}", "{name}高"),
    "low": ("low {name}", "{name}低"),
    "figures_say": ("epoch {epoch}: {told}", "第 {epoch} 轮：{told}"),
    "empty_clusters": ("empty clusters", "空簇数"),
    "alike": ("Likeness of clusters", "簇的相似度"),
    "alike_at": ("Likeness of clusters, snapshot of epoch {epoch}", "簇的相似度，第 {epoch} 轮快照"),
    "alike_key": (
        "Cosine of two clusters' assignments. Dark off the diagonal is good; bright: the network cannot decide between the two.",
        "两个簇的分配之间的余弦。对角线以外越暗越好；越亮，网络越难区分二者。",
    ),
    "alike_says": ("The most alike: {first} and {second}, {likeness}.", "最相似：{first} 与 {second}，{likeness}。"),
    "pair_says": ("{first} and {second}: {likeness}", "{first} 与 {second}：{likeness}"),
    "no_snapshot": ("No snapshot up to this epoch.", "到此轮次为止没有快照。"),
    "asked": ("Asking Python …", "正在向 Python 请求……"),
    "summary": (
        "Epoch {epoch}: {k} clusters of {low:.1%} to {high:.1%} of the images{figures}. {finding}",
        "第 {epoch} 轮：{k} 个簇，各占图像的 {low:.1%} 至 {high:.1%}{figures}。{finding}",
    ),
    "summary_short": ("Epoch {epoch}{figures}. {finding}", "第 {epoch} 轮{figures}。{finding}"),
    **{key: (name, SENTENCES["zh"][key]) for key, name in HEALTH.items()},
}


def limits(
    k: int,  # clusters
) -> (
    "tuple[float, float]"
):  # shares of the images: below the first a cluster is empty or nearly so, above the second it is large
    "From which share on the widget marks a cluster: as `report.diagnose` speaks of it."
    return 0.1 / max(1, k), max(3 / k, 0.2) if k > 2 else 0.9


def row(
    health: dict,  # of an `Evaluated` event
    k: int,  # clusters
) -> "list[float]":  # 2K + 5 numbers; NaN where unknown
    "Masses, shares, the figures of `HEALTH` and the number of empty clusters."
    unknown = [math.nan] * k
    mass = health.get("cluster_mass") or health.get("cluster_share") or unknown
    parts = [part if len(part) == k else unknown for part in (mass, health.get("cluster_share") or mass)]
    return [*parts[0], *parts[1], *(health.get(key, math.nan) for key in (*HEALTH, "n_empty"))]


class ClusterHealth(LiveWidget):
    "Sizes of the clusters, figures without labels and likeness of clusters over the epochs, with a diagnosis in words."

    NAMES = ("health",)
    WORDS = WORDS

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None
        *,
        history: "History | None" = None,  # kept by somebody else, who also calls `update`
        lang: str = "en",  # "en" or "zh"
        limit: int = 400,  # evaluations shown, at most, >= 2: evenly spread, beside the newest
        **kwargs,  # as for LiveWidget
    ):
        self.limit = check_int("limit", limit, low=2)
        super().__init__(run, history=history, lang=lang, **kwargs)

    def prepare(self) -> None:
        "Take over what an older history holds."
        self._forget()
        for event in self.history.evaluations:
            self.evaluations.append(event)
            self._n_clusters = self._clusters(event)

    def _forget(self) -> None:
        "As before the first event."
        self.evaluations = Thinned(self.limit)
        self._n_clusters, self._known, self._tested, self._said = 0, (None, None), [], (None, "", [])

    def _clusters(self, event: Evaluated) -> int:
        "Clusters of an evaluation; those of the one before if it does not say."
        return len(event.health.get("cluster_mass") or event.health.get("cluster_share") or ()) or self._n_clusters

    # ---- events
    def update(self, event: Event) -> None:
        "Tell the views what an event adds."
        if isinstance(event, RunStarted):
            self._forget()
            self._reset()
        elif isinstance(event, Evaluated):
            self._append(event)
        elif isinstance(event, SnapshotTaken):
            self.tell("snapshots", epochs=self._snapshots())

    def _append(self, event: Evaluated) -> None:
        "One more evaluation."
        halve, before = self.evaluations.append(event), self._n_clusters
        self._n_clusters, self._said = self._clusters(event), (None, "", [])
        if self._n_clusters != before:
            self._reset()
        elif self._viewed:
            numbers = float_bytes(row(event.health, self._n_clusters))
            self.tell(
                "append",
                [numbers],
                halve=halve,
                at=len(self.evaluations) - 1,
                epoch=event.epoch,
                found=self._found(event),
            )

    def _reset(self) -> None:
        "All views begin anew."
        if self._viewed:
            for content, buffers in self.backlog():
                self.send(content, buffers=buffers)

    def backlog(self) -> "list[tuple[dict, list[bytes]]]":
        "Everything kept, as one message."
        kept, k = list(self.evaluations), self._n_clusters
        empty, large = limits(k)
        content = {
            "kind": "reset",
            "k": k,
            "figures": list(HEALTH),
            "epochs": [event.epoch for event in kept],
            "found": [self._found(event) for event in kept],
            "names": self.names(),
            "snapshots": self._snapshots(),
            "emptyBelow": empty,
            "largeAbove": large,
        }
        return [(content, [float_bytes([number for event in kept for number in row(event.health, k)])])]

    def on_message(self, content: dict, buffers: list) -> None:
        "A view asks for the likeness of the clusters in a snapshot."
        if content.get("kind") == "alike" and content.get("epoch") in self._snapshots():
            alike, told = self.alike(content["epoch"])
            self.tell("alike", [float_bytes(alike)], names=self.names(), **told)

    # ---- words
    def _config(self) -> dict:
        "The run's settings."
        return self.history.start.config if self.history.start else {}

    def _found(self, event: Evaluated) -> "list[tuple[str, str]]":
        "Findings of an evaluation: (severity, sentence)."
        if self._said[0] is not event or self._said[1] != self.lang:  # the message and the summary say the same
            begin = [("note", self.say("untrained"))] if event.epoch == 0 else []
            self._said = event, self.lang, begin + _spoken(diagnose(event.health, self.lang, self._config()))
        return self._said[2]

    def describe(self) -> str:
        "The last evaluation in figures, and what is to be said of it first."
        last = self.evaluations.last
        if last is None:
            return self.say("nothing" if self.history.start else "waiting")
        health, k, (severity, finding) = last.health, self._n_clusters, self._found(last)[0]
        told = [
            f"{self.say(key)} {health[key]:.2f}" for key in HEALTH if key in health and severity != "good"
        ]  # the good news say them already
        if "n_empty" in health:
            told.append(self.say("n_empty", n=health["n_empty"]) if health["n_empty"] else self.say("none_empty"))
        figures = "".join(self.say("comma") + text for text in told)
        share = row(health, k)[k : 2 * k]
        sizes = {"k": k, "low": min(share), "high": max(share)} if share and all(map(math.isfinite, share)) else {}
        return self.say(
            "summary" if sizes else "summary_short", epoch=last.epoch, figures=figures, finding=finding, **sizes
        )

    def names(self) -> "dict[int, str]":
        "Names that somebody gave to clusters."
        return cluster_names(self.folder) if self.folder is not None else {}

    # ---- likeness
    def _snapshots(self) -> "list[int]":
        "Epochs of the snapshots kept in which the clusters can be compared."
        return sorted({snapshot.epoch for snapshot in self._comparable()})

    def _comparable(self) -> "list[SnapshotTaken]":
        "Snapshots kept in which the clusters can be compared; each is looked through once, since it never changes."
        known = {id(snapshot): fit for snapshot, fit in self._tested}
        self._tested = [
            (snapshot, known[id(snapshot)] if id(snapshot) in known else _comparable(snapshot))
            for snapshot in self.history.snapshots
        ]
        return [snapshot for snapshot, fit in self._tested if fit]

    def alike(
        self,
        epoch: int,  # of a snapshot that is kept
    ) -> (
        "tuple[np.ndarray, dict]"
    ):  # (K,K) float32 in [0,1]; its epoch and size, the most alike pair, and what is to be said of it
        "The likeness of the clusters in a snapshot: cosine similarity of the columns of assignments."
        snapshot = next((s for s in reversed(self._comparable()) if s.epoch == epoch), None)
        if snapshot is None:
            raise ValueError(f"epoch must be that of a snapshot: one of {self._snapshots()}, got {epoch!r}")
        if self._known[0] is not snapshot:  # several views ask for the same
            self._known = snapshot, similarity(snapshot.arrays["p"]).astype(np.float32)
        alike = self._known[1]
        first, second = divmod(int(np.where(np.triu(np.ones_like(alike), 1), alike, -1).argmax()), len(alike))
        then = next((event for event in reversed(self.evaluations) if event.epoch <= epoch), None)
        found = (
            []
            if then is None
            else [f for f in diagnose(then.health, self.lang, self._config(), alike) if f.key == "twins"]
        )
        return alike, {"epoch": epoch, "k": len(alike), "pair": [first, second], "found": _spoken(found)}

    def figure(self) -> Picture:
        "The same for print: sizes over the epochs, figures, likeness and empty clusters."
        return plot_health(self.history.events())


def _spoken(findings: "Sequence[Finding]") -> "list[tuple[str, str]]":
    "Findings as plain values."
    return [(finding.severity, str(finding)) for finding in findings]


def _comparable(snapshot: SnapshotTaken) -> bool:
    "Whether a snapshot holds assignments to two clusters or more, all of them numbers."
    p = snapshot.arrays.get("p")
    return (
        p is not None and p.ndim == 2 and len(p) > 0 and p.shape[1] > 1 and bool(np.isfinite(p.sum()))
    )  # one pass: NaN stays NaN in a sum
