"What the health of a run means: each rule from both sides of its threshold, advice, and two languages."

import string

import numpy as np
import pytest

from dcacn_nb.core.events import Evaluated, RunStarted, SnapshotTaken
from dcacn_nb.method.metrics import assignment_health
from dcacn_nb.report.clusters_shown import Shown, unsure_clusters
from dcacn_nb.report.diagnosis import ADVICE, SENTENCES, SEVERITY, VERDICTS, diagnose, verdict
from dcacn_nb.report.diagnosis import NEIGHBOURS_LOOSE as LOOSE
from dcacn_nb.report.diagnosis import NEIGHBOURS_LOW as LOW
from dcacn_nb.report.health import HEALTH, similarity

CLUSTER = np.arange(500) % 5
CERTAIN = 0.01 + 0.95 * np.eye(5)[CLUSTER]


def normal(p: np.ndarray) -> np.ndarray:
    "Rows that sum to one."
    return p / p.sum(1, keepdims=True)


def twins() -> np.ndarray:
    "The images of clusters 1 and 3 are between the two."
    p, half = CERTAIN.copy(), np.arange(500) % 10 >= 5
    p[np.isin(CLUSTER, (1, 3))] = [0.01, 0.5, 0.01, 0.47, 0.01]
    p[half] = p[half][:, [0, 3, 2, 1, 4]]
    return p


def situations() -> "dict[str, tuple[np.ndarray, np.ndarray]]":
    "The ways in which deep clustering most often goes wrong, as assignments of two views."
    rng = np.random.default_rng(0)
    collapsed = np.full((500, 5), 0.01) + 0.95 * np.eye(5)[np.r_[np.zeros(480, int), np.arange(20) % 2]]
    uniform = np.full((500, 5), 0.2) + 1e-3 * rng.normal(size=(500, 5)).clip(-1, 1)
    three_empty = 0.001 + 0.99 * np.eye(10)[np.arange(700) % 7]
    return {
        "collapse": (collapsed, collapsed),
        "empty": (three_empty, three_empty),
        "undecided": (uniform, uniform),
        "twins": (twins(), twins()),
        "disagree": (CERTAIN, rng.permutation(CERTAIN)),
        "well": (CERTAIN, CERTAIN),
    }


@pytest.fixture(scope="module")
def findings(settings):
    "What is said of each situation, in each language; the settings are passed for the advice."
    said = {}
    for name, (a, b) in situations().items():
        health = assignment_health(normal(a), normal(b))
        said[name] = {lang: diagnose(health, lang, settings, similarity(normal(a))) for lang in SENTENCES}
    return said


def test_each_situation_is_recognised(findings):
    "One finding each, the same in both languages."
    assert {name: [f.key for f in said["en"]] for name, said in findings.items()} == {name: [name] for name in findings}
    assert all([f.key for f in said["en"]] == [f.key for f in said["zh"]] for said in findings.values())


@pytest.mark.parametrize(
    "name, lang, words",
    [
        ("collapse", "en", "Collapse: cluster 0 holds 98%"),
        ("collapse", "en", "raise balance_weight (now 0.5, usually 1)"),
        ("twins", "en", "Clusters 1 and 3 are near twins"),
        ("twins", "zh", "n_clusters（当前为 10）"),
        ("undecided", "en", "1.00, where 0 is certain"),
        ("well", "en", "No sign of collapse: all 5 clusters"),
    ],
)
def test_words(name, lang, words, findings):
    "The numbers are in the sentence, and the settings as they are now."
    assert words in findings[name][lang][0]


FINE = assignment_health(CERTAIN, CERTAIN)


def keys(health: dict, alike=None) -> "list[str]":
    "The findings, by key."
    return [finding.key for finding in diagnose(health, alike=alike)]


