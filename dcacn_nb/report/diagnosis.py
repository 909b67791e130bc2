"""What the label-free figures of a run say, in plain words: what is wrong, and what to try."""

import math
from collections.abc import Sequence

import numpy as np

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Evaluated, Event, RunStarted, SnapshotTaken
from dcacn_nb.report.figures import (
    HEALTH,
    similarity,
)

SENTENCES = {  # language -> finding -> sentence; then the words of the advice
    "en": {
        "unknown": "The run has not been evaluated yet, so nothing can be said about its health.",
        "diverged": "The assignments are not finite numbers: training has diverged.",
        "collapse": "Collapse: cluster {cluster} holds {share:.0%} of the images.",
        "large": "Cluster {cluster} holds {share:.0%} of the images, {times:.1f} times an even share. That is well only if the groups you expect differ as much in size.",
        "empty": "{empty} of {k} clusters {verb} empty or nearly so (under a tenth of an even share).",
        "undecided": "The network is undecided: the mean entropy of its assignments is {entropy:.2f}, where 0 is certain and 1 is a guess. "
        "At the start of a run this is normal; until it changes, the sizes of the clusters mean little.",
        "twins": "Clusters {first} and {second} are near twins: the network can hardly decide between them (likeness {likeness:.2f} of 1).",
        "disagree": "Two random views of an image fall into the same cluster in only {agreement:.0%} of cases{chance}.",
        "little": "The views agree, but their clusters carry little information ({information:.2f} of 1): most images are in a few clusters.",
        "well": "No sign of collapse: all {k} clusters are in use{figures}. Whether they are the groups you have in mind, only a look at the pictures can tell.",
        "chance": " (about {chance:.0%} would by chance)",
        "comma": ", ",
        **HEALTH,
        "try": " What to try: {steps}.",
        "then": "; ",
        "now": " (now {value})",
        "usual": " (usually {usual})",
        "now_usual": " (now {value}, usually {usual})",
        "up": "raise {setting}{now}",
        "down": "lower {setting}{now}",
        "n_clusters": "lower n_clusters{now} if you expect fewer groups",
        "flip": "set flip=0{now} if images must not be mirrored",
    },
    "zh": {
        "unknown": "本次训练尚未评估，暂时无法判断其健康状况。",
        "diverged": "簇分配不是有限数值：训练已发散。",
        "collapse": "坍缩：簇 {cluster} 占了全部图像的 {share:.0%}。",
        "large": "簇 {cluster} 占了全部图像的 {share:.0%}，是平均份额的 {times:.1f} 倍。只有预期各类大小同样悬殊时才属正常。",
        "empty": "{k} 个簇中有 {empty} 个为空或几乎为空（不足平均份额的十分之一）。",
        "undecided": "网络尚未形成明确的划分：簇分配的平均熵为 {entropy:.2f}（0 为完全确定，1 为随机猜测）。训练初期属正常现象；在划分明确之前，各簇的大小意义不大。",
        "twins": "簇 {first} 与簇 {second} 几乎重复：网络难以区分二者（相似度 {likeness:.2f}，最大为 1）。",
        "disagree": "视图一致性偏低：同一图像的两个随机视图只有 {agreement:.0%} 落入同一簇{chance}。",
        "little": "两个视图虽然一致，但簇所含的信息很少（{information:.2f}，最大为 1）：大多数图像集中在少数几个簇中。",
        "well": "未见坍缩迹象：{k} 个簇均有图像{figures}。这些簇是否就是您想要的类别，只有查看图像才能判断。",
        "chance": "（随机情况下约为 {chance:.0%}）",
        "comma": "，",
        "view_information": "视图信息量",
        "view_agreement": "视图一致性",
        "balance_entropy": "均衡熵",
        "assignment_entropy": "分配熵",
        "try": "可以尝试：{steps}。",
        "then": "；",
        "now": "（当前为 {value}）",
        "usual": "（通常为 {usual}）",
        "now_usual": "（当前为 {value}，通常为 {usual}）",
        "up": "增大 {setting}{now}",
        "down": "减小 {setting}{now}",
        "n_clusters": "若预期类别较少，减小 n_clusters{now}",
        "flip": "若图像不可左右翻转，取 flip=0{now}",
    },
}


