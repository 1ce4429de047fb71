"""Functions in containers: map.py URL IMAGE."""

import math
import os
import sys

from abaco.executor import AbacoExecutor


def monte_carlo(seed: int, points: int = 20_000) -> float:
    """Estimate pi."""
    import random

    dice = random.Random(seed)
    hits = sum(math.hypot(dice.random(), dice.random()) <= 1 for _ in range(points))
    return 4 * hits / points


url, image = sys.argv[1:]
with AbacoExecutor(url=url, image=image, workers=2) as executor:
    first = executor.submit(lambda: os.environ["_abaco_execution_id"])
    estimates = list(executor.map(monte_carlo, range(8)))
    print("the first call was execution", first.result())
    print("the same here and there:", estimates == [monte_carlo(seed) for seed in range(8)])
    print("pi is about", sum(estimates) / len(estimates))
    try:
        executor.submit(math.sqrt, -1).result()
    except ValueError as error:
        print("an exception comes back:", repr(error))