@pytest.mark.parametrize(
    "key, wrong, right",
    [
        ("collapse", {"cluster_share": [0.91, 0.09]}, {"cluster_share": [0.89, 0.11]}),
        ("large", {"cluster_share": [0.32] + [0.68 / 9] * 9}, {"cluster_share": [0.28] + [0.72 / 9] * 9}),
        ("undecided", {"assignment_entropy": 0.81}, {"assignment_entropy": 0.79}),
        ("disagree", {"view_agreement": 0.69}, {"view_agreement": 0.71}),
        (
            "little",
            {"view_information": 0.39, "balance_entropy": 0.89},
            {"view_information": 0.41, "balance_entropy": 0.89},
        ),
        ("empty", {"n_empty": 1}, {"n_empty": 0}),
    ],
)
def test_both_sides_of_each_threshold(key, wrong, right):
    "One finding on one side, none on the other."
    assert keys(FINE | wrong) == [key] and keys(FINE | right) == ["well"]


def test_even_clusters_are_not_too_few():
    "Little information in even clusters means that the views disagree."
    assert keys(FINE | {"view_information": 0.39, "view_agreement": 0.75, "balance_entropy": 0.91}) == ["disagree"]


def lifted(lift: float, share: "list[float]") -> dict:
    "Health in which neighbours agree this far above what is expected of clusters of these sizes."
    expected = sum(x * x for x in share)
    health = {"cluster_share": share, "cluster_mass": share, "assignment_entropy": 0.1, "balance_entropy": 0.9}
    return health | {"n_empty": 0, "neighbour_agreement": expected + lift * (1 - expected)}


@pytest.mark.parametrize("share", [[0.2] * 5, [0.45, 0.3, 0.15, 0.06, 0.04]], ids=["even", "uneven"])
def test_neighbours_are_compared_with_chance(share):
    "Both sides of each threshold, for clusters of any sizes: the raw agreement alone would not do."
    assert keys(lifted(LOW + 0.01, share)) == ["loose"] and keys(lifted(LOW - 0.01, share)) == ["by_chance"]
    assert keys(lifted(LOOSE + 0.01, share)) == ["well"] and keys(lifted(LOOSE - 0.01, share)) == ["loose"]


def test_features_that_are_all_alike():
    "Both sides of the threshold; with groups at chance, both are said."
    good = lifted(0.8, [0.2] * 5)
    assert keys(good | {"feature_similarity": 0.91}) == ["same"] and keys(good | {"feature_similarity": 0.89}) == [
        "well"
    ]
    assert keys(lifted(0.0, [0.2] * 5) | {"feature_similarity": 0.95}) == ["by_chance", "same"]


def test_a_collapse_says_it_already():
    "All images in one cluster agree with their neighbours, or not: one finding."
    assert keys(lifted(0.0, [0.95, 0.05])) == ["collapse"]


@pytest.mark.parametrize(
    "key, health, reason, scores",
    [
        ("failed", FINE, "failed", None),
        ("collapse", FINE | {"cluster_share": [0.91, 0.09]}, "completed", None),
        ("by_chance", lifted(0.0, [0.2] * 5), "completed", None),
        ("loose", lifted(LOOSE - 0.01, [0.2] * 5), "completed", None),
        ("labels", FINE, "completed", {"acc": 0.31}),
        ("disagree", FINE | {"view_agreement": 0.69}, "completed", None),
        ("warning", FINE | {"n_empty": 1}, "stopped", {"acc": 0.33}),
        ("well", FINE, "completed", {"acc": 0.33}),
        ("well", lifted(0.8, [0.2] * 5), None, None),
        ("plain", {"cluster_share": [0.5, 0.5]}, "completed", None),
    ],
)
def test_verdict(key, health, reason, scores):
    "One sentence for whoever did not run it: the worst that is known; labels count only against chance."
    said = verdict(diagnose(health), health, reason, scores, {"acc": 0.3})
    assert said.key == key and said.severity == VERDICTS[key]
    assert said == SENTENCES["en"][f"verdict_{key}"]