ADVICE = {  # finding -> settings that may help, in the order in which to try them, and whether to raise them (+1) or to lower them (-1)
    "diverged": (("lr", -1), ("warmup_epochs", +1)),
    "collapse": (("balance_weight", +1), ("lr", -1), ("warmup_epochs", +1)),
    "large": (("balance_weight", +1), ("epochs", +1)),
    "empty": (("balance_weight", +1), ("epochs", +1), ("n_clusters", -1)),
    "undecided": (("epochs", +1), ("cluster_temperature", -1), ("balance_weight", -1)),
    "twins": (("epochs", +1), ("cluster_weight", +1), ("n_clusters", -1)),
    "disagree": (("epochs", +1), ("global_scale", +1), ("jitter", -1), ("flip", -1)),
    "little": (("balance_weight", +1),),
}


SEVERITY = {
    "diverged": "bad",
    "collapse": "bad",
    "unknown": "note",
    "well": "good",
    **dict.fromkeys(("large", "empty", "undecided", "twins", "disagree", "little"), "warning"),
}


USUAL = {"balance_weight": 1}  # worth knowing where the present value is smaller


LEAST = {"n_clusters": 2}  # others: 0


class Finding(str):
    "A finding as a sentence which knows what it is about."

    key: str  # of SEVERITY
    severity: str  # "bad", "warning", "note" or "good"

    def __new__(cls, text: str, key: str):
        finding = super().__new__(cls, text)
        finding.key, finding.severity = key, SEVERITY[key]
        return finding


def diagnose(
    health: "dict | Sequence[Event]",  # the figures of an Evaluated event (metrics.assignment_health), or the events of a run: their last
    lang: str = "en",  # or "zh", simplified Chinese
    config: "dict | None" = None,  # the run's settings, so that advice can say what they are now; None: those of RunStarted among the events
    alike: "np.ndarray | None" = None,  # (K,K) likeness of the clusters (figures.similarity); None: that of the last snapshot among the events
) -> "list[Finding]":  # sentences, one finding each, the most serious first; never empty
    "What the label-free figures say, in plain words: what is wrong, and what to try."
    words = SENTENCES[check_in("lang", lang, list(SENTENCES))]
    if not isinstance(health, dict):
        told = list(health)
        last = lambda kind, part: next((part(e) for e in reversed(told) if isinstance(e, kind)), None)
        config = last(RunStarted, lambda e: e.config) if config is None else config
        alike = last(SnapshotTaken, _likeness) if alike is None else alike
        health = last(Evaluated, lambda e: e.health)
    found = [("unknown", {})] if health is None else _findings(health, alike)
    raised = {setting for key, _ in found for setting, way in ADVICE.get(key, ()) if way > 0}
    return [
        Finding(_sentence(words, key, values) + _advice(words, key, config or {}, raised), key) for key, values in found
    ]


def _likeness(snapshot: SnapshotTaken) -> "np.ndarray | None":
    "Likeness of the clusters in a snapshot, if it can be told."
    p = snapshot.arrays.get("p")
    return similarity(p) if p is not None and p.ndim == 2 and p.size and np.isfinite(p).all() else None


def _advice(words: dict, key: str, config: dict, raised: "set[str]") -> str:
    "What to try, with what the settings are now; nothing that the run has not, nor what is at its end already."
    steps = []
    for setting, way in ADVICE.get(key, ()):
        value, usual = config.get(setting), USUAL.get(setting) if way > 0 else None
        if (config and setting not in config) or (way < 0 and (setting in raised or value == LEAST.get(setting, 0))):
            continue
        usual = usual if usual is not None and (value is None or value < usual) else None
        kind = "_".join(name for name, known in (("now", value), ("usual", usual)) if known is not None)
        now = words[kind].format(value=_setting(value), usual=usual) if kind else ""
        special = setting in words and way < 0
        steps.append(words[setting if special else "up" if way > 0 else "down"].format(setting=setting, now=now))
    return words["try"].format(steps=words["then"].join(steps)) if steps else ""


