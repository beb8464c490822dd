"""Weights of one's own: those that fit are used, all others are refused in words."""

import copy
import json
import pickle
import struct

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from processes.core.errors import InvalidInput
from processes.outlines.segment import Sample
from processes.semantics.modelcard import card_of, read_card
from processes.semantics.segmenter import ByNetwork
from processes.semantics.stack import CHANNELS, CLASSES
from processes.semantics.weights import bundled, network


def item(content=b"weights", form="safetensors", **changes):
    card = card_of("mine", content, f"./mine.{form}", form, {"steps": 1, "seed": 0}, 10)
    card["properties"].update(changes)
    return card


def without(card, *path):
    card = copy.deepcopy(card)
    inner = card
    for part in path[:-1]:
        inner = inner[part]
    del inner[path[-1]]
    return card


def test_the_bundled_network_is_small_and_what_its_item_says():
    card, content = bundled()
    card.check(content)
    assert len(content) < 2_000_000
    assert [CHANNELS[i] for i in card.channels] == list(CHANNELS)
    assert [CLASSES[i] for i in card.classes] == list(CLASSES)
    infer, stride = network(card.form, content, "cpu")
    assert infer(np.zeros((1, 7, 2 * stride, stride), np.float32)).shape == (1, 5, 32, 16)


def test_an_item_says_what_the_extension_demands():
    found = item()
    for name in ("name", "architecture", "framework", "tasks", "input", "output"):
        assert found["properties"][f"mlm:{name}"]
    asset = found["assets"]["weights"]
    assert "mlm:model" in asset["roles"]
    assert asset["mlm:artifact_type"]
    assert any("/mlm/" in schema for schema in found["stac_extensions"])


PT = {**item()["assets"]["weights"], "href": "./mine.pt", "type": "a/b", "mlm:artifact_type": "torch.save"}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("\x80pickle", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "STAC Item"),
        ('{"type": "Feature"}', "properties"),
        (json.dumps(without(item(), "properties", "mlm:input")), "mlm:input"),
        (json.dumps(item(**{"mlm:input": [{"bands": ["red", "swir"]}]})), "swir"),
        (json.dumps(item(**{"mlm:input": [{"bands": ["red", "red"]}]})), "twice"),
        (json.dumps(item(**{"mlm:output": [{"classification:classes": []}]})), "classes"),
        (json.dumps(item(**{"mlm:architecture": "ResNet"})), "ONNX"),
        (json.dumps(item(gsd="fine")), "gsd"),
        (json.dumps(item(**{"orograph:absent": "none"})), "absent"),
        (json.dumps({**item(), "assets": {}}), "mlm:model"),
        (json.dumps({**item(), "assets": {"weights": PT}}), "pickle"),
    ],
)
def test_an_item_that_cannot_be_used_says_why(text, word):
    with pytest.raises(InvalidInput, match=word):
        read_card(text)


def test_weights_that_are_not_those_described_are_refused():
    card = read_card(json.dumps(item(b"these")))
    card.check(b"these")
    with pytest.raises(InvalidInput, match="checksum"):
        card.check(b"others")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def tensors(**arrays):
    from safetensors.numpy import save

    return save(arrays)


LEVELS = {
    f"down.{i}.first.weight": np.zeros((4, 48 if i == 0 else 4, 3, 3), np.float32) for i in range(4)
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps(Bomb()),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
        tensors(a=np.zeros(3, np.float32)),
        tensors(**LEVELS),
        tensors(**{"down.0.first.weight": np.zeros((5000, 1, 1, 1), np.float32)}),
        tensors(
            **{f"down.{i}.first.weight": np.zeros((5000, 1, 1, 1), np.float32) for i in range(3)}
        ),
    ],
    ids=["empty", "pickle", "huge header", "truncated", "strange", "levels", "one level", "wide"],
)
def test_hostile_safetensors_are_refused(content):
    with pytest.raises(InvalidInput, match="weights"):
        network("safetensors", content, "cpu")