@pytest.mark.parametrize("scores, chance", [({"acc": 0.3}, {"nmi": 0.1}), ({"nmi": 0.2}, {"acc": 0.3})])
def test_scores_of_which_one_side_is_missing_are_not_compared(scores, chance):
    "A damaged reference.json, or one of another program, may hold only some of the scores."
    assert verdict(diagnose(FINE), FINE, "completed", scores, chance).key == "well"


def test_no_clear_groups_is_said():
    "What the choice of a number of clusters found counts; of a collapse there is worse to say."
    health = lifted(0.8, [0.2] * 5)
    assert verdict(diagnose(health), health, clear=False).key == "unclear"
    assert verdict(diagnose(health), health, clear=True).key == "well"
    assert verdict(diagnose(health | {"feature_similarity": 0.95}), health, clear=False).key == "same"


def test_the_verdict_names_the_clusters_to_look_at_first():
    "Where it is good; in both languages."
    said = lambda unsure, health=FINE, lang="en": verdict(diagnose(health), health, lang=lang, unsure=unsure)
    assert said({2: 0.54}).endswith("are together. Look first at cluster 2: only 54% of its images are sure.")
    three = said({7: 0.3, 5: 0.61, 2: 0.54})
    assert three.endswith("Look first at clusters 2, 5 and 7: at most 61% of the images in each of them are sure.")
    assert three.key == "well" and said({}) == SENTENCES["en"]["verdict_well"]
    assert said({2: 0.54}, FINE | {"n_empty": 1}) == SENTENCES["en"]["verdict_warning"], "there is worse to say"
    assert "请先看簇 2 和 5：" in said({2: 0.54, 5: 0.61}, lang="zh")


def test_clusters_that_are_clearly_less_sure_than_others():
    "Against the median cluster; a handful of images says nothing, nor a run in which no cluster is sure."

    def shown(*shares, size=20):
        confidence = np.concatenate([np.where(np.arange(size) < share * size, 0.95, 0.6) for share in shares])
        clusters = np.repeat(np.arange(len(shares)), size)
        return Shown(np.arange(len(clusters)), clusters, confidence, True)

    assert unsure_clusters(shown(0.9, 0.95, 0.55, 0.9, 0.75)) == {2: 0.55}
    assert list(unsure_clusters(shown(1, 0.5, 0.4, 0.3, 0.2, 1, 1, 1, 1))) == [4, 3, 2], "three, the least sure first"
    assert unsure_clusters(shown(0.1, 0.15, 0.05)) == unsure_clusters(shown(0.9, 1, 0, size=4)) == {}
    assert unsure_clusters(Shown(*np.zeros((2, 0), np.int64), np.zeros(0), True)) == {}


def test_nothing_known_is_no_verdict():
    "A run that was not evaluated is not praised."
    assert verdict(diagnose([])).key == "unknown" and verdict(diagnose([]), lang="zh").startswith("无法判断")


def test_undecided_is_not_collapse():
    "Of a network that has not begun to decide, sizes mean nothing; a little less even, they do."
    begun = {"assignment_entropy": 0.9, "cluster_share": [1.0, 0, 0, 0, 0], "view_agreement": 0.6}
    assert keys(FINE | begun | {"balance_entropy": 0.96}) == ["undecided"]
    assert keys(FINE | begun | {"balance_entropy": 0.94}) == ["collapse", "undecided", "disagree"]


def test_twins_need_images():
    "From a similarity of 0.8 on; the similarity of a cluster without images means nothing."
    pair = lambda value: np.eye(5) + value * (np.add.outer(range(5), range(5)) == 1)
    unused = FINE | {"cluster_share": [0.01, 0.24, 0.25, 0.25, 0.25]}
    assert keys(FINE, pair(0.81)) == ["twins"] and keys(FINE, pair(0.79)) == ["well"]
    assert keys(unused, pair(0.81)) == ["well"]