def _setting(value: object) -> str:
    "A setting as one would type it; pairs in round brackets, though JSON made lists of them."
    return (
        f"({', '.join(map(_setting, value))})"
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _sentence(words: dict, key: str, values: dict) -> str:
    "One finding in one language."
    if "chance" in values:
        values = values | {"chance": words["chance"].format(chance=values["chance"]) if values["chance"] else ""}
    if "figures" in values:
        values = values | {
            "figures": "".join(
                f"{words['comma']}{words[name]} {value:.2f}" for name, value in values["figures"].items()
            )
        }
    return words[key].format(**values)


def _findings(health: dict, alike: "np.ndarray | None" = None) -> "list[tuple[str, dict]]":
    "What is wrong, as keys of SENTENCES with their numbers; or that all is well."
    share = health.get("cluster_share") or health.get("cluster_mass") or []
    found = _collapse(health, share) + _views(health)
    if health.get("assignment_entropy", 0) > 0.8 and health.get("balance_entropy", 0) > 0.95:
        found = [
            pair for pair in found if pair[0] == "undecided"
        ]  # all probabilities are about even: which is the largest is an accident
    keys = {key for key, _ in found}
    if not keys & {"collapse", "diverged", "undecided"}:
        found += _twins(share, alike)
    if keys & {"collapse", "large", "empty"}:  # these say the same, and more
        found = [(key, values) for key, values in found if key != "little"]
    well = {"k": len(share), "figures": {name: health[name] for name in HEALTH if name in health}}
    return found or [("well", well)]


def _collapse(health: dict, share: "list[float]") -> "list[tuple[str, dict]]":
    "Empty clusters, and clusters that hold far too much."
    k, found = len(share), []
    if not all(math.isfinite(x) for x in share):
        return [("diverged", {})]
    largest = max(range(k), key=lambda i: share[i], default=0)
    if k > 1 and share[largest] > 0.9:
        return [("collapse", {"cluster": largest, "share": share[largest]})]
    if k > 2 and share[largest] > max(3 / k, 0.2):
        found.append(("large", {"cluster": largest, "share": share[largest], "times": share[largest] * k}))
    empty = health.get("n_empty", 0)
    if empty:
        found.append(("empty", {"empty": empty, "k": k, "verb": "is" if empty == 1 else "are"}))
    return found


def _views(health: dict) -> "list[tuple[str, dict]]":
    "Assignments that are nearly uniform; views that land in different clusters, or agree only because nearly everything is in one."
    entropy, agreement, information = (
        health.get(name) for name in ("assignment_entropy", "view_agreement", "view_information")
    )
    found = [("undecided", {"entropy": entropy})] if entropy is not None and entropy > 0.8 else []
    poor, even = information is not None and information < 0.4, health.get("balance_entropy", 0) > 0.9
    if agreement is not None and (
        agreement < 0.7 or (poor and even)
    ):  # of few clusters of one size, chance makes many agree
        found.append(
            ("disagree", {"agreement": agreement, "chance": sum(x * x for x in health.get("cluster_share", []))})
        )
    elif poor:
        found.append(("little", {"information": information}))
    return found


def _twins(share: "list[float]", alike: "np.ndarray | None") -> "list[tuple[str, dict]]":
    "The most alike pair of clusters that have images, if the network can hardly decide between them."
    if alike is None or len(share) != len(alike):
        return []
    used = np.array(share) >= 0.1 / len(share)
    pairs = np.triu(np.where(used[:, None] & used, alike, 0), 1)
    first, second = divmod(int(pairs.argmax()), len(share))
    return (
        [("twins", {"first": first, "second": second, "likeness": float(pairs[first, second])})]
        if pairs[first, second] > 0.8
        else []
    )
