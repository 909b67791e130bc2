"""Train our TEMI or TURTLE and the authors' code on the same features over several seeds; write one CSV row per run.

Both get the features that our heads are trained on (centred, at one scale; for TEMI their 128 main axes), the same
initial weights and random draws, and the same widths, numbers of steps, batch size, neighbours and rates. TEMI: the
authors' losses and heads are imported, and the loop of their train_main.py is repeated here, because it needs a GPU.
TURTLE: the authors' run_turtle.py runs as it is, but for the draws. Labels score the end and are used for nothing else.
The authors' code is not part of this project. Clone github.com/HHU-MMBS/TEMI-official-BMVC2023 or
github.com/mlbio-epfl/turtle, and name its folder.
Example: python benchmarks/heads_against_published.py temi trash.npz --code TEMI-official-BMVC2023 --seeds 0-2 \
  --output benchmarks/heads_against_published.csv
"""

import argparse
import importlib.util
import itertools
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from run_seeds import row, seeds

from dcacn_nb.core.seeds import generator
from dcacn_nb.core.steps import run_through
from dcacn_nb.data.feature_set import load_features
from dcacn_nb.fitting import fit, settings_for
from dcacn_nb.heads._parts.frozen import Frozen, neighbour_steps
from dcacn_nb.heads.temi import momentum_for
from dcacn_nb.heads.turtle import new_classifier
from dcacn_nb.method.step import ORDER, VIEWS
from dcacn_nb.methods import find_method


def scaled(features, components: int) -> torch.Tensor:
    "Features as our heads see them."
    frozen = Frozen(features.dim, components)
    frozen.fit(features.whole)
    return frozen(features.whole)


def ours(features, seed: int, config, method):
    "Labels of this project's head."
    return fit(features, config, method=method).assignments