def test_the_last_snapshot_is_compared(settings):
    "From the events of a run, twins are found in the last snapshot."
    run = [RunStarted("dcacn", settings | {"balance_weight": 1.0}, {}, 300, 1, 1), Evaluated(1, 1, FINE)]
    snapshot = SnapshotTaken(1, 1, np.arange(500), {"p": twins().astype(np.float32)})
    assert diagnose([*run, snapshot])[0].key == "twins" and diagnose(run)[0].key == "well"


def test_not_evaluated_yet(settings):
    "A run that has only begun is not called healthy."
    found = diagnose([RunStarted("dcacn", settings, {}, 300, 1, 1)])
    assert [(f.key, f.severity) for f in found] == [("unknown", "note")]


LONELY = FINE | {"n_empty": 1}
UNDECIDED = FINE | {"assignment_entropy": 0.9, "balance_entropy": 0.94}


@pytest.fixture
def advised(settings):
    "Findings about a run with this weight on balance."

    def advised(weight, health, lang="en"):
        config = settings | {"balance_weight": weight}
        return diagnose([RunStarted("dcacn", config, {}, 300, 1, 1), Evaluated(1, 1, health)], lang)

    return advised


def test_advice_names_the_present_value(advised):
    "And the usual one, where the present one is smaller."
    assert "1 of 5 clusters is empty" in advised(0.0, LONELY)[0]
    assert "raise balance_weight (now 0, usually 1)" in advised(0.0, LONELY)[0]
    assert "balance_weight（当前为 0.25，通常为 1）" in advised(0.25, LONELY, "zh")[0]
    assert "raise balance_weight (now 1);" in advised(1.0, LONELY)[0]
    assert "(now" not in diagnose(UNDECIDED)[0] and "raise balance_weight (usually 1)" in diagnose(LONELY)[0]


def test_advice_never_contradicts_itself(advised):
    "What is at its least is not lowered, nor what another finding asks to raise."
    assert "lower balance_weight (now 2)" in advised(2.0, UNDECIDED)[0]
    assert "balance_weight" not in advised(0.0, UNDECIDED)[0]
    assert "balance_weight" not in advised(2.0, UNDECIDED | {"n_empty": 1})[1]


def test_advice_names_only_settings_of_the_run():
    "K-Means has no weight on balance."
    words = diagnose(LONELY, config={"n_clusters": 5, "seed": 0})[0]
    assert words.endswith("What to try: lower n_clusters (now 5) if you expect fewer groups.")
    assert diagnose(LONELY, config={"n_clusters": 2})[0].endswith("even share)."), "nothing that this run could change"


def test_tables_fit_together(settings):
    "Every advice is a setting; every finding has a severity and a sentence."
    assert {setting for steps in ADVICE.values() for setting, _ in steps} <= set(settings)
    assert set(ADVICE) | {"unknown", "well", "by_chance", "same"} == set(SEVERITY) and set(SEVERITY) <= set(
        SENTENCES["en"]
    )
    assert {f"verdict_{key}" for key in VERDICTS} == {key for key in SENTENCES["en"] if key.startswith("verdict_")}
    assert all(SENTENCES["en"][key] == name for key, name in HEALTH.items())


def placeholders(words: dict) -> "dict[str, list[str]]":
    "Key -> what its text fills in (the verb is grammar: Chinese needs none)."
    names = lambda text: {name for _, name, _, _ in string.Formatter().parse(text) if name}
    return {key: sorted(names(text) - {"verb"}) for key, text in words.items()}


def test_both_languages_say_the_same():
    "The same keys, and in each text the same numbers; a translation that forgets one is caught."
    assert placeholders(SENTENCES["en"]) == placeholders(SENTENCES["zh"])
    forgetful = SENTENCES["zh"] | {"collapse": "坍缩：簇 {cluster} 占了大多数图像。"}
    assert placeholders(SENTENCES["en"]) != placeholders(forgetful), "the wrong variant must be caught"


def test_unknown_language():
    "Two languages are known."
    with pytest.raises(ValueError, match="lang must be one of 'en', 'zh', got 'fr'"):
        diagnose(FINE, lang="fr")
