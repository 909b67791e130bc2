"What heads share: features in pieces, as sets larger than the memory need it, give what they give at once."

import pytest
import torch
from sklearn.datasets import load_digits

from dcacn_nb.core.steps import run_through
from dcacn_nb.heads._parts import frozen as module
from dcacn_nb.heads._parts.frozen import Frozen, neighbour_steps

DIGITS = torch.from_numpy(load_digits().data[:300]).float()


def root(rows):
    "A preparation row by row, as a head may want it."
    return torch.nn.functional.normalize(rows.sqrt(), dim=1)


@pytest.mark.parametrize("options", [{}, {"components": 16}, {"components": 16, "whiten": True, "unit": True}])
@pytest.mark.parametrize("piece", [1, 77, 300])
def test_pieces_change_nothing(piece, options, monkeypatch):
    "Centre, axes and scale, of features that are prepared on the way or were before; in one piece to the same bits."
    whole, prepared = Frozen(64, **options), Frozen(64, **options)
    whole.fit(root(DIGITS))
    monkeypatch.setattr(module, "PIECE", piece)
    prepared.fit(DIGITS, root)
    for ours, theirs in zip(prepared.state_dict().values(), whole.state_dict().values()):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        assert torch.equal(ours, theirs) or piece < 300


@pytest.mark.parametrize("cosines", [1, 5000])
def test_few_cosines_are_held(cosines, monkeypatch):
    "Neighbours are the same, in more steps; never more cosines at once than allowed, or those of one image."
    expected = run_through(neighbour_steps(DIGITS, 5))
    monkeypatch.setattr(module, "COSINES", cosines)
    sizes, nearest = [], module.nearest

    def counted(unit, rows, k):
        sizes.append(len(rows))
        return nearest(unit, rows, k)

    monkeypatch.setattr(module, "nearest", counted)
    assert torch.equal(run_through(neighbour_steps(DIGITS, 5)), expected)
    assert max(sizes) == max(1, cosines // 300) and sum(sizes) == 300
