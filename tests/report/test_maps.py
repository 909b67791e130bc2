"PCA, Procrustes and t-SNE against independent references; maps of a run in which points move and do not jump."

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE, trustworthiness

from dcacn_nb.report.maps import METHODS, MapSequence, align, leading_components, pca, tsne

L = np.array([[0.0, 3], [0, 2], [0, 1], [0, 0], [1.5, 0]])  # a letter: mirrored, it is another shape


def spread(points) -> float:
    "Root mean square distance from the mean."
    points = np.asarray(points, float)
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def unit(points) -> np.ndarray:
    "Centred, of spread 1."
    points = np.asarray(points, float)
    return (points - points.mean(0)) / spread(points)


def moved(maps) -> "list[float]":
    "Mean distance that a point covers, from map to map."
    return [float(np.linalg.norm(b - a, axis=1).mean()) for a, b in zip(maps, maps[1:])]


@pytest.fixture(scope="module")
def film():
    "Features of 400 digits in five steps from noisy pixels towards class means, each in axes of its own."
    digits, n, rng = load_digits(), 400, np.random.default_rng(0)
    label, pixels = digits.target[:n], digits.data[:n] / 16
    mean_of = np.stack([pixels[label == k].mean(0) for k in range(10)])[label]
    noise = 0.3 * rng.normal(size=pixels.shape)

    def snapshot(t):
        axes = np.linalg.qr(np.random.default_rng(int(100 * t)).normal(size=(64, 64)))[0]
        return ((1 - t) * (pixels + noise) + t * (0.3 * pixels + 0.7 * mean_of)) @ axes

    return [snapshot(t) for t in np.linspace(0, 1, 5)]


@pytest.fixture(scope="module")
def continued(film):
    "t-SNE as a sequence shows it."
    sequence = MapSequence("tsne")
    return [sequence.add(h) for h in film]


@pytest.fixture(scope="module")
def scratch(film):
    "t-SNE from scratch for each snapshot, as it comes."
    return [tsne(h) for h in film]


@pytest.mark.parametrize("shape", [(3, 5), (40, 2), (40, 1), (300, 64), (20, 100)])
def test_pca_is_the_definition(shape):
    "Eigenvectors of the covariance matrix, by another routine: distances and share of the variance agree."
    rng = np.random.default_rng(0)
    h = rng.normal(size=shape) * rng.gamma(1, size=shape[1]) + 5
    points, explained = pca(h)
    values, vectors = np.linalg.eigh(np.cov(h.T).reshape(shape[1], shape[1]))
    expected = (h - h.mean(0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(pdist(points), pdist(expected), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explained, values[::-1][:2].sum() / values.sum(), rtol=1e-9)
    assert points.shape == (shape[0], 2) and points.dtype == np.float32 and np.abs(points.mean(0)).max() < 1e-5


def best_by_force(points, target) -> float:
    "The smallest distance over 3,600 angles, with and without mirroring."
    shape, goal, best = unit(points), unit(target), np.inf
    for angle in np.linspace(0, 2 * np.pi, 3600, endpoint=False):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        best = min(best, *(np.linalg.norm(shape * mirror @ turn - goal) for mirror in ([1, 1], [1, -1])))
    return best


@pytest.mark.parametrize("seed", range(10))
def test_align_is_procrustes(seed):
    "SciPy's rotation, SciPy's whole fit (which shrinks: ours keeps the spread), and no angle comes closer."
    draw = np.random.default_rng(seed)
    target = draw.normal(size=(30, 2)) * [2, 1] + draw.normal(size=2)
    points = target @ np.linalg.qr(draw.normal(size=(2, 2)))[0] * 3 + draw.normal(size=(30, 2)) * seed / 3
    shape, goal, ours = unit(points), unit(target), unit(align(points, target))
    np.testing.assert_allclose(ours, shape @ orthogonal_procrustes(shape, goal)[0], atol=1e-5)
    _, fitted, disparity = procrustes(target, points)
    np.testing.assert_allclose(unit(fitted), ours, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fitted), np.sqrt(1 - disparity), atol=1e-9)
    assert np.linalg.norm(ours - goal) < best_by_force(points, target) + 1e-5
    np.testing.assert_allclose(spread(align(points, target)), spread(target), rtol=1e-5)


def test_align_mirrors():
    "An L that was mirrored, turned, moved and made larger comes back; the wrong variant turns only."
    turn = np.array([[np.cos(2.2), -np.sin(2.2)], [np.sin(2.2), np.cos(2.2)]])
    later = 1.5 * (L * [-1, 1]) @ turn + [1, 2]
    np.testing.assert_allclose(align(later, L), L, atol=1e-5)
    u, _, vt = np.linalg.svd(unit(later).T @ unit(L))
    turned_only = unit(later) @ (u * [1, np.sign(np.linalg.det(u @ vt))]) @ vt
    assert np.linalg.norm(turned_only - unit(L)) > 0.5, "the wrong variant must be caught"


def kept_neighbours(h, points, k=10) -> float:
    "Mean share of the k nearest in the map that are among the k nearest in the features."
    far = 1e9 * np.eye(len(h))
    nearest = [np.argsort(((x[:, None] - x) ** 2).sum(-1) + far, axis=1)[:, :k] for x in (h, points)]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(*nearest)])


