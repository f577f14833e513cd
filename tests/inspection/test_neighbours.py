"""Principal components against the eigenvectors of the covariance; the nearest against the definition of the cosine."""

import numpy as np
import pytest

from numpygpt.inspection.neighbours import nearest, principal_components


def test_components_are_the_main_directions_of_the_covariance(normal):
    W = normal(30, 5) @ np.diag([5, 3, 1, 0.5, 0.1]) @ normal(5, 5) + 100
    XY, share = principal_components(W)
    values, vectors = np.linalg.eigh(np.cov(W.T))  # smallest first
    np.testing.assert_allclose(share, values[[-1, -2]] / values.sum())
    for i, vector in enumerate([vectors[:, -1], vectors[:, -2]]):
        along = (W - W.mean(axis=0)) @ vector
        np.testing.assert_allclose(XY[:, i] * np.sign(XY[0, i]), along * np.sign(along[0]), atol=1e-9)
    assert principal_components(W, 5)[1].sum() == pytest.approx(1)


def test_a_picture_does_not_turn_over(normal):
    W = normal(20, 6)
    XY, _ = principal_components(W)
    mirrored, _ = principal_components(-W)
    for X in (XY, mirrored):
        assert (X[np.abs(X).argmax(axis=0), [0, 1]] > 0).all()
    np.testing.assert_allclose(principal_components(W[::-1])[0][::-1], XY, atol=1e-9)


@pytest.mark.parametrize("W", [np.ones((4, 3), np.float32), np.ones((1, 3)), np.arange(5.0)[:, None]])
def test_what_has_fewer_directions_has_coordinates_of_0(W):
    XY, share = principal_components(W)
    assert XY.shape == (len(W), 2) and (XY[:, 1] == 0).all() and share[1] == 0
    assert share[0] == pytest.approx(float(len(W) == 5))


def test_the_nearest_by_cosine():
    W = np.array([[1, 0], [2, 0.1], [0, 3], [-5, 0], [1, 1], [0, 0], [9, 9]], np.float32)
    ids, cosines = nearest(W, 0, 4)
    assert ids.tolist() == [1, 4, 6, 2]  # of the equal 4 and 6, and of 2 and the zeros of 5, the lower id
    np.testing.assert_allclose(cosines, [2 / np.hypot(2, 0.1), np.sqrt(0.5), np.sqrt(0.5), 0], rtol=1e-6)
    ids, cosines = nearest(W, 0, 99)
    assert ids.tolist() == [1, 4, 6, 2, 5, 3] and cosines[-1] == -1
    assert (nearest(W, 5, 3)[1] == 0).all()


def test_a_row_is_not_among_its_own_nearest_even_where_others_are_as_near():
    W = np.array([[1, 1], [2, 2], [3, 3], [0, 1]], np.float32)  # three of one direction
    for id, others in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        ids, cosines = nearest(W, id, 2)
        assert ids.tolist() == others
        np.testing.assert_allclose(cosines, 1, rtol=1e-6)
