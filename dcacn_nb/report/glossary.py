"""The words that a report uses, each explained in a sentence or two for someone who did not run it."""

from dcacn_nb.report.health import HEALTH
from dcacn_nb.report.record import RunRecord

HEALTH_EXPLAINED = {  # numbers of `HEALTH`
    "view_information": "How much the cluster of one view of an image says about the cluster of another view of it: 0 "
    "is nothing, as when one cluster holds all images; 1 is everything, which takes clusters of one size.",
    "view_agreement": "How often two distorted copies of an image, its views, are put into the same cluster.",
    "balance_entropy": "1 if all clusters are of one size, 0 if one cluster holds all images.",
    "assignment_entropy": "How undecided the method is about single images: 0 if it is certain of the cluster of each, "
    "1 if all clusters are equally likely for each.",
    "neighbour_agreement": "How often an image and one of its ten most similar images are in the same cluster.",
    "neighbour_information": "How much the cluster of an image says about the clusters of its ten most similar images: "
    "0 is nothing, as when one cluster holds all images; 1 is everything, which takes clusters of one size.",
}
LOSSES_EXPLAINED = {  # terms of all methods of this package
    "total": "The weighted sum of the loss terms: the number that training makes small.",
    "instance": "Small if what belongs together (two views of an image, or an image and a similar one) has similar "
    "features, and different images have different ones.",
    "cluster": "Small if what belongs together is in one cluster, and the clusters are clearly apart.",
    "balance": "Small if all clusters are of one size. It keeps the images from ending up in one cluster.",
    "overcluster": "The same as cluster, for a second and finer division of the images that only helps the first.",
    "reconstruction": "Small if the images can be drawn again from their features.",
    "alignment": "Small if the features of one view foretell those of the other view of the same image.",
    "prototype": "Small if the centres of the clusters are the same in both views, and far from one another.",
    "selflabel": "Small if strongly distorted views of an image fall into the cluster of which the network is sure.",
    "sure": "Not a loss: the share of images of which the network is sure, and from which it learns.",
    "inertia": "Mean squared distance of an image from the centre of its cluster.",
    "cosine_distance": "Mean distance, by the cosine, of an image from the centre of its cluster.",
    "log_density_cost": "How unlikely the images are under the mixture of Gaussians that was fitted to them.",
    "best_head": "The loss of the best of several heads that are trained together.",
    "agreement": "Not a loss: how alike the clusters of an image and of one of its neighbours are.",
    "error": "Small if a simple classifier can learn the clusters as if they were labels.",
}
CRITERIA = {  # of the choice of a number of clusters: name in the picture, and what it is
    "together": (
        "together",
        "The weighted sum of the next four. The choice is the number where it is largest; the shaded "
        "range holds the numbers that are about as good.",
    ),
    "neighbours": (
        "neighbours agree",
        "How much more often an image and its most similar images are in the same cluster than chance would give.",
    ),
    "information": (
        "neighbours' information",
        "How much the cluster of an image says about the clusters of its most similar images.",
    ),
    "silhouette": (
        "silhouette",
        "How compact the clusters are, and how far apart. On photos it often prefers two or three large clusters.",
    ),
    "coding": (
        "coding length",
        "How short a description of all images becomes if each cluster is described by itself.",
    ),
    "stability": (
        "halves agree",
        "Whether K-Means finds the same clusters in two random parts of the images. Only shown, not counted.",
    ),
    "prediction": (
        "found by a classifier",
        "How well a simple classifier that learns the clusters finds them again in images that it has not seen. Only "
        "shown, not counted.",
    ),
}
WHY_TOGETHER = (
    "Each curve runs from its worst to its best value; the marker, and the number after its name, say where it is "
    "best. The curves ask different questions, so they name different numbers, and none of them decides alone: on "
    "image sets of which the groups are known, their sum was right more often than any one of them."
)
WORDS = {  # all others
    "Cluster, group": "A cluster is a set of images that the method put together; it has a number. A group is what a "
    "person makes of clusters by naming and merging them.",
    "Confidence": "The probability that the method gives to an image's own cluster, from 1/K to 1 for K clusters.",
    "Median confidence": "The confidence of the middle image of a cluster: half of its images have more, half less.",
    "Snapshots' sample": "A snapshot keeps what the method makes of some images at one moment of the run. They are the "
    "same ones in all snapshots: a sample, drawn at random; of a small set, all images.",
    "Encoder, features": "An encoder turns an image into a list of numbers, its features. Images that look alike to "
    "the encoder have similar features.",
    "Collapse": "The failure in which nearly all images end up in one cluster.",
    "Mass of a cluster": "Its share of the images, where an image of which the method is unsure counts in part.",
    "Similarity of clusters": "1 if the method cannot tell two clusters apart, 0 if no image is between them.",
    "Cluster head set": "The moment in training at which K-Means on the features gave the network its first clusters.",
    "ACC": "Accuracy: the share of images in the right cluster, after each cluster was matched with at most one class "
    "so that most images fit.",
    "NMI": "Normalised mutual information: how much clusters say about classes. 0 is nothing, 1 is everything.",
    "ARI": "Adjusted Rand index: how often two images are together, or apart, in both. 0 is chance, 1 is perfect.",
    "K-Means": "The simplest method of clustering. What is not better is not worth its effort.",
    "Epoch, loss": "An epoch is one pass over all images. The loss is the number that training makes small; its value "
    "says nothing about how good the groups are.",
    "Learning rate": "How far each step of the training moves the network.",
}


def glossary(
    record: RunRecord,
    said: str,  # the verdict and all findings
    frozen: bool,  # whether the run is on features that were computed before
    graded: bool,  # whether there are degrees of confidence
    scores: bool,  # whether there are labels to compare with
    number: bool,  # whether the number of clusters was chosen
) -> "dict[str, str]":  # word -> what it means; only words that the page uses
    "What the words of a report mean."
    health = {name for event in record.evaluations for name in event.health}
    losses = {name for event in (*record.steps, *record.epochs) for name in event.losses}
    used = dict.fromkeys(WORDS, True) | dict.fromkeys(("ACC", "NMI", "ARI"), scores)
    used |= {
        "Median confidence": graded,
        "Encoder, features": frozen,
        "Collapse": "collapse" in said.lower(),
        "Mass of a cluster": "cluster_mass" in health,
        "Similarity of clusters": any("p" in snapshot.arrays for snapshot in record.snapshots),
        "Cluster head set": record.head_set is not None,
        "K-Means": scores or number or record.head_set is not None,
        "Learning rate": bool(record.steps),
    }
    return {
        **{word: text for word, text in WORDS.items() if used[word]},
        **{HEALTH[key].capitalize(): text for key, text in HEALTH_EXPLAINED.items() if key in health},
        **{f"{name} (loss)": text for name, text in LOSSES_EXPLAINED.items() if name in losses},
    }
