"""What the health of a run means, in plain words: what is wrong, and what to try."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Evaluated, Event, RunStarted, SnapshotTaken
from dcacn_nb.core.words import LANGUAGES, load_words
from dcacn_nb.report.health import HEALTH, similarity

SENTENCES = {  # language -> finding, name of a number, or part of an advice -> text
    lang: {
        key: text for texts in load_words(Path(__file__).parent / "words", lang).values() for key, text in texts.items()
    }
    for lang in LANGUAGES
}
ADVICE = {  # finding -> settings that may help, in the order in which to try them; +1: raise it, -1: lower it
    "diverged": (("lr", -1), ("warmup_epochs", +1)),
    "collapse": (("balance_weight", +1), ("lr", -1), ("warmup_epochs", +1)),
    "large": (("balance_weight", +1), ("epochs", +1)),
    "empty": (("balance_weight", +1), ("epochs", +1), ("n_clusters", -1)),
    "undecided": (("epochs", +1), ("cluster_temperature", -1), ("balance_weight", -1)),
    "twins": (("epochs", +1), ("cluster_weight", +1), ("n_clusters", -1)),
    "disagree": (("epochs", +1), ("global_scale", +1), ("jitter", -1), ("flip", -1)),
    "little": (("balance_weight", +1),),
    "loose": (("n_clusters", -1),),
}
SEVERITY = {
    "diverged": "bad",
    "collapse": "bad",
    "by_chance": "bad",
    "unknown": "note",
    "well": "good",
    **dict.fromkeys(("large", "empty", "undecided", "twins", "disagree", "little", "loose", "same"), "warning"),
}
VERDICTS = {  # verdict -> severity; the first that applies is the verdict, the last two need no finding
    "failed": "bad",
    "unknown": "note",
    "diverged": "bad",
    "collapse": "bad",
    "undecided": "bad",
    "by_chance": "bad",
    "labels": "bad",
    "same": "warning",
    "unclear": "warning",
    "loose": "warning",
    "disagree": "warning",
    "warning": "warning",
    "well": "good",
    "plain": "good",
}
# measured with K-Means on EfficientNet-Lite0 features of photos, digits and hand signs, 400 to 2,527 images, 6 to 30
# clusters: 0.61 to 0.79; features of the same covariance without groups: 0.50 to 0.56; shuffled features: 0.18 to 0.26
NEIGHBOURS_LOW, NEIGHBOURS_LOOSE = 0.35, 0.58  # neighbour agreement corrected for chance
ALL_ALIKE = (
    0.9  # mean cosine of two images: photos 0.38, hand signs 0.76, digits 0.85; noise 0.96, blobs of colour 0.91
)
NO_BETTER = 0.02  # ACC this near to chance is chance
USUAL = {"balance_weight": 1}  # named where the present value is smaller
LEAST = {"n_clusters": 2}  # a setting at its least is not to be lowered; others: 0


class Finding(str):
    "A finding as a sentence, with its key and its severity."

    key: str  # of SEVERITY, or of VERDICTS
    severity: str  # "bad", "warning", "note" or "good"

    def __new__(cls, text: str, key: str, severity: "str | None" = None):
        finding = super().__new__(cls, text)
        finding.key, finding.severity = key, severity or SEVERITY[key]
        return finding


def diagnose(
    health: "dict | Sequence[Event]",  # the health of an Evaluated event, or the events of a run: their last
    lang: str = "en",  # or "zh", simplified Chinese
    config: "dict | None" = None,  # the run's settings, for the advice; None: those of RunStarted among the events
    alike: "np.ndarray | None" = None,  # (K,K) `similarity` of the clusters; None: of the last snapshot in the events
) -> "list[Finding]":  # sentences, one finding each, the most serious first; never empty
    "What the numbers that need no labels mean, in plain words: what is wrong, and what to try."
    words = SENTENCES[check_in("lang", lang, list(SENTENCES))]
    if not isinstance(health, dict):
        events = list(health)
        last = lambda kind, part: next((part(e) for e in reversed(events) if isinstance(e, kind)), None)
        config = last(RunStarted, lambda e: e.config) if config is None else config
        alike = last(SnapshotTaken, _snapshot_similarity) if alike is None else alike
        health = last(Evaluated, lambda e: e.health)
    found = [("unknown", {})] if health is None else _findings(health, alike)
    raised = {setting for key, _ in found for setting, way in ADVICE.get(key, ()) if way > 0}
    return [
        Finding(_sentence(words, key, values) + _advice(words, key, config or {}, raised), key) for key, values in found
    ]


def verdict(
    findings: "Sequence[Finding]",  # what `diagnose` found
    health: "dict | None" = None,  # of the last Evaluated event
    reason: "str | None" = None,  # why the run ended; None: it has not
    scores: "dict | None" = None,  # of the last Evaluated event, if there are labels
    chance: "dict | None" = None,  # scores of random assignments to clusters of these sizes
    clear: "bool | None" = None,  # whether the choice of a number of clusters found any groups; None: not looked at
    lang: str = "en",  # or "zh", simplified Chinese
    unsure: "dict[int, float] | None" = None,  # clusters sure for clearly fewer images than others -> share of the sure
) -> Finding:
    "Whether the groups can be used, in a sentence or two for someone who did not run it."
    words = SENTENCES[check_in("lang", lang, list(SENTENCES))]
    keys = {finding.key for finding in findings} - {"well"}
    said = keys | ({"failed"} if reason == "failed" else set()) | ({"warning"} if keys else set())
    acc, by_chance = (values.get("acc") for values in (scores or {}, chance or {}))  # a file may hold only some scores
    if acc is not None and by_chance is not None and acc - by_chance < NO_BETTER:
        said.add("labels")
    said |= {"unclear"} if clear is False else set()
    said.add("well" if {"view_agreement", "neighbour_agreement"} & set(health or {}) else "plain")
    key = next(key for key in VERDICTS if key in said)
    more = _look_first(words, unsure) if unsure and VERDICTS[key] == "good" else ""
    return Finding(words[f"verdict_{key}"] + more, key, VERDICTS[key])


def _look_first(words: dict, unsure: "dict[int, float]") -> str:
    "Which clusters to look at first."
    *most, last = map(str, sorted(unsure))
    clusters = words["and"].join([words["comma"].join(most), last]) if most else last
    return words["look_first_at" if most else "look_first"].format(clusters=clusters, share=max(unsure.values()))


def _snapshot_similarity(snapshot: SnapshotTaken) -> "np.ndarray | None":
    "How alike the clusters are in a snapshot; None if it has no finite assignments."
    p = snapshot.arrays.get("p")
    return similarity(p) if p is not None and p.ndim == 2 and p.size and np.isfinite(p).all() else None


def _advice(words: dict, key: str, config: dict, raised: "set[str]") -> str:
    "What to try, with the present settings; nothing that the run does not have, or that is at its end already."
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
    "A setting as you would type it; pairs in round brackets, although JSON made lists of them."
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_setting, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(words: dict, key: str, values: dict) -> str:
    "One finding in one language."
    if "chance" in values:
        values = values | {"chance": words["chance"].format(chance=values["chance"]) if values["chance"] else ""}
    if "figures" in values:
        numbers = [f"{words['comma']}{words[name]} {value:.2f}" for name, value in values["figures"].items()]
        values = values | {"figures": "".join(numbers)}
    return words[key].format(**values)


def _findings(health: dict, alike: "np.ndarray | None" = None) -> "list[tuple[str, dict]]":
    "What is wrong, as keys of SENTENCES with their numbers; or that nothing is."
    share = health.get("cluster_share") or health.get("cluster_mass") or []
    found = _collapse(health, share) + _neighbours(health, share) + _views(health)
    if health.get("assignment_entropy", 0) > 0.8 and health.get("balance_entropy", 0) > 0.95:
        # all probabilities are about even: which one is the largest is an accident
        found = [pair for pair in found if pair[0] == "undecided"]
    keys = {key for key, _ in found}
    if not keys & {"collapse", "diverged", "undecided"}:
        found += _twins(share, alike)
    if "collapse" in keys:
        found = [(key, values) for key, values in found if key not in ("by_chance", "loose")]
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


def _neighbours(health: dict, share: "list[float]") -> "list[tuple[str, dict]]":
    "Features that are all alike; images that the encoder finds alike, but that are in different clusters."
    alike, agreement = health.get("feature_similarity"), health.get("neighbour_agreement")
    found = [("same", {"alike": alike})] if alike is not None and alike > ALL_ALIKE else []
    expected = sum(x * x for x in share)
    if agreement is None or not expected < 0.99:  # one cluster holds all: chance is 1, and "collapse" says so
        return found
    lift = (agreement - expected) / (1 - expected)
    if lift >= NEIGHBOURS_LOOSE:
        return found
    return [("by_chance" if lift < NEIGHBOURS_LOW else "loose", {"agreement": agreement, "expected": expected}), *found]


def _views(health: dict) -> "list[tuple[str, dict]]":
    "Nearly uniform assignments; views in different clusters, or that agree only because nearly all are in one."
    entropy, agreement, information = (
        health.get(name) for name in ("assignment_entropy", "view_agreement", "view_information")
    )
    found = [("undecided", {"entropy": entropy})] if entropy is not None and entropy > 0.8 else []
    poor, even = information is not None and information < 0.4, health.get("balance_entropy", 0) > 0.9
    # of few clusters of one size, chance alone makes many views agree
    if agreement is not None and (agreement < 0.7 or (poor and even)):
        chance = sum(x * x for x in health.get("cluster_share", []))
        found.append(("disagree", {"agreement": agreement, "chance": chance}))
    elif poor:
        found.append(("little", {"information": information}))
    return found


def _twins(share: "list[float]", alike: "np.ndarray | None") -> "list[tuple[str, dict]]":
    "The most similar pair of clusters that have images, if the network can hardly decide between them."
    if alike is None or len(share) != len(alike):
        return []
    used = np.array(share) >= 0.1 / len(share)
    pairs = np.triu(np.where(used[:, None] & used, alike, 0), 1)
    first, second = divmod(int(pairs.argmax()), len(share))
    if not pairs[first, second] > 0.8:
        return []
    return [("twins", {"first": first, "second": second, "similarity": float(pairs[first, second])})]
