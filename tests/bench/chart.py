"""Draws the figures of a benchmark as one SVG: bars of kcradle and its peers, and our boot stacked by stage.

The same data give the same bytes.
"""

import statistics
from html import escape

from report import stages

WIDTH, LEFT, BAR, GAP = 900, 190, 22, 10
WALL, CPU = "#4878a8", "#a8c4e0"
STAGES = ["#4878a8", "#e0a030", "#58a068", "#c05850", "#8868a8", "#9c7a5c", "#d080b0", "#808080"]


def text(x, y, words, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>')


def bar(x, y, width, colour, height=BAR):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" fill="{colour}"/>'


def peers(results, top):
    """One row a program: wall time, and in it processor time."""
    names = [name for name in ["kcradle run", *results["peers"]] if results["samples"].get(name)]
    middle = {name: [statistics.median(sample[field] for sample in results["samples"][name])
                     for field in ("wall", "cpu")] for name in names}
    scale = (WIDTH - LEFT - 170) / max(wall for wall, _ in middle.values())
    parts = [text(10, top, f"exec to exit, {results['unit']}: wall and, in it, processor", weight="bold")]
    y = top + GAP
    for name, (wall, cpu) in middle.items():
        parts += [text(LEFT - 8, y + 16, name, "end"), bar(LEFT, y, wall * scale, WALL),
                  bar(LEFT, y + BAR / 2, min(cpu, wall) * scale, CPU, BAR // 2),
                  text(LEFT + wall * scale + 6, y + 16, f"{wall:.0f}, CPU {cpu:.0f}")]
        y += BAR + GAP
    for name in sorted(results["not run"]):
        parts.append(text(LEFT - 8, y + 16, name, "end") + text(LEFT, y + 16, "not run"))
        y += BAR + GAP
    return parts, y


def boot(results, top):
    """Our boot as one stacked bar, and what its parts are."""
    marks = stages(results)
    parts = [text(10, top, f"kcradle run by stage, {results['unit']}", weight="bold")]
    if not marks:
        return parts, top
    scale = (WIDTH - 20) / marks[-1][1]
    y = top + GAP
    for number, (_, at, took) in enumerate(marks):
        parts.append(bar(10 + (at - took) * scale, y, took * scale, STAGES[number % len(STAGES)]))
    y += BAR + GAP
    for number, (name, at, took) in enumerate(marks):
        x, line = 10 + 300 * (number % 3), y + 20 * (number // 3)
        parts += [bar(x, line, 12, STAGES[number % len(STAGES)], 12),
                  text(x + 18, line + 11, f"to {name}: {took:.1f} (at {at:.1f})")]
    return parts, y + 20 * -(-len(marks) // 3)


def draw(results):
    above, y = peers(results, 24)
    below, y = boot(results, y + 30)
    body = "\n".join(above + below)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 20:.0f}" font-family="sans-serif" '
            f'font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