@pytest.mark.parametrize("t", [0, 4])
def test_tsne_keeps_neighbours(t, film, continued, scratch):
    "As well as scikit-learn's t-SNE, which is another program; a PCA plane is clearly worse."
    h = film[t]
    theirs = TSNE(init="pca", random_state=0, n_jobs=1).fit_transform(h)
    quality = lambda points: (trustworthiness(h, points, n_neighbors=10), kept_neighbours(h, points))
    trust, kept = quality(theirs)
    for points in (continued[t], scratch[t]):
        assert quality(points)[0] > trust - 0.01 and quality(points)[1] > kept - 0.03
    assert quality(pca(h)[0])[1] < kept - 0.1


def test_points_move_and_do_not_jump(film, continued, scratch):
    "In units of the spread; three wrong variants: from scratch, the same but aligned, PCA as it comes."
    fresh = [unit(points) for points in scratch]
    aligned, plane = [fresh[0]], MapSequence("pca")
    for points in fresh[1:]:
        aligned.append(align(points, aligned[-1]))
    planes, naive = [plane.add(h) for h in film], [unit(pca(h)[0]) for h in film]
    assert max(moved(continued)) < 0.3 and max(moved(planes)) < 0.4
    mean = lambda maps: np.mean(moved(maps))
    assert mean(fresh) > 5 * mean(continued) and mean(aligned) > 2.5 * mean(continued), "must be caught"
    assert mean(naive) > 5 * mean(planes), "must be caught"


def test_no_library_is_asked_for_that_compiles_first(monkeypatch):
    "pynndescent compiles for a minute at its first use; the exact neighbours are those that openTSNE finds by name."
    from openTSNE import affinity

    points = np.random.default_rng(0).normal(size=(60, 5))
    monkeypatch.setattr(affinity, "is_package_installed", lambda name: False)
    expected = affinity.PerplexityBasedNN(points, perplexity=59 / 3, method="exact", random_state=0).P
    made, real = [], affinity.PerplexityBasedNN

    def kept(*args, **options):
        made.append(real(*args, **options))
        return made[-1]

    monkeypatch.setattr(affinity, "PerplexityBasedNN", kept)
    monkeypatch.setattr(affinity, "is_package_installed", lambda name: pytest.fail(f"{name} is imported"))
    tsne(points, n_iter=1)
    assert abs(made[0].P - expected).max() < 1e-6 < expected.max()


def test_a_sequence_can_be_continued(film, continued, scratch):
    "Four more sequences, each started with what one takes from the last; `raw` is right, what was shown is not."

    def relay(give):
        sequence, maps = MapSequence("tsne", start=scratch[0]), continued[:1]
        for h in film[1:]:
            sequence = MapSequence("tsne", start=give(sequence, maps[-1]))
            maps.append(sequence.add(h))
        return maps

    apart = [
        max(np.linalg.norm(a - b, axis=1).mean() for a, b in zip(relay(give), continued))
        for give in (lambda sequence, shown: sequence.raw, lambda sequence, shown: shown)
    ]
    assert apart[0] < 0.06 and apart[1] > 2.5 * apart[0], "the wrong variant must be caught"


