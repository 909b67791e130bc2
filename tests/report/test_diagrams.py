"Diagrams of networks: what they say is read from the network, not written beside it."

import sys

import pytest
import torch

from dcacn_nb.method.backbone import block_table, count_parameters, describe, resnet18
from dcacn_nb.method.model import ClusterNet, architecture
from dcacn_nb.report.diagrams import (
    ATTENTIVE,
    PLAIN,
    blank_figure,
    draw_arrow,
    draw_block,
    draw_box,
    draw_encoder,
    draw_network,
)


@pytest.fixture(scope="module")
def small():
    "A small network with attention, and one without."
    torch.manual_seed(0)
    return resnet18(width=8, image_size=32), resnet18(width=8, image_size=32, attention=False)


def texts(figure) -> "list[str]":
    "Every text of a figure, on one line each."
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]


def fills(figure) -> set:
    "The colours of the boxes."
    return {tuple(round(255 * part) for part in box.get_facecolor()[:3]) for box in figure.axes[0].patches}


def rgb(colour: str) -> "tuple[int, ...]":
    "A colour's three parts from its six digits."
    return tuple(bytes.fromhex(colour[1:]))


def test_parts_of_a_diagram():
    "A box is where it is asked for, with its text in the middle; an arrow goes from start to end."
    figure, axes = blank_figure(4, 2)
    draw_box(axes, 1, 1.5, 0.8, 0.4, "a part", "#ff0000")
    draw_arrow(axes, (1.4, 1.5), (2, 0.5))
    box, (label, arrow) = axes.patches[0], axes.texts
    assert tuple(figure.get_size_inches()) == (4, 2) and axes.get_xlim() == (0, 4) and axes.get_ylim() == (0, 2)
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == pytest.approx((0.6, 1.3, 0.8, 0.4))
    assert label.get_position() == (1, 1.5) and label.get_text() == "a part" and label.get_fontsize() >= 10
    assert arrow.xy == (2, 0.5) and arrow.get_position() == (1.4, 1.5)


def test_encoder_has_every_part(small):
    "Shapes and parameters in the picture are those of a forward pass."
    for network, colours in zip(small, ({rgb(PLAIN), rgb(ATTENTIVE)}, {rgb(PLAIN)})):
        figure, rows = draw_encoder(network, 32), describe(network, 32)
        said = texts(figure)
        for row in rows[3:7]:
            shape = "×".join(map(str, row.shape))
            assert any(line == f"{row.name} 2 blocks {shape} {row.parameters:,}" for line in said), (row, said)
        assert any(f"{count_parameters(network):,} parameters" in line for line in said)
        assert fills(figure) == colours


def test_block_has_its_shortcut(small):
    "A block that changes the shape shows its projection; one that does not shows x unchanged."
    for block, words in (("layer1.0", "x unchanged"), ("layer2.0", "downsample")):
        said, rows = texts(draw_block(small[0], 32, block)), block_table(small[0], 32, block)
        assert any(line.startswith(words) for line in said), said
        boxed = [row for row in rows if not row.name.endswith("downsample")]
        assert all(
            any(line.endswith(f"{'×'.join(map(str, r.shape))} {r.parameters:,}") for line in said) for r in boxed
        )
    assert "spatial attention" not in " ".join(texts(draw_block(small[1], 32, "layer1.0")))


def test_network_names_both_heads(small):
    "Heads, losses and crops, with the numbers of this network."
    model = ClusterNet(small[0], n_clusters=7)
    said = texts(draw_network(model, 32, 18, 4))
    for row in architecture(model, 32)[1:]:
        assert f"{row.name.replace('_', ' ')} {row.shape[0]} {row.parameters:,}" in said
    assert "4 local crops 3×18×18" in said and "cluster loss 6 views per image" in said
    assert not any("local" in line for line in texts(draw_network(model, 32, 18, 0)))
    with pytest.raises(ValueError, match="n_local"):
        draw_network(model, 32, 18, -1)


def test_texts_stay_inside_their_boxes(small):
    "At the size they are drawn at, no text is wider than its box."
    for figure in (
        draw_encoder(small[0], 32),
        draw_block(small[0], 32, "layer2.0"),
        draw_network(ClusterNet(small[0], 7), 32, 18, 4),
    ):
        figure.canvas.draw()
        boxes = [box.get_window_extent() for box in figure.axes[0].patches]
        for text in figure.axes[0].texts:
            place = text.get_window_extent()
            for box in boxes:
                if box.contains((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2):
                    assert box.x0 <= place.x0 and place.x1 <= box.x1, text.get_text()


def test_no_pyplot():
    "Diagrams may be drawn on any thread: nothing here is kept in pyplot's list of figures."
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = pyplot.get_fignums() if pyplot else []
    blank_figure(1, 1)
    assert (pyplot.get_fignums() if pyplot else []) == before
