"""The tables of sharding.py, as text."""

from formulas import KINDS, PARTS, textbook_volume


def mb(size):
    return f"{size / 1e6:.3f}"


def name_of(row):
    mesh = f" {row['data']}x{row['shard']}" if row["data"] > 1 else ""
    return row["strategy"] + mesh


def print_table(title, head, rows):
    print(f"\n{title}")
    widths = [max(len(str(line[i])) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, *rows]:
        cells = [str(cell).ljust(width) if i < 2 else str(cell).rjust(width)
                 for i, (cell, width) in enumerate(zip(line, widths))]
        print("  " + "  ".join(cells).rstrip())


def print_times(rows):
    lines = []
    for row in rows:
        ratio = f"{row['step_ratio']:.2f}" if "step_ratio" in row else ""
        lines.append([row["ranks"], name_of(row), row["prefetch"], row["recompute"],
                      f"{row['step_seconds'] * 1e3:.1f}",
                      f"{row['fastest_step_seconds'] * 1e3:.1f}", ratio])
    print_table("Step time: median, fastest, ratio to none on the same ranks with the same recompute",
                ["ranks", "strategy", "prefetch", "recompute", "ms", "fastest", "ratio"], lines)


def first_of_each(rows, *keys):
    chosen = {}
    for row in rows:
        chosen.setdefault(tuple(row[key] for key in keys), []).append(row)
    return chosen.values()


def verdict(group, names):
    """Whether all measured points of a row are as the formulas say."""
    wrong = {name for row in group for name in row["wrong"].split() if name in names}
    return "equal" if not wrong else "DIFFERENT: " + " ".join(sorted(wrong))


def print_memory(rows):
    lines = []
    for group in first_of_each(rows, "ranks", "strategy", "recompute"):
        row = group[0]
        cells = []
        for kind in KINDS:
            seen, formula = mb(row[f"{kind}_bytes"]), mb(row[f"{kind}_formula_bytes"])
            cells.append(f"{seen} / {formula}")
        lines.append([row["ranks"], name_of(row), row["recompute"], *cells, verdict(group, KINDS)])
    print_table("Memory of a rank, MB, measured / formula (activations: / predicted)",
                ["ranks", "strategy", "recompute", *KINDS, "bytes"], lines)


def print_traffic(rows):
    lines = []
    for group in first_of_each([row for row in rows if row["ranks"] > 1], "ranks", "strategy"):
        row = group[0]
        cells = []
        for part in PARTS:
            seen, formula = row[f"{part}_bytes"], row[f"{part}_formula_bytes"]
            cells.append(f"{mb(seen)} / {mb(formula)}" if seen or formula else "-")
        lines.append([row["ranks"], name_of(row), *cells, mb(row["ring_bytes"]),
                      f"{row['ring_bytes'] / row['whole_bytes']:.3f}",
                      f"{textbook_volume(row):.3f}",
                      verdict(group, [p for other in group for p in other["wrong"].split()
                                      if p not in KINDS])])
    print_table("Handed in by a rank in a step, MB, measured / formula; sent by rings, and that and "
                "the published volume\n(methods: DDP and ZeRO-2 2, ZeRO-3 3, each times (k-1)/k) in "
                "times the parameters",
                ["ranks", "strategy", *("{} {} {}".format(*part.split(".")) for part in PARTS),
                 "ring MB", "times", "published", "bytes"], lines)


def print_overlap(rows):
    lines = []
    for row in rows:
        if row["ranks"] == 1:
            continue
        shares = [f"{row[f'{what}_hidden_share']:.2f}" if row[f"{what}_hidden_share"] != "" else "-"
                  for what in ("reductions", "gathers")]
        lines.append([row["ranks"], name_of(row), row["prefetch"], row["recompute"],
                      f"{row['reductions_seconds'] * 1e3:.1f}", shares[0],
                      f"{row['gathers_seconds'] * 1e3:.1f}", shares[1],
                      f"{row['wait_seconds'] * 1e3:.1f}"])
    print_table("Collectives of the backward pass, ms a step and rank from their submission to their "
                "end, the share\nof that during which no thread was blocked by them, and the wait for "
                "gradients after the backward pass",
                ["ranks", "strategy", "prefetch", "recompute", "reductions", "share", "gathers",
                 "share", "wait"], lines)
