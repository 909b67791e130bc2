"""Options that several commands share, each written once. Nothing here imports torch: `--help` answers at once."""

import errno
import os
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, BadParameter, Option

IMAGES, TRAINING, OUTPUT = "Images", "Training", "Output"  # panels of the help text


class Preset(str, Enum):
    "Names of the presets."

    default = "default"
    paper = "paper"
    finetune = "finetune"


class Demo(str, Enum):
    "What the demonstration shows."

    digits = "digits"
    photos = "photos"


class Which(str, Enum):
    "Which of a run's networks."

    last = "last"
    best = "best"


class Split(str, Enum):
    "Parts of a known source."

    all = "all"
    train = "train"
    test = "test"


class SortBy(str, Enum):
    "How files get into folders of clusters."

    copy = "copy"
    hardlink = "hardlink"
    link = "link"


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


class Engine(str, Enum):
    "Where the runs of a grid are computed."

    local = "local"
    joblib = "joblib"
    slurm = "slurm"


class PaperSet(str, Enum):
    "The images of the paper's Table 2."

    imagenet = "ImageNet-10"
    cifar = "CIFAR-10"
    stl = "STL-10"


LONGEST = 255  # bytes of a name, on nearly every disk


def path(text: "str | Path") -> Path:
    "A path as the command line gives it: `~` is the home folder (a shell leaves that of --output=~/x as it is)."
    if not str(text):
        raise BadParameter("must name a file or a folder, got ''")
    found = Path(os.path.expanduser(text))
    if str(found).startswith("~"):  # a file of that name, such as ./~x: nobody must expand it later
        found = found.absolute()
    for part in found.parts:
        _check_length(part, LONGEST)
    try:
        os.lstat(found)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadParameter(
                f"{str(found)[:20]}… is a path of {len(str(found))} letters, which is too long"
            ) from None
    return found


def new_file(text: "str | Path") -> Path:
    "The path of a file to write; its name leaves room for what is added to it until the file is whole."
    found = path(text)
    _check_length(found.name, LONGEST - len("._unreadable..tmp") - 8)
    return found


def _check_length(name: str, longest: int) -> None:
    "Refuse a name that no disk takes."
    if (length := len(name if os.name == "nt" else os.fsencode(name))) > longest:
        unit = "letters" if os.name == "nt" else "bytes"
        raise BadParameter(f"{name[:20]}… is a name of {length} {unit}; at most {longest} are possible")


def source(text: str) -> str:
    "A known source, or a path as `path` takes it."
    found = path(text)
    return str(found) if found.is_absolute() else text


