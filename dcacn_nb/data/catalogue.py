"""The public sources as tables: how many images, under which licence, and which classes in which order."""

FEATURE_SUFFIXES = (".npy", ".npz", ".safetensors")  # of files of features, which stand in the place of a source
_FETCH = "download=True, or by hand"
REQUEST = "registration at https://image-net.org (ILSVRC2012, training images); cannot be downloaded from here"
SOURCES = {  # images, classes, px, licence and source, how to get it
    "digits": (1797, 10, "8", "CC BY 4.0, UCI Optical Recognition of Handwritten Digits", "comes with scikit-learn"),
    "fashion_mnist": (
        70000,
        10,
        "28",
        "MIT, Zalando Research (Xiao et al. 2017)",
        f"{_FETCH}; Debian: dataset-fashion-mnist",
    ),
    "cifar10": (60000, 10, "32", "none stated, University of Toronto (Krizhevsky 2009)", _FETCH),
    "cifar100_20": (60000, 20, "32", "none stated, University of Toronto (Krizhevsky 2009)", _FETCH),
    "stl10": (
        13000,
        10,
        "96",
        "none stated, Stanford (Coates et al. 2011); images from ImageNet; 100,000 more unlabelled",
        _FETCH,
    ),
    "imagenet10": (13000, 10, "varies", "ImageNet terms of access, non-commercial research", REQUEST),
    "imagenet_dogs": (19500, 15, "varies", "ImageNet terms of access, non-commercial research", REQUEST),
}

SYNSETS = {  # Contrastive Clustering (Li et al. 2021), in the order of its repository: the position is the class number
    "imagenet10": {
        "n02056570": "king penguin",
        "n02085936": "Maltese dog",
        "n02128757": "snow leopard",
        "n02690373": "airliner",
        "n02692877": "airship",
        "n03095699": "container ship",
        "n04254680": "soccer ball",
        "n04285008": "sports car",
        "n04467665": "trailer truck",
        "n07747607": "orange",
    },
    "imagenet_dogs": {
        "n02085936": "Maltese dog",
        "n02086646": "Blenheim spaniel",
        "n02088238": "basset",
        "n02091467": "Norwegian elkhound",
        "n02097130": "giant schnauzer",
        "n02099601": "golden retriever",
        "n02101388": "Brittany spaniel",
        "n02101556": "clumber",
        "n02102177": "Welsh springer spaniel",
        "n02105056": "groenendael",
        "n02105412": "kelpie",
        "n02105855": "Shetland sheepdog",
        "n02107142": "Doberman",
        "n02110958": "pug",
        "n02112137": "chow",
    },
}

CIFAR100_SUPERCLASSES = {  # Krizhevsky 2009; in the data set's own (alphabetical) order
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}

FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
STL_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def superclass_of() -> "dict[str, int]":  # fine name -> 0..19
    "The superclass number of each of CIFAR-100's hundred classes."
    return {fine: number for number, group in enumerate(CIFAR100_SUPERCLASSES.values()) for fine in group.split()}


def known_sources() -> "list[dict]":  # one dict per source: name, images, classes, px, licence, how
    "The sources that `load_images` knows by name."
    keys = ("name", "images", "classes", "px", "licence", "how")
    return [dict(zip(keys, (name, *row))) for name, row in SOURCES.items()]
