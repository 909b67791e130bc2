"""What a network was trained on, and new images brought to the same form: one shape, or one encoder's features."""

from pathlib import Path

from dcacn_nb.data.feature_set import FeatureSet, training_tensor
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import as_features, load_like
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.runs.folder import about_run, trained_shape


def describe_input(
    images,  # an ImageSet, a FeatureSet or a tensor
) -> dict:  # "encoder" and "dim" of features, or "shape" of images: plain values
    "What a network was trained on, as far as new images have to be brought to the same."
    if isinstance(images, FeatureSet):
        return {"encoder": images.protocol["encoder"], "dim": images.dim}
    return {"encoder": None, "shape": list(training_tensor(images).shape[1:])}


def trained_input(
    folder: "str | Path",  # a run folder, or one checkpoint file
    config: TrainConfig,  # the run's settings
) -> dict:  # as `describe_input` gives it
    "What the network of a run was trained on."
    about = about_run(folder)
    if "features" in about["options"]:
        encoder = about["protocol"].get("encoder") or about["encoder"]
        return {"encoder": encoder, "dim": about["options"]["features"]}
    return {"encoder": None, "shape": list(trained_shape(folder, config))}


def read_like(
    source,  # new images: a folder, a known source, an ImageSet, an array; or features
    about: dict,  # as `describe_input` gives it
    device: str = "auto",  # where an encoder computes
    encoder=None,  # the one that computed the features, as load_encoder returns it; None: loaded again by its name
    weights: "str | Path | None" = None,  # where the encoder's weights file is now; None: where it was
    **options,  # for load_images, or for embed
) -> "ImageSet | FeatureSet":
    "New images in the form that a network was trained on: features by the same encoder, or images of the same shape."
    if "dim" not in about:
        if weights is not None:
            raise ValueError(f"weights must be None: the network was trained on images, got {str(weights)!r}")
        return load_like(source, tuple(about["shape"]), **options)
    features = as_features(source)
    if features is None:
        if about["encoder"] is None:
            raise ValueError(
                "the network was trained on features of an encoder unknown here; give features of the same"
            )
        # only here: these load what computes features
        from dcacn_nb.encoders.embedding import embed
        from dcacn_nb.encoders.encoder import load_encoder

        if encoder is None:
            name, file = encoder_source(about["encoder"])
            if weights is None and file is not None and not Path(file).is_file():
                text = f"the encoder's weights are not at {file} any more"
                raise FileNotFoundError(f"{text}; if they have moved, give weights='NEW', or --encoder-weights NEW")
            encoder = load_encoder(name, device=device, weights=weights or file)
        check_same_encoder(encoder.about(), about["encoder"])  # before the work
        features = embed(source, encoder, device=device, **options)
    check_input(features, about)
    return features


def encoder_source(
    encoder: dict,  # as Encoder.about() says
) -> "tuple[str, str | None]":  # name and weights file, for load_encoder
    "How to load an encoder again: from its ONNX file, if it was one, else by its name, and from its weights file."
    return encoder.get("file") or encoder["name"], encoder.get("weights_file")


def check_input(
    images: "ImageSet | FeatureSet",
    about: dict,  # as `describe_input` gives it
) -> None:
    "Refuse images for a head on features, the reverse, and features of another encoder than the run's."
    if isinstance(images, FeatureSet) != ("dim" in about):
        wanted = "features" if "dim" in about else "images"
        raise ValueError(f"the network was trained on {wanted}, got {images!r}")
    if isinstance(images, FeatureSet):
        _check_encoder(images, about)


def _check_encoder(features: FeatureSet, about: dict) -> None:
    "Refuse features of another length, or of another encoder."
    if features.dim != about["dim"]:
        raise ValueError(f"features must have length {about['dim']}, like those trained on, got {features.dim}")
    check_same_encoder(features.protocol["encoder"] or {}, about["encoder"] or {})


def check_same_encoder(
    found: dict,  # of the new features, as Encoder.about() says; empty: unknown
    trained: dict,  # of the features trained on
) -> None:
    "Refuse another encoder than the one whose features were trained on."
    for part in ("weights", "size"):
        if found and trained and found.get(part) != trained.get(part):
            text = f"features must come from the encoder of the run, {trained['name']} with {part} {trained.get(part)}"
            remedy = "give that encoder, as load_encoder(NAME, weights=FILE, size=PIXELS) returns it"
            raise ValueError(f"{text}, got {found.get('name')} with {part} {found.get(part)}; {remedy}")