def test_weights_that_are_not_finite_are_refused():
    import torch

    from processes.semantics.export import to_safetensors
    from processes.semantics.network import UNet

    net = UNet((4, 4)).folded()
    with torch.no_grad():
        net.head.bias[0] = torch.nan
    with pytest.raises(InvalidInput, match="finite"):
        network("safetensors", to_safetensors(net), "cpu")


def onnx_model(*nodes, weights=(), channels=2, classes=3):
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "r", "c"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes, "r", "c"])],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def linear():
    """Three classes from near infrared and height: a 1 by 1 convolution."""
    matrix = np.array([[0, 1], [4, 0], [0, -1]], np.float32).reshape(3, 2, 1, 1)
    bias = np.array([-2.0, -3.0, 0.0], np.float32)
    return onnx_model(
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
        weights=[numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(bias, "b")],
    )


def test_a_network_of_ones_own_with_other_inputs_and_classes_is_used():
    content = linear().SerializeToString()
    said = item(content, "onnx", **{"orograph:absent": 0})
    said["properties"]["mlm:input"][0]["bands"] = ["ndvi", "ndsm"]
    classes = ("building", "vegetation", "ground")
    said["properties"]["mlm:output"][0]["classification:classes"] = [{"name": n} for n in classes]
    card = read_card(json.dumps(said))
    above = np.zeros((40, 70), np.float32)
    above[10:20, 10:20] = 8.0
    red, nir = np.full_like(above, 100), np.full_like(above, 110)
    nir[30:, 40:] = 3000
    chances = ByNetwork(0.5, card, content, 1.0)(Sample(above, above, {"red": red, "nir": nir}))
    found = chances.argmax(axis=0)
    assert CLASSES[found[15, 15]] == "building"
    assert CLASSES[found[35, 60]] == "vegetation"
    assert CLASSES[found[25, 5]] == "ground"
    np.testing.assert_allclose(chances.sum(axis=0), 1.0, rtol=1e-5)


def loop():
    body = helper.make_graph([], "b", [], [])
    return onnx_model(helper.make_node("Loop", ["", "", "x"], ["y"], body=body))


def outside():
    model = linear()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return model


def foreign():
    return onnx_model(helper.make_node("Relu", ["x"], ["y"], domain="evil"))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "plain|readable"),
        (b"\xff" * 100, "readable"),
        (pickle.dumps(Bomb()), "readable|plain"),
        (loop().SerializeToString(), "Loop"),
        (outside().SerializeToString(), "files beside"),
        (foreign().SerializeToString(), "plain"),
        (onnx_model(helper.make_node("Conv", ["x", "none"], ["y"])).SerializeToString(), "loads"),
    ],
    ids=["empty", "noise", "pickle", "loop", "outside", "foreign", "broken"],
)
def test_hostile_onnx_is_refused(content, word):
    with pytest.raises(InvalidInput, match=word):
        network("onnx", content, "cpu")


def test_a_network_that_answers_otherwise_than_its_item_says_is_refused():
    content = linear().SerializeToString()
    card = read_card(json.dumps(item(content, "onnx", **{"orograph:absent": 0})))
    above = np.zeros((32, 32), np.float32)
    with pytest.raises(InvalidInput, match="the ONNX network fails"):
        ByNetwork(0.5, card, content, 1.0)(Sample(above, above, {}))


def test_a_network_that_cannot_take_nan_is_told_the_remedy():
    content = linear().SerializeToString()
    said = item(content, "onnx")
    said["properties"]["mlm:input"][0]["bands"] = ["ndvi", "ndsm"]
    said["properties"]["mlm:output"][0]["classification:classes"] = [
        {"name": name} for name in CLASSES[:3]
    ]
    above = np.zeros((32, 32), np.float32)
    with pytest.raises(InvalidInput, match="orograph:absent"):
        ByNetwork(0.5, read_card(json.dumps(said)), content, 1.0)(Sample(above, above, {}))
