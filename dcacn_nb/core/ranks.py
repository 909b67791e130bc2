"""Several processes (ranks) train one network on one batch: who is there, and what they say to one another.

Each rank encodes its rows of the batch. `gather` puts the answers of all ranks together, so that every rank computes
the same loss, that of the whole batch, and has the gradient of its own rows. What the whole batch teaches is the sum
of these gradients (`sum_gradients`): neither their mean, nor a multiple of it. In one process all of this does nothing.

Everything goes through torch.distributed; `torchrun`, `accelerate launch` or a batch system starts the processes."""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.launch import launched

_alone: "ContextVar[bool]" = ContextVar("alone", default=False)


class RankLost(RuntimeError):
    "Another process of this run has ended, or cannot be reached."


@contextmanager
def _speaking() -> "Iterator[None]":
    "What torch.distributed raises when a process is gone, as RankLost."
    try:
        yield
    except RuntimeError as error:  # DistBackendError, DistNetworkError and gloo's own
        atexit.unregister(_leave)  # to take leave of a process that is gone could wait for it
        first = str(error).strip().partition("\n")[0][:200]
        text = "another process of this run has ended or cannot be reached"
        raise RankLost(f"{text} ({first}); start all of them again to resume from the last checkpoint") from error


def join(device: str) -> None:
    "Meet the processes that were started together, once; each takes a GPU of its own if the device is one."
    if launched()[1] == 1 or not dist.is_available() or dist.is_initialized():
        return
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        check_in("device (one of several processes)", device, ("auto", "cpu", "cuda"))
        _take_gpu()
        backend = "cpu:gloo,cuda:nccl"
    elif device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        raise ValueError(f"device must be 'cpu' or CUDA's where several processes train, got {device!r}; use 'cpu'")
    with _speaking():
        dist.init_process_group(backend)
    atexit.register(_leave)


def _take_gpu() -> None:
    "Make the GPU of this process the current one."
    local, there = int(os.environ.get("LOCAL_RANK", launched()[0])), torch.cuda.device_count()
    if local >= there:
        text = f"this machine has {there} CUDA device(s), and each process needs its own; process {local} has none"
        raise ValueError(f"{text}; start at most {there} here (torchrun --nproc-per-node), or use device='cpu'")
    torch.cuda.set_device(local)


def _leave() -> None:
    "Take leave when the process ends."
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def alone() -> "Iterator[None]":
    "Inside, this process works by itself, whatever others do."
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def world() -> int:
    "How many processes share each batch."
    together = dist.is_available() and dist.is_initialized() and not _alone.get()
    return dist.get_world_size() if together else 1


def rank() -> int:
    "Which of them this one is, from 0."
    return dist.get_rank() if world() > 1 else 0


def share(
    rows: Tensor,  # (B,...) of the whole batch, B a multiple of the number of processes
) -> Tensor:  # (B/R,...) those of this process
    "This process's part of a batch: the parts of all processes in their order are the batch."
    return rows if world() == 1 else rows.chunk(world())[rank()]


class _Gather(torch.autograd.Function):
    "All rows of all ranks; back go the rows of this one, since every rank computes the same loss from them."

    @staticmethod
    def forward(ctx, own: Tensor, dim: int) -> Tensor:
        ctx.dim, own = dim, own.contiguous()
        parts = [torch.empty_like(own) for _ in range(world())]
        with _speaking():
            dist.all_gather(parts, own)
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> "tuple[Tensor, None]":
        return gradient.chunk(world(), ctx.dim)[rank()], None


def gather(
    own: Tensor,  # this process's rows, as many as every other has
    dim: int = 0,  # the axis of the rows
) -> Tensor:  # those of all processes, in their order
    "The answers for the whole batch, with gradient; what is computed from them must be the same in every process."
    return own if world() == 1 else _Gather.apply(own, dim)


