"""Options that several commands share, each written once. Nothing here imports torch: `--help` answers at once."""

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

IMAGES, TRAINING, OUTPUT = "Images", "Training", "Output"  # panels of the help text


class Preset(str, Enum):
    "Names of the presets."

    default = "default"
    paper = "paper"


class Which(str, Enum):
    "Which of a run's networks."

    last = "last"
    best = "best"


class Split(str, Enum):
    "Parts of a known source."

    all = "all"
    train = "train"
    test = "test"


class OnError(str, Enum):
    "What to do about files that cannot be read."

    skip = "skip"
    error = "raise"


class Backbone(str, Enum):
    "Networks for the features."

    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"


class Amp(str, Enum):
    "Precisions of the computation."

    auto = "auto"
    bf16 = "bf16"
    off = "off"


class Budget(str, Enum):
    "What is equal for all methods."

    epochs = "epochs"
    images = "images"
    seconds = "seconds"


class PaperSet(str, Enum):
    "The images of the paper's Table 2."

    imagenet = "ImageNet-10"
    cifar = "CIFAR-10"
    stl = "STL-10"


# images
Source = Annotated[
    str, Argument(help="A known source (see: dcacn data list) or a folder of images.", show_default=False)
]
OtherSource = Annotated[
    str | None,
    Option(
        "--source",
        help="Other images than those trained on: a known source or a folder.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Root = Annotated[Path, Option(help="Folder of the known sources.", rich_help_panel=IMAGES)]
OtherRoot = Annotated[
    Path | None,
    Option(
        "--root",
        help="Folder of the known sources (default: as in training).",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
PartOfSource = Annotated[
    Split, Option("--split", help="Part of a known source that has parts.", rich_help_panel=IMAGES)
]
Limit = Annotated[
    int | None,
    Option(min=1, help="Use a random subset of this many images.", show_default=False, rich_help_panel=IMAGES),
]
ImageSize = Annotated[
    int | None,
    Option(min=1, help="Resize the images to this side, in pixels.", show_default=False, rich_help_panel=IMAGES),
]
Upright = Annotated[
    bool | None,
    Option(
        "--upright/--mirror",
        help="Images that must not be mirrored: digits, clothes, text.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Download = Annotated[
    bool, Option("--download", help="Download a known source that is missing.", rich_help_panel=IMAGES)
]
Unreadable = Annotated[
    OnError, Option("--on-error", help="Files that cannot be read: skip them, or stop.", rich_help_panel=IMAGES)
]
OtherUnreadable = Annotated[
    OnError | None,
    Option(
        "--on-error",
        help="Files that cannot be read: skip them, or stop (default: as in training; stop for other images).",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Labels = Annotated[bool, Option("--labels/--no-labels", help="Score with the source's labels.", rich_help_panel=IMAGES)]
Extra = Annotated[
    bool,
    Option(
        "--extra/--no-extra",
        help="Use the unlabelled images of a source that has them (STL-10).",
        rich_help_panel=IMAGES,
    ),
]

# training
Clusters = Annotated[
    int | None,
    Option(
        "--clusters",
        "-k",
        min=2,
        help="Number of clusters looked for (default: the number of classes, if the source has labels).",
        show_default=False,
    ),
]
MethodName = Annotated[str, Option(help="dcacn, or a baseline: kmeans, ae, dec, dcec, iic, pica, simclr, cc, ...")]
PresetName = Annotated[Preset, Option(help="One rule for all images, or the paper's settings.")]
Epochs = Annotated[
    int | None,
    Option(min=1, help="Passes over the images (default: the preset's).", show_default=False, rich_help_panel=TRAINING),
]
BatchSize = Annotated[
    int | None,
    Option(min=2, help="Images per step (default: the preset's).", show_default=False, rich_help_panel=TRAINING),
]
Seed = Annotated[int, Option(min=0, help="All random draws are a function of it.", rich_help_panel=TRAINING)]
Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=TRAINING)]
OtherDevice = Annotated[
    str | None,
    Option(
        "--device",
        help="Another device than the run was started on.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
Precision = Annotated[
    Amp | None,
    Option(
        "--amp",
        help="auto: bfloat16 on CUDA, else float32 (default: auto).",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
BackboneName = Annotated[
    Backbone | None,
    Option("--backbone", help="Residual network (default: resnet18).", show_default=False, rich_help_panel=TRAINING),
]
Width = Annotated[
    int | None,
    Option(
        min=1, help="Channels of the first stage (default: the preset's).", show_default=False, rich_help_panel=TRAINING
    ),
]
Attention = Annotated[
    bool | None,
    Option("--attention/--no-attention", help="CBAM in every block.", show_default=False, rich_help_panel=TRAINING),
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any field of TrainConfig; repeatable.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]

# runs and their output
RunDir = Annotated[Path, Argument(help="Folder of a run.", show_default=False)]
NewRunDir = Annotated[
    Path | None,
    Option(
        "--run-dir",
        help="New folder for the run (default: runs/SOURCE-SEED-N).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SortInto = Annotated[
    Path | None,
    Option(
        help="New folder for copies of the images, one folder per cluster.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Weights = Annotated[Which, Option("--which", help="The last network, or the best one by the label-free score.")]
AsJson = Annotated[
    bool,
    Option(
        "--json", help="One JSON object on standard output, everything else on standard error.", rich_help_panel=OUTPUT
    ),
]

# grids
GRID = "Grid"
Seeds = Annotated[str, Option(help="The same for all: 0-4, or 0,3,7.", rich_help_panel=GRID)]
GridFolder = Annotated[
    Path | None,
    Option(
        "--folder",
        help="Folder of the grid, new or to be resumed (default: runs/COMMAND-SOURCE).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
BudgetKind = Annotated[
    Budget,
    Option(
        "--budget",
        help="Equal for all: epochs; images through the network (each view counts); or seconds.",
        rich_help_panel=GRID,
    ),
]
Amount = Annotated[
    float | None,
    Option(
        help="Of the budget: epochs, passes per image, or seconds (default: what DCACN's preset uses).",
        show_default=False,
        rich_help_panel=GRID,
    ),
]
Retry = Annotated[bool, Option("--retry-failed", help="Run again what failed before.", rich_help_panel=GRID)]
Quoted = Annotated[
    PaperSet | None,
    Option(
        "--paper",
        help="Quote the paper's Table 2 on these images beside (default: for cifar10, stl10 and imagenet10 alone).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