def temi_published(features, seed: int, config, method):
    "Labels of the authors' losses and heads, in the loop of their train_main.py."
    import losses
    import utils

    place = Path(losses.__file__).parents[1] / "model_builders" / "multi_head.py"
    spec = importlib.util.spec_from_file_location("multi_head", place)  # its package would import clip
    multi_head = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(multi_head)
    options = method.options
    x = scaled(features, options["components"])
    neighbours = run_through(neighbour_steps(x, options["neighbours"]))
    shape = dict(embed_dim=x.shape[1], out_dim=config.n_clusters, nlayers=2, num_heads=options["heads"])
    shape |= dict(hidden_dim=options["hidden"], bottleneck_dim=options["bottleneck"])
    student, teacher = (multi_head.MultiHeadClassifier("features", **shape) for _ in range(2))
    start(student, method.network(config).student)
    teacher.load_state_dict(student.state_dict())
    size, epochs, per_epoch = config.batch_size, config.epochs, len(x) // config.batch_size
    loss = losses.TEMI(
        num_heads=options["heads"],
        beta=options["beta"],
        out_dim=config.n_clusters,
        batchsize=size,
        warmup_teacher_temp=options["temperature"],
        teacher_temp=options["temperature"],
        warmup_teacher_temp_epochs=1,
        nepochs=epochs,
        student_temp=options["temperature"],
    )
    optimizer = torch.optim.AdamW(utils.get_params_groups(student.head), weight_decay=config.weight_decay)
    peak, warm = config.lr * size / 256, round(config.warmup_epochs)
    rates = utils.cosine_scheduler(peak, peak, epochs, per_epoch, warmup_epochs=warm)
    momentum = momentum_for(options["momentum"], epochs * per_epoch)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator(seed, ORDER, epoch, 0))
        sums = torch.zeros(options["heads"])
        for i in range(per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = rates[epoch * per_epoch + i]
            chosen = order[i * size : (i + 1) * size]
            draws = generator(seed, VIEWS, epoch * per_epoch + i)
            drawn = torch.randint(neighbours.shape[1], (size, 1), generator=draws)
            both = torch.cat([x[chosen], x[neighbours[chosen].gather(1, drawn)[:, 0]]])
            with torch.no_grad():
                answers = teacher.apply_head(both)
            each = loss(student.apply_head(both), answers, epoch=epoch)
            optimizer.zero_grad()
            each.mean().backward()
            utils.cancel_gradients_last_layer(epoch, student, 1)
            optimizer.step()
            with torch.no_grad():
                for mine, theirs in zip(teacher.head.parameters(), student.head.parameters()):
                    mine.mul_(momentum).add_((1 - momentum) * theirs)
            sums += each.detach()
        teacher.head.set_losses(sums)
    with torch.no_grad():
        return teacher.eval().apply_head(x).argmax(1).numpy()


@torch.no_grad()
def start(student, heads) -> None:
    "Give the authors' heads our initial weights."
    for h, head in enumerate(student.head.heads):
        first, _, second = head.mlp
        last = head.last_layer
        layers = (first.weight, first.bias, second.weight, second.bias, last.weight_g, last.weight_v)
        weights = (heads.first, heads.first_bias, heads.second, heads.second_bias, heads.lengths, heads.directions)
        for layer, weight in zip(layers, weights):
            layer.copy_(weight[h].T if layer.ndim == 2 else weight[h, 0])


def turtle_published(features, seed: int, config, method):
    "Labels of the authors' run_turtle.py."
    import run_turtle

    x, found = scaled(features, 0).numpy(), {}
    run_turtle.datasets_to_c["features"] = config.n_clusters
    run_turtle.nn = SimpleNamespace(Linear=linear_as_ours(seed), utils=torch.nn.utils)
    run_turtle.seed_everything = lambda seed: torch.manual_seed(generator(seed, 0).initial_seed())  # as ours begin
    run_turtle.get_cluster_acc = lambda labels, known: (found.update(labels=labels), (0.0, 0.0))[1]
    with tempfile.TemporaryDirectory() as root:
        for folder in ("representations/dinov2", "labels"):
            (Path(root) / folder).mkdir(parents=True)
        for split in ("train", "val"):
            np.save(Path(root) / f"representations/dinov2/features_{split}.npy", x)
        np.save(Path(root) / "labels/features_val.npy", np.zeros(len(x), int))
        known = dict(dataset="features", phis="dinov2", device="cpu", root_dir=root, seed=seed)
        known |= dict(T=method.options["steps"], gamma=method.options["gamma"], M=method.options["inner_steps"])
        known |= dict(inner_lr=method.options["inner_lr"], outer_lr=config.lr)
        run_turtle.run([text for name, value in known.items() for text in (f"--{name}", str(value))])
    return found["labels"]


def linear_as_ours(seed: int):
    """`nn.Linear` for the authors' run_turtle.py: its first layer as PyTorch draws it, which is the labels; the second,
    which is never trained; and then the classifier of each step, with the weights that ours draws in that step."""
    made = itertools.count(-2)

    def linear(features: int, clusters: int) -> torch.nn.Linear:
        layer, step = torch.nn.Linear(features, clusters), next(made)
        if step >= 0:
            draws = generator(seed, VIEWS, step)
            weights = new_classifier(clusters, features + 1, draws, layer.weight.detach())["weights"]
            with torch.no_grad():
                layer.weight.copy_(weights[:, :-1])
                layer.bias.copy_(weights[:, -1])
        return layer

    return linear


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("temi", "turtle"))
    parser.add_argument("features", help="a file of features with labels, as `dcacn embed` writes it")
    parser.add_argument("--code", required=True, help="folder of the authors' code")
    parser.add_argument("--seeds", type=seeds, default=[0])
    parser.add_argument("--steps", type=int, help="of TURTLE, if not its default")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    sys.path.insert(0, args.code)
    features = load_features(args.features)
    options = {"steps": args.steps} if args.steps else {}
    method = find_method(args.method, features=features.dim, **options)
    theirs = {"temi": temi_published, "turtle": turtle_published}[args.method]
    n_clusters, rare = len(np.unique(features.labels)), dict(snapshot_every=0, eval_every=10**6, device="cpu")
    for seed in args.seeds:
        config = settings_for(features, n_clusters, method=method, seed=seed, **rare)
        rows = []
        for name, train in ((args.method, ours), (f"{args.method}_published", theirs)):
            started = time.perf_counter()
            labels = train(features, seed, config, method)
            settings = dict(epochs=config.epochs, batch_size=config.batch_size, start="same")
            rows.append(row(name, seed, features, labels, time.perf_counter() - started, settings))
        before = pd.read_csv(args.output).to_dict("records") if Path(args.output).exists() else []
        pd.DataFrame(before + rows).to_csv(args.output, index=False)
        shown = pd.DataFrame(rows)[["method", "source", "seed", "acc", "nmi", "ari", "clusters_used", "seconds"]]
        print(shown.to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