def sum_gradients(
    parameters: "Iterable[nn.Parameter]",  # of one network, the same in every process
) -> None:
    "Add up, in place, what the rows of each process say."
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = torch.cat([gradient.reshape(-1) for gradient in gradients])
    with _speaking():
        dist.all_reduce(together)
    for gradient, part in zip(gradients, together.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view(gradient.shape))


def loudest(
    word: int,  # what this process says
) -> int:
    "The largest of the numbers that all processes say at this moment: they decide together."
    if world() == 1:
        return word
    heard = torch.tensor(word)
    with _speaking():
        dist.all_reduce(heard, dist.ReduceOp.MAX)
    return int(heard)


def send_tensors(
    tensors: "Iterable[Tensor]",  # as many, and of the same shapes, in every process
) -> None:
    "Write the numbers of the first process into the tensors of all others."
    for tensor in tensors if world() > 1 else ():
        sent = tensor.detach().contiguous()
        with _speaking():
            dist.broadcast(sent, 0)
        tensor.detach().copy_(sent)


def send_bytes(
    data: bytes,  # what the first process sends; others may give anything
) -> bytes:
    "The bytes of the first process, in every process."
    if world() == 1:
        return data
    length = torch.tensor(len(data))
    send_tensors([length])
    sent = torch.frombuffer(bytearray(data), dtype=torch.uint8) if rank() == 0 else None
    sent = torch.empty(int(length), dtype=torch.uint8) if sent is None else sent
    send_tensors([sent])
    return sent.numpy().tobytes()


# ---- BatchNorm over the rows of all processes
class _Sum(torch.autograd.Function):
    "The sum over all ranks; back goes the sum of what each of them does with it."

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        with _speaking():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class _OverAllRanks:
    "A BatchNorm whose mean and variance are those of the whole batch (on processors; on GPUs, torch has its own)."

    def forward(self, x: Tensor) -> Tensor:
        "(B/R,C,...) -> the same shape."
        if world() == 1 or not self.training:  # type: ignore[attr-defined]
            return super().forward(x)  # type: ignore[misc]
        return _normalised(self, x)  # type: ignore[arg-type]


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    "Means and variances of all ranks in one round, with gradient; the running averages move as ever."
    axes, shape = [axis for axis in range(x.ndim) if axis != 1], (1, -1, *[1] * (x.ndim - 2))
    full = x.to(torch.promote_types(x.dtype, torch.float32))
    own = torch.stack(torch.var_mean(full, axes, correction=0))
    others = [own if r == rank() else torch.zeros_like(own) for r in range(world())]
    variances, means = _Sum.apply(torch.stack(others)).unbind(1)  # (R,C) each: a sum with zeros gathers
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)  # within the ranks, and between them
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1
        count = world() * x.numel() // x.shape[1]
        share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.detach().to(norm.running_mean.dtype), share)
        norm.running_var.lerp_((variance.detach() * count / (count - 1)).to(norm.running_var.dtype), share)
    out = (full - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape)
    return (out * norm.weight.view(shape) + norm.bias.view(shape) if norm.affine else out).to(x.dtype)


class JointBatchNorm1d(_OverAllRanks, nn.BatchNorm1d):
    "nn.BatchNorm1d over the rows of all ranks."


class JointBatchNorm2d(_OverAllRanks, nn.BatchNorm2d):
    "nn.BatchNorm2d over the rows of all ranks."


_JOINT: dict = {nn.BatchNorm1d: JointBatchNorm1d, nn.BatchNorm2d: JointBatchNorm2d}


def share_statistics(
    model: nn.Module,  # changed in place; parameters, and the names of a checkpoint, stay
) -> None:
    "Let every BatchNorm of a network use the whole batch's statistics; in one process nothing changes."
    if world() == 1:
        return
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, _OverAllRanks):
            if type(module) not in _JOINT:
                text = f"{name} of the network is a {type(module).__name__}, which several processes cannot share"
                raise ValueError(f"{text}; use nn.BatchNorm1d or nn.BatchNorm2d, or run in one process")
            module.__class__ = _JOINT[type(module)]  # the module stays itself: optimiser and hooks hold on to it
