"""Two commands by turns, and how much more processor time the one takes: what `compare` and `guard` decide by.

The ratio's interval is Student's on the logarithms of the pairs' ratios, which drift of the machine leaves alone.
Processor time and not elapsed time, because idle time in the lab follows the wall clock of the machine it runs on.
"""

import math
import statistics

from sample import take

DROPPED = 2  # the first pairs: caches fill in them
PAIRS = 15
STUDENT = 2.1448  # the 97.5 % point of Student's distribution with PAIRS - 1 degrees of freedom
SLOWER = 1.05  # a ratio whose whole interval lies above is a regression


def measure(subject, reference):
    """Samples of both, each a (command, environment); the one that begins changes from pair to pair."""
    samples = {"subject": [], "reference": []}
    for number in range(DROPPED + PAIRS):
        order = [("subject", subject), ("reference", reference)]
        for name, (command, environment) in order if number % 2 else reversed(order):
            sample = take(command, environment)
            if number >= DROPPED:
                samples[name].append({field: sample[field] for field in ("wall", "cpu")})
    return samples


def ratio(samples, field="cpu"):
    """The geometric mean of subject to reference, and its 95 % interval: (low, middle, high)."""
    logarithms = [math.log(ours[field] / reference[field])
                  for ours, reference in zip(samples["subject"], samples["reference"])]
    middle = statistics.mean(logarithms)
    half = STUDENT * statistics.stdev(logarithms) / math.sqrt(len(logarithms))
    return tuple(math.exp(middle + shift) for shift in (-half, 0, half))


def median(samples, who, field):
    return statistics.median(sample[field] for sample in samples[who])
