"""HeatViT's polynomials against the functions they stand for."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from torch.nn import functional  # noqa: E402

from training.errors import TrainingError  # noqa: E402
from training.nonlinear import Nonlinear, polynomial_exp, polynomial_gelu  # noqa: E402


def test_gelu_with_delta1_of_one_is_near_gelu():
    x = torch.linspace(-8, 8, 4001)
    assert (polynomial_gelu(x) - functional.gelu(x)).abs().max() < 0.02


def test_gelu_with_half_of_delta1_is_another_function():
    x = torch.tensor([8.0, -8.0])
    torch.testing.assert_close(polynomial_gelu(x, 0.5), torch.tensor([6.0, -2.0]))


def test_exponential():
    x = torch.linspace(-20, 0, 4001)
    assert (polynomial_exp(x) / x.exp() - 1).abs().max() < 0.004


@pytest.mark.parametrize("polynomial", [False, True])
def test_softmax_of_live_keys(polynomial):
    torch.manual_seed(0)
    logits = 5 * torch.randn(2, 3, 4, 6)
    logits[0, 0, 0, 0] = 200.0  # a dropped key may be far above the others
    live = torch.tensor([[0.0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1]])
    got = Nonlinear(polynomial=polynomial).softmax(logits, live)
    masked = logits.masked_fill(live[:, None, None, :] == 0, -torch.inf).softmax(-1)
    torch.testing.assert_close(got, masked, atol=0.004 if polynomial else 1e-6, rtol=0)
    assert (got[0, :, :, 0] == 0).all()


def test_softmax_of_all_keys_is_torchs_own():
    logits = torch.randn(2, 3, 4, 6)
    assert Nonlinear().softmax(logits, None).equal(logits.softmax(-1))


def test_bad_deltas_are_refused():
    with pytest.raises(TrainingError, match=r"delta1 must be 0\.5 or 1, not 0\.7"):
        Nonlinear(polynomial=True, delta1=0.7)
    with pytest.raises(TrainingError, match="delta1 other than 1 needs polynomial"):
        Nonlinear(delta1=0.5)
