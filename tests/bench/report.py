"""Turns the plain data of a benchmark into its tables, as Markdown that reads well in a terminal too."""

import statistics

import density
from counters import EXITS
from table import figure, spread, table
from targets import TARGETS

HARDWARE_TARGET_MS = 100  # wall time of a boot on hardware


def targets(results):
    """Each target beside its figure and what one such run costs; and how many runs had no end."""
    rows = []
    for target in TARGETS:
        values = target.samples(results)
        unit = results["unit"] if target.unit == "ms" else target.unit
        found = ["not measured", "", ""]
        if values:
            middle = statistics.median(values)
            verdict = "ok" if middle <= target.at_most else "over"
            # The targets are lab ms; hardware has one of its own.
            found = [figure(middle), spread(values), "" if unit == "ms" else verdict]
        rows.append([target.what, f"{target.at_most} {unit}", *found, *burden(results, target.subject)])
    text = table(["what", "at most", "median", "spread", "result", "CPU", "exits", "nested faults", "system calls",
                  "KiB zeroed", "copied", "filled"], rows)
    return "\n".join([text, *(f"- {name}: {count} lost, which had no end" for name, count in results.get("lost", {}).items())])


def burden(results, subject):
    """Of the subject of a figure: median processor time, and its counted run in short; costs() has all of it."""
    samples, counts = results["samples"].get(subject), results["counts"].get(subject)
    if not samples or not isinstance(counts, dict):
        return [""] * 7
    exits = sum(counts[kind] for kind in EXITS)
    return [figure(statistics.median(sample["cpu"] for sample in samples)), exits, counts["nested faults"],
            counts["system calls"], counts["zeroed KiB"], counts["copied KiB"], counts["filled KiB"]]


def side_by_side(results):
    """kcradle and its peers: what each is, in figures; and why those that are not there did not run."""
    rows = []
    for name in ["kcradle run", *results["peers"], *sorted(set(results["not run"]) - set(results["peers"]))]:
        samples = results["samples"].get(name, [])
        if not samples:
            rows.append([name, 0, "not run", "", "", ""])
            continue
        wall = [sample["wall"] for sample in samples]
        cpu = [sample["cpu"] for sample in samples]
        answering = "kcradle output" if name == "kcradle run" else name
        first = [sample["first"] for sample in results["samples"][answering] if sample["first"]]
        rows.append([name, len(samples), figure(statistics.median(wall)), spread(wall), figure(statistics.median(cpu)),
                     figure(statistics.median(first)) if first else "-"])
    text = table(["exec to exit", "runs", "wall", "spread", "CPU", "first output byte"], rows)
    reasons = [f"- {name}, not run: {reason}" for name, reason in sorted(results["not run"].items())]
    if results["unit"] != "ms":
        reasons.append("- Where a program waits, wall follows a machine that may have other work: compare CPU.")
    return "\n".join([text, "", *reasons])


def costs(results):
    """What lab ms hide, in one counted run of each subject."""
    counts = results["counts"]
    if "not counted" in counts:
        return f"not counted: {counts['not counted']}"
    kinds = list(next(iter(counts.values())))
    rows = []
    for name, found in counts.items():
        samples = results["samples"].get(name)
        times = [figure(statistics.median(sample[field] for sample in samples)) if samples else "-"
                 for field in ("wall", "cpu")]
        rows.append([name, *times, *(found[kind] for kind in kinds)])
    return table(["one run", "wall", "CPU", *kinds], rows)


def stages(results):
    """The medians of the timeline: stage, when, how long."""
    timelines = [sample["timeline"] for sample in results["samples"].get("timeline", [])]
    if not timelines:
        return []
    middle = {name: statistics.median(one[name] for one in timelines) for name in timelines[0]}
    middle["exit"] = statistics.median(sample["wall"] for sample in results["samples"]["timeline"])
    ordered = sorted(middle.items(), key=lambda pair: pair[1])
    return [(name, at, at - before) for (name, at), before in zip(ordered, [0, *(at for _, at in ordered)])]


def hardware(results):
    """Percentiles of wall time, which only mean something on hardware."""
    wall = sorted(sample["wall"] for sample in results["samples"]["kcradle run"])
    if results["unit"] != "ms":
        return f"Boot on hardware, p50 and p99 within {HARDWARE_TARGET_MS} ms: not measured on hardware."
    cuts = statistics.quantiles(wall, n=100, method="inclusive")
    verdict = "ok" if cuts[98] <= HARDWARE_TARGET_MS else "over"
    return (f"Boot on this hardware, exec to exit of {len(wall)} runs: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms; "
            f"at most {HARDWARE_TARGET_MS} ms: {verdict}")


def render(results):
    unit = results["unit"]
    parts = [f"# Benchmarks of {results['versions']['revision']}"]
    if "samples" in results:
        parts += boots(results)
    if "density" in results:
        parts += ["## Density", density.render(results["density"], unit)]
    parts += ["## Versions", table(["what", "version"], results["versions"].items())]
    return "\n\n".join(parts) + "\n"


def boots(results):
    memory = results["memory"]
    marks = [[name, f"{at:.1f}", f"{took:.1f}"] for name, at, took in stages(results)]
    return [f"Times in {results['unit']}, medians of {results['rounds']} interleaved rounds after {results['dropped']} "
            "dropped ones, in which some took part seldomer; busybox image, 128 MiB, one vCPU, default features, "
            "everything in memory.",
            "## Targets", targets(results), hardware(results),
            "## Beside each other", side_by_side(results),
            "## Boot, stage by stage", table(["stage", "at", "took"], marks),
            "## What each run costs", costs(results),
            "## Memory of a pod that sleeps, KiB", table(["what", "resident"], [
                ["guest RAM, as the host sees it", memory["guest"]],
                ["of it shared with the page cache", memory["guest shared"]],
                ["guest RAM in use, as the guest sees it", memory["guest inside"]],
                ["VMM", memory["vmm"]], ["of it private", memory["vmm private"]],
                ["of it pages of files", memory["vmm files"]]])]
