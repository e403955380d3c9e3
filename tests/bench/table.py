"""Tables and figures as the reports of all benchmarks print them."""


def table(head, rows):
    """A Markdown table with aligned columns; the first column is text, the others are numbers."""
    texts = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))) + " |" for row in texts]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if column == 0 else ":")
                          for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def figure(value):
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def spread(values):
    return f"{figure(min(values))}..{figure(max(values))}" if len(values) > 1 else ""