# images
Source = Annotated[
    str,
    Argument(
        parser=source,
        help="A known source (see: dcacn data list), a folder of images, or a file of features.",
        show_default=False,
    ),
]
OtherSource = Annotated[
    str | None,
    Option(
        "--source",
        parser=source,
        help="Other images than those trained on: a known source or a folder.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
RunSource = Annotated[
    str | None,
    Option(
        "--source",
        parser=source,
        help="Of a run: where its images are now, if they have moved.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
MovedTo = Annotated[
    str | None,
    Option(
        "--source",
        parser=source,
        help="Where the images are now, if they have moved; they must be the same.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
MoreEpochs = Annotated[
    int | None,
    Option(
        "--epochs",
        min=1,
        help="Train to this many epochs, counted from the start of the run (default: as begun).",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
Root = Annotated[Path, Option(parser=path, help="Folder of the known sources.", rich_help_panel=IMAGES)]
OtherRoot = Annotated[
    Path | None,
    Option(
        "--root",
        parser=path,
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
        help="Images that must not be mirrored, such as text; left out: the images say.",
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

EncoderName = Annotated[
    str,
    Option(
        "--encoder",
        metavar="NAME",
        help="A pretrained network under the heads: lite0, lite2, any timm model, an ONNX file; "
        "none: train from scratch; auto: decided by the images.",
        rich_help_panel=IMAGES,
    ),
]

EncoderWeights = Annotated[
    Path | None,
    Option(
        "--encoder-weights",
        parser=path,
        metavar="FILE",
        help="Weights of your own (.safetensors, or tensors in a .pth) for the timm or open_clip model of --encoder.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
MovedWeights = Annotated[
    Path | None,
    Option(
        "--encoder-weights",
        parser=path,
        metavar="FILE",
        help="Where the encoder's weights file is now, if it has moved; it must be the same.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]


def number_or_auto(text: "str | int") -> "int | str":
    "A number of clusters, or the word auto."
    if text == "auto":
        return "auto"
    try:
        number = int(text)
    except ValueError:
        raise BadParameter(f"{text!r} is not a whole number, and not 'auto'") from None
    if number < 2:
        raise BadParameter(f"{number} is not in the range x>=2")
    return number


# training
FixedClusters = Annotated[
    int | None,
    Option(
        "--clusters",
        "-k",
        min=2,
        help="Number of clusters looked for (default: the number of classes, if the source has labels).",
        show_default=False,
    ),
]
Clusters = Annotated[
    Any,
    Option(
        "--clusters",
        "-k",
        parser=number_or_auto,
        min=2,
        metavar="NUMBER|auto",
        help="Number of clusters looked for; auto: estimated (default: the number of classes, if there are labels).",
        show_default=False,
    ),
]
MethodName = Annotated[
    str,
    Option(
        help="dcacn, or from scratch kmeans, ae, dec, dcec, iic, pica, simclr, cc, ...; "
        "with an encoder kmeans, scan, temi, turtle, gmm, ..."
    ),
]
PresetName = Annotated[
    Preset, Option(help="One rule for all images, the paper's settings, or those for a pretrained ResNet.")
]
Epochs = Annotated[
    int | None,
    Option(
        min=1,
        help="Passes over the images (default: the preset's, or the head's).",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
DEMO_EPOCHS = 30  # half of the preset's: people are waiting
DemoEpochs = Annotated[
    int | None,
    Option(
        "--epochs",
        min=1,
        help=f"Passes over the images (default: {DEMO_EPOCHS} for the digits, the head's for photos).",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
BatchSize = Annotated[
    int | None,
    Option(
        min=2,
        help="Images per step (default: the preset's, or the head's).",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
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
    Option(
        "--backbone", help="Residual network (default: the preset's).", show_default=False, rich_help_panel=TRAINING
    ),
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
RunDir = Annotated[Path, Argument(parser=path, help="Folder of a run.", show_default=False)]
NewRunDir = Annotated[
    Path | None,
    Option(
        "--run-dir",
        parser=path,
        help="New folder for the run (default: runs/SOURCE-SEED-N).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Names = Annotated[
    Path | None,
    Option(
        "--names",
        parser=path,
        help="Text file of words, one per line, to name clusters with (open_clip encoders; default: a built-in list).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SortInto = Annotated[
    Path | None,
    Option(
        parser=path,
        help="New folder for copies of the images, one flat folder per cluster.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SortHow = Annotated[
    SortBy,
    Option(help="What --sort-into makes: copies, hard links (same disk), or symbolic links.", rich_help_panel=OUTPUT),
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
        parser=path,
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
On = Annotated[
    Engine,
    Option(
        "--on",
        help="local: one run after another; joblib: several at a time; slurm: an array of jobs (needs submitit).",
        rich_help_panel=GRID,
    ),
]
Jobs = Annotated[
    int | None,
    Option(
        "--jobs",
        min=1,
        help="Runs at a time, with --on joblib (default: one per GPU, or per two cores).",
        show_default=False,
        rich_help_panel=GRID,
    ),
]
Resources = Annotated[
    list[str] | None,
    Option(
        "--slurm",
        metavar="NAME=VALUE",
        help="Of each job, as submitit names it: timeout_min=240, gpus_per_node=1, slurm_partition=gpu; repeatable.",
        show_default=False,
        rich_help_panel=GRID,
    ),
]
Wait = Annotated[
    bool,
    Option(
        "--wait/--no-wait",
        help="Wait for the jobs, with --on slurm, and show how far they are.",
        rich_help_panel=GRID,
    ),
]
OneGrid = Annotated[Path, Argument(parser=path, help="Folder of a grid, as --folder named it.", show_default=False)]
Quoted = Annotated[
    PaperSet | None,
    Option(
        "--paper",
        help="Quote the paper's Table 2 on these images beside (default: for cifar10, stl10 and imagenet10 alone).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]

# features
FeaturesFile = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        parser=new_file,
        help="File to write: .npz or .safetensors with labels, paths and small pictures; .npy holds features alone.",
        rich_help_panel=OUTPUT,
    ),
]
FeatureEncoder = Annotated[
    str,
    Option(
        "--encoder",
        help="Pretrained network: lite0, lite2, a timm model, or an ONNX file.",
        rich_help_panel=IMAGES,
    ),
]
Views = Annotated[int, Option(min=0, help="Random crops to encode beside each whole image.", rich_help_panel=IMAGES)]
OverwriteFeatures = Annotated[bool, Option("--overwrite", help="Replace a file of that name.", rich_help_panel=OUTPUT)]


# what people ask for once groups are there
class ExportTo(str, Enum):
    "What clusters are exported as."

    csv = "csv"
    links = "links"
    copies = "copies"
    label_studio = "label-studio"
    onnx = "onnx"
    pt2 = "pt2"


class TrackTo(str, Enum):
    "Programs that show runs."

    tensorboard = "tensorboard"
    wandb = "wandb"


RunOrFeatures = Annotated[
    Path, Argument(help="Folder of a run, a file of features, or a folder of images.", show_default=False, parser=path)
]
QueryImage = Annotated[
    str, Argument(help="One of the images (its file, or its number), or another image file.", show_default=False)
]
HowMany = Annotated[int, Option("-n", min=1, help="Images to find.")]
NearThreshold = Annotated[
    float | None,
    Option(
        min=0,
        max=1,
        help="Cosine from which on images count as copies (default: a fifth of the usual distance apart).",
        show_default=False,
    ),
]
ExactOnly = Annotated[bool, Option("--exact", help="Files of the same bytes alone: no encoder is needed.")]
TableFile = Annotated[
    Path | None,
    Option(
        "--output", "-o", help="CSV file to write, new.", show_default=False, rich_help_panel=OUTPUT, parser=new_file
    ),
]
ExportForm = Annotated[
    ExportTo | None,
    Option(
        "--to",
        help="A table; one flat folder per cluster of links or copies; tasks for Label Studio; the network as ONNX or "
        "torch.export (default: by the ending, else csv).",
        show_default=False,
    ),
]
TrackForm = Annotated[TrackTo, Option("--to", help="The program.")]
TrackFolder = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        parser=path,
        help="Folder for its files (default: RUN_DIR/tensorboard; for wandb RUN_DIR).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Project = Annotated[str, Option(help="Name of the project, for wandb.", rich_help_panel=OUTPUT)]
ExportTarget = Annotated[
    Path,
    Argument(
        parser=new_file,
        help="New file (.csv, .json for Label Studio, .onnx or .pt2 for the network) or folder.",
        show_default=False,
    ),
]
OnlyGroups = Annotated[
    list[str] | None,
    Option("--only", metavar="CLUSTER", help="A cluster's number or name; repeatable.", show_default=False),
]
