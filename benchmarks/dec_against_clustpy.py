"""Train our DEC and clustpy's on the digits of scikit-learn over several seeds and write one CSV row per run.

Both get the same pixels (8x8, in [0,1]), the same architecture (d-500-500-2000-10 and back, ReLU), the same numbers of
epochs, batch size and learning rates (Adam: 0.001, then 0.0001), and K-Means with 20 restarts between the phases. They
differ in two things: clustpy computes its targets from each batch, and ours from all images once per epoch; clustpy
also trains on the last batch of an epoch, which is smaller. Labels score the end and are used for nothing else.
clustpy is not a dependency of this project: pip install clustpy (it is built from source and needs a compiler).
Example: python benchmarks/dec_against_clustpy.py --seeds 0-4 --output benchmarks/dec_against_clustpy.csv
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from run_seeds import row, seeds

from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.methods import find_method

WIDTHS = [500, 500, 2000, 10]  # of the encoder's layers
RESTARTS = 20  # of the K-Means between the phases


def ours(images, seed: int, args):
    "Labels of this project's DEC."
    config = preset(
        "default",
        images,
        len(images.class_names),
        seed=seed,
        epochs=args.epochs,
        batch_size=args.batch_size,
        eval_every=args.epochs,
        snapshot_every=0,
        device="cpu",
    )
    return fit(
        images,
        config,
        method=find_method("dec", pretrain=args.pretrain_epochs / args.epochs, widths=WIDTHS, restarts=RESTARTS),
    ).assignments


def theirs(images, seed: int, args):
    "Labels of clustpy's DEC: those of its centroids, not of the K-Means that it adds at the end."
    from clustpy.deep import DEC
    from clustpy.deep.neural_networks import FeedforwardAutoencoder

    pixels = images.images.flatten(1).numpy().astype("float32") / 255
    network = FeedforwardAutoencoder([pixels.shape[1], *WIDTHS], activation_fn=torch.nn.ReLU, random_state=seed)
    found = DEC(
        len(images.class_names),
        batch_size=args.batch_size,
        pretrain_optimizer_params={"lr": 1e-3},
        clustering_optimizer_params={"lr": 1e-4},
        pretrain_epochs=args.pretrain_epochs,
        clustering_epochs=args.epochs - args.pretrain_epochs,
        ssl_loss_fn=torch.nn.MSELoss(),
        neural_network=network,
        embedding_size=WIDTHS[-1],
        initial_clustering_params={"n_init": RESTARTS},
        device=torch.device("cpu"),
        random_state=seed,
    ).fit(pixels)
    return found.dec_labels_


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds, default=[0])
    parser.add_argument("--epochs", type=int, default=100, help="in all")
    parser.add_argument("--pretrain-epochs", type=int, help="of these, for reconstruction; half if not given")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="fewer images, for a trial")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    args.pretrain_epochs = args.epochs // 2 if args.pretrain_epochs is None else args.pretrain_epochs
    images = load_images("digits", limit=args.limit)
    for seed in args.seeds:
        rows = []
        for name, train in (("dec", ours), ("dec_clustpy", theirs)):
            started = time.perf_counter()
            predicted = train(images, seed, args)
            settings = {
                "epochs": args.epochs,
                "pretrain_epochs": args.pretrain_epochs,
                "batch_size": args.batch_size,
                "clustpy": version("clustpy"),
            }
            rows.append(row(name, seed, images, predicted, time.perf_counter() - started, settings))
        before = pd.read_csv(args.output).to_dict("records") if Path(args.output).exists() else []
        pd.DataFrame(before + rows).to_csv(args.output, index=False)
        print(
            pd.DataFrame(rows)[["method", "seed", "acc", "nmi", "ari", "clusters_used", "seconds"]].to_string(
                index=False, header=False
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
