"""The U-Net: what it is made of, and that every way to run it gives the same."""

import numpy as np
import pytest
import torch

from processes.semantics.export import to_onnx, to_safetensors
from processes.semantics.network import STRIDE, UNet
from processes.semantics.weights import network


@pytest.fixture(scope="module")
def trained():
    """A network whose normalisations have seen something."""
    torch.manual_seed(1)
    net = UNet((8, 12, 16, 20))
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(2, 7, 64, 64).abs() * 2)
    return net.eval()


@pytest.fixture(scope="module")
def stack():
    values = np.random.default_rng(2).gamma(2, 1, (1, 7, 6 * STRIDE, 9 * STRIDE)).astype(np.float32)
    values[:, 3:6, :50] = np.nan
    values[:, :, 60:70, 60:70] = np.nan
    return values


def copied(net):
    other = UNet(tuple(stage.first.out_channels for stage in net.down))
    other.load_state_dict(net.state_dict())
    return other


def test_there_is_a_logit_a_class_and_cell(trained, stack):
    assert trained(torch.from_numpy(stack)).shape == (1, 5, *stack.shape[2:])


def test_folding_changes_nothing(trained, stack):
    with torch.inference_mode():
        before = trained(torch.from_numpy(stack)).numpy()
        after = copied(trained).folded()(torch.from_numpy(stack)).numpy()
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_safetensors_and_onnx_equal_torch_within_a_ten_thousandth(trained, stack):
    folded = copied(trained).folded()
    with torch.inference_mode():
        expected = folded(torch.from_numpy(stack)).numpy()
    for form, content in (("safetensors", to_safetensors(folded)), ("onnx", to_onnx(folded))):
        infer, stride = network(form, content, "cpu")
        assert stack.shape[2] % stride == 0
        assert np.abs(infer(stack) - expected).max() < 1e-4, form


def test_weights_before_folding_can_be_used_as_well(trained, stack):
    infer, _ = network("safetensors", to_safetensors(trained), "cpu")
    folded, _ = network("safetensors", to_safetensors(copied(trained).folded()), "cpu")
    np.testing.assert_allclose(infer(stack), folded(stack), atol=1e-4)


def test_what_is_unknown_has_no_value(trained, stack):
    """Channels without anything in them must not leak what filled them."""
    with torch.inference_mode():
        unknown = trained(torch.full((1, 7, 64, 64), torch.nan))
        nought = trained(torch.zeros(1, 7, 64, 64))
    assert torch.isfinite(unknown).all()
    assert not torch.allclose(unknown, nought)
