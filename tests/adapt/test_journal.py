"""The curve of a run: terms that are not in every step are drawn, too."""

import numpy as np

from samaritan.adapt.journal import _running_mean


def test_a_running_mean_is_of_the_values_that_are_there():
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, np.nan, 5.0])
    means = _running_mean(values, 3)
    np.testing.assert_allclose(means, [2.0, 3.0, 3.0, np.nan, 5.0])
