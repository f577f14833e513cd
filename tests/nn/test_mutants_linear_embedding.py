"""The check is checked: gradcheck must catch each way to get Linear's and Embedding's gradient wrong."""

import numpy as np
import pytest

from numpygpt.nn import Embedding, Linear
from numpygpt.verify import gradcheck


class LinearWith(Linear):
    """Linear with its backward written again, and one fault in it."""

    def __init__(self, fault, d_in=4):
        super().__init__(d_in, 3, rng=0)
        self.fault = fault

    def backward(self, dY):
        X2, dY2 = self.X.reshape(-1, self.d_in), dY.reshape(-1, self.d_out)
        dW, db, dX = X2.T @ dY2, dY2.sum(axis=0), dY2 @ self.W.T
        match self.fault:
            case "dW dropped":
                dW[...] = 0
            case "db dropped":
                db[...] = 0
            case "dX dropped":
                dX[...] = 0
            case "W not transposed":
                dX = dY2 @ self.W
            case "X and dY exchanged":
                dW = dY2.T @ X2
            case "db of the last row only":
                db = dY2[-1]
            case "db averaged":
                db = dY2.mean(axis=0)
            case "dW of the first sequence only":
                dW = self.X[0].T @ dY[0]
            case "sign of dX":
                dX = -dX
            case "sign of one entry":
                dW[1, 2] *= -1
            case "dW off by 1e-5":
                dW *= 1 + 1e-5
            case "dX of a wrong shape":
                return dX
            case "dX of one sequence":
                return dX.reshape(self.X.shape)[:1]
            case "no dX":
                return None
            case "two for one":
                return dX.reshape(self.X.shape), dX
            case "NaN in dW":
                dW[0, 1] = np.nan
            case "NaN in dX":
                dX[2, 1] = np.nan
            case "dW overwritten":
                self.dW, dW = dW, 0
            case "db overwritten":
                self.db, db = db, 0
            case "dY changed in place":
                dY *= 1.0
            case "X changed in place":
                self.X *= 1.0
        self.dW += dW
        self.db += db
        return dX.reshape(self.X.shape)


VALUES = ["dW dropped", "db dropped", "dX dropped", "W not transposed", "X and dY exchanged", "db of the last row only",
          "db averaged", "dW of the first sequence only", "sign of dX", "sign of one entry", "dW off by 1e-5",
          "NaN in dW", "NaN in dX", "dW overwritten", "db overwritten"]
SHAPES = {"dX of a wrong shape": "has the shape of its tensor", "dX of one sequence": "has the shape of its tensor",
          "no dX": "returned 0 gradients for 1 float inputs", "two for one": "returned 2 gradients for 1 float inputs",
          "dY changed in place": "read-only", "X changed in place": "read-only"}


def test_the_twin_without_a_fault_passes(normal):
    assert gradcheck(LinearWith(None), normal(2, 5, 4))
    assert gradcheck(LinearWith(None, d_in=3), normal(2, 5, 3))


@pytest.mark.parametrize("fault", VALUES)
def test_wrong_values_are_caught(fault, normal):
    square = fault in ("W not transposed", "X and dY exchanged")  # with other shapes NumPy itself would object
    d_in = 3 if square else 4
    assert not gradcheck(LinearWith(fault, d_in), normal(2, 5, d_in))


@pytest.mark.parametrize(("fault", "message"), SHAPES.items(), ids=SHAPES)
def test_wrong_shapes_and_writing_to_arguments_are_errors(fault, message, normal):
    with pytest.raises(ValueError, match=message):
        gradcheck(LinearWith(fault), normal(2, 5, 4))


class EmbeddingWith(Embedding):
    """Embedding with its backward written again, and one fault in it."""

    def __init__(self, fault):
        super().__init__(5, 3, rng=0)
        self.fault = fault

    def backward(self, dY):
        ids, dY2 = self.ids.reshape(-1), dY.reshape(-1, self.d_model)
        match self.fault:
            case None:
                np.add.at(self.dW, ids, dY2)
            case "repeated ids overwritten":
                self.dW[ids] += dY2  # NumPy keeps only the last of those with the same id
            case "repeated ids averaged":
                for i in set(ids.tolist()):
                    self.dW[i] += dY2[ids == i].mean(axis=0)
            case "rows shifted by one":
                np.add.at(self.dW, (ids + 1) % self.n, dY2)
            case "sorted by half":
                np.add.at(self.dW, np.sort(ids), dY2)


def test_embedding_twin_without_a_fault_passes():
    assert gradcheck(EmbeddingWith(None), np.array([[4, 1, 1], [1, 4, 0]]))


@pytest.mark.parametrize("fault", ["repeated ids overwritten", "repeated ids averaged", "rows shifted by one",
                                   "sorted by half"])
def test_embedding_faults_are_caught(fault):
    assert not gradcheck(EmbeddingWith(fault), np.array([[4, 1, 1], [1, 4, 0]]))