def test_start_is_taken_as_it_is(film, continued, scratch):
    "Shrunk to 1e-4, points move farther for nothing and have not grown back; the same arguments, the same points."
    first = scratch[2]
    right, shrunk = tsne(film[3], first), tsne(film[3], 1e-4 * unit(first))
    distance = [np.linalg.norm(unit(points) - unit(first), axis=1).mean() for points in (right, shrunk)]
    assert 1.5 * distance[0] < distance[1]
    assert abs(spread(right) / spread(first) - 1) < 0.15 and spread(shrunk) < 0.92 * spread(first)
    assert np.array_equal(right, tsne(film[3], first))
    np.testing.assert_array_equal(continued[0], unit(scratch[0]).astype(np.float32))
    few = [tsne(film[2][:60], seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(few[0], few[1]) and not np.array_equal(few[0], few[2])


@pytest.mark.parametrize("method", METHODS)
def test_collapse_is_one_point(method, film):
    "And the next map continues from the last that was more than a point."
    sequence, same = MapSequence(method), np.tile(film[0][:1], (50, 1))
    maps = [sequence.add(h) for h in (film[0][:50], same, film[0][:50])]
    assert spread(maps[1]) == 0 and moved(maps[::2])[0] < (1e-4 if method == "pca" else 0.1)


@pytest.mark.parametrize("method", METHODS)
def test_odd_features(method, film):
    "Three images, one feature, tiny ones, ones far away, repeated ones: a map of spread 1."
    few = film[0][:50]
    for h in (film[0][:3], film[0][:20, :1], few * 1e-12, few + 1e3, np.repeat(film[0][:5], 10, axis=0)):
        points = MapSequence(method).add(h)
        assert points.shape == (len(h), 2) and abs(spread(points) - 1) < 1e-3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda h: pca(np.where(np.arange(len(h))[:, None] == 3, np.nan, h)), "h must be finite, got 64 values"),
        (lambda h: pca(h[:2]), r"h must be a matrix \(N,D\) with N >= 3"),
        (lambda h: tsne("h"), "h must be a matrix of numbers, got str"),
        (lambda h: tsne(h, start=L), "start must hold a position for each of the 400 rows"),
        (lambda h: tsne(h, perplexity=0), "perplexity must be a number >= 1, got 0"),
        (lambda h: tsne(h, n_iter=0), "n_iter must be >= 1, got 0"),
        (lambda h: align(L, L[:4]), "got 5 and 4 rows"),
        (lambda h: MapSequence("umap"), "method must be one of 'pca', 'tsne', got 'umap'"),
    ],
)
def test_refused(call, message, film):
    "What cannot be drawn is refused, by name."
    with pytest.raises((ValueError, TypeError), match=message):
        call(film[0])


def test_other_images_refused(film):
    "A sequence is of the same images throughout."
    running = MapSequence("pca")
    running.add(film[0])
    with pytest.raises(ValueError, match="h must hold the same 400 images as before, got 10 rows"):
        running.add(film[0][:10])


# ---- very many rows
def test_components_of_many_rows_equal_scikit_learns():
    "Twenty thousand rows, in pieces: the same plane and the same shares as PCA of the whole; NaN is counted."
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    h = (rng.normal(size=(20_000, 12)) @ rng.normal(size=(12, 12)) + 5).astype(np.float32)
    rows, shares = leading_components(h, 3)
    reference = PCA(3, svd_solver="full").fit(h.astype(float))
    expected = reference.transform(h.astype(float))
    signs = np.sign((rows * expected).sum(0))
    assert np.allclose(rows * signs, expected, atol=1e-4) and np.allclose(shares, reference.explained_variance_ratio_)
    assert leading_components(h[:, :2], 50)[0].shape == (20_000, 2)
    h[9_000, 1] = np.nan
    with pytest.raises(ValueError, match="got 1 values that are NaN"):
        leading_components(h, 3)


def test_rows_that_were_not_fitted_stand_among_their_own():
    "t-SNE of 100 digits, 300 placed: a placed digit's neighbours among the fitted are mostly of its class."
    from sklearn.neighbors import KNeighborsClassifier

    digits = load_digits()
    h, label, fitted = digits.data[:400], digits.target[:400], np.arange(400) % 4 == 0
    points = tsne(h, fitted=100, n_iter=200)
    score = KNeighborsClassifier(5).fit(points[fitted], label[fitted]).score(points[~fitted], label[~fitted])
    assert score > 0.8 and len(np.unique(points.round(4), axis=0)) > 390  # not heaped upon one another
    moved_on = tsne(h + 0.01, points, fitted=100)
    assert np.linalg.norm(moved_on - points, axis=1).mean() < 0.5 * spread(points)
    assert tsne(h[:4], fitted=3, n_iter=1).shape == (4, 2)
