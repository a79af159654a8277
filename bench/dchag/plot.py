"""The plot of bench/dchag/dchag.py: memory of a rank against channels."""

import math
from xml.sax.saxutils import escape

# Colour by kind of aggregation, dashes where it is fused, marks by tree.
COLOURS = {"baseline": "#222222", "tokenization": "#888888", "dchag_c": "#1f6fb4",
           "dchag_l": "#d1641b", "flat_c": "#7a4fa3", "flat_l": "#3a923a"}


def style_of(mode):
    fused = mode.startswith("fused_")
    base = mode.removeprefix("fused_")
    tree = base[-1] if base[-1].isdigit() else "0"
    colour = COLOURS.get(base) or COLOURS.get(base.rstrip("0123456789"), "#cc4488")
    return colour, "5 3" if fused else "none", {"2": "square", "4": "diamond"}.get(tree, "circle")


def mark(shape, x, y, colour, filled):
    paint = f'fill="{colour if filled else "white"}" stroke="{colour}"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" {paint}/>'
    if shape == "square":
        return f'<rect x="{x - 2.8:.1f}" y="{y - 2.8:.1f}" width="5.6" height="5.6" {paint}/>'
    return (f'<path d="M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4z" {paint}/>')


class LogAxis:
    """Places of values between two ends, by their logarithm."""

    def __init__(self, low, high, start, end):
        if low == high:
            low, high = low / 2, high * 2
        self.low, self.high, self.start, self.end = low, high, start, end

    def place(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self):
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        all_ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        return [tick for tick in all_ticks if self.low <= tick <= self.high]


def text(x, y, words, **attributes):
    listed = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{listed}>{escape(words)}</text>'


def svg_of(rows, title):
    """Memory a rank against channels: a panel a number of ranks, a line a mode."""
    points = [(row, row.get("ledger_bytes") or row["predicted_bytes"]) for row in rows
              if row["status"] != "failed"]
    panels = sorted({row["ranks"] for row, _ in points})
    modes = list(dict.fromkeys(row["mode"] for row, _ in points))
    channels = sorted({row["channels"] for row, _ in points})
    width, height, left, top, gap = 270, 330, 70, 62, 24
    legend = left + len(panels) * (width + gap) + 4
    total_width, total_height = legend + 150, top + height + 78
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{total_width}" '
             f'height="{total_height}" viewBox="0 0 {total_width} {total_height}" '
             'font-family="sans-serif" font-size="11">',
             f'<rect width="{total_width}" height="{total_height}" fill="white"/>',
             text(left, 22, title, font_size=15, font_weight="bold"),
             text(18, top + height / 2, "memory ledger of a rank, MB", text_anchor="middle",
                  transform=f"rotate(-90 18 {top + height / 2})")]
    if points:
        megabytes = [value / 1e6 for _, value in points]
        y_axis = LogAxis(min(megabytes) / 1.15, max(megabytes) * 1.15, top + height, top)
    for number, ranks in enumerate(panels):
        x0 = left + number * (width + gap)
        x_axis = LogAxis(min(channels), max(channels), x0 + 16, x0 + width - 16)
        parts.append(text(x0 + width / 2, top - 10, f"{ranks} rank" + ("s" if ranks > 1 else ""),
                          text_anchor="middle", font_weight="bold"))
        for tick in y_axis.ticks():
            y = y_axis.place(tick)
            parts.append(f'<line x1="{x0}" x2="{x0 + width}" y1="{y:.1f}" y2="{y:.1f}" '
                         'stroke="#dddddd"/>')
            if number == 0:
                parts.append(text(x0 - 6, y + 4, f"{tick:g}", text_anchor="end"))
        for count in channels:
            x = x_axis.place(count)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + height}" '
                         f'y2="{top + height + 4}" stroke="black"/>')
            parts.append(text(x, top + height + 17, str(count), text_anchor="middle"))
        parts.append(text(x0 + width / 2, top + height + 36, "input channels",
                          text_anchor="middle"))
        parts.append(f'<rect x="{x0}" y="{top}" width="{width}" height="{height}" fill="none" '
                     'stroke="black"/>')
        for mode in modes:
            colour, dashes, shape = style_of(mode)
            line = [(x_axis.place(row["channels"]), y_axis.place(value / 1e6), row["status"])
                    for row, value in points if row["ranks"] == ranks and row["mode"] == mode]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in line)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                         f'stroke-width="1.6" stroke-dasharray="{dashes}"/>')
            parts += [mark(shape, x, y, colour, status == "ok") for x, y, status in line]
    for number, mode in enumerate(modes):
        colour, dashes, shape = style_of(mode)
        y = top + 8 + number * 20
        parts.append(f'<line x1="{legend}" x2="{legend + 30}" y1="{y}" y2="{y}" '
                     f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/>')
        parts.append(mark(shape, legend + 15, y, colour, True))
        parts.append(text(legend + 38, y + 4, mode))
    parts.append(text(left, total_height - 16,
                      "Sum of the peaks of all kinds on the rank that has most. Both axes are "
                      "logarithmic. Hollow: predicted, left out of the run.", fill="#555555"))
    return "\n".join(parts + ["</svg>", ""])
