"""How much of the collectives of a run lay beside computing, from its trace."""


def overlap_of(trace, skip):
    """Collectives of the backward pass, and what of them is hidden behind computing.

    Seconds a step and rank, without the first steps: of reductions and gathers from their
    submission to their end, of that while no thread was blocked by them, and of waits for gradients
    after the backward pass.
    """
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    ranks = {event["pid"] for event in events}
    total = dict.fromkeys(("reductions_seconds", "reductions_hidden_seconds", "gathers_seconds",
                           "gathers_hidden_seconds", "wait_seconds"), 0.0)
    steps = 0
    for rank in ranks:
        own = [e for e in events if e["pid"] == rank and e["ph"] == "X"]
        updates = sorted(e["ts"] + e["dur"] for e in own if e["cat"] == "optimizer")
        begin = updates[skip - 1] if skip > 0 else 0
        steps += len(updates) - skip
        for e in own:
            if e["ts"] < begin:
                continue
            if e["cat"] == "communication" and e["name"] == "wait for gradients":
                total["wait_seconds"] += e["dur"]
            if e["cat"] != "collective" or e["args"]["phase"] != "backward":
                continue
            collective, axis = e["name"].split()
            if axis not in ("shard", "data", "samples"):
                continue
            what = "gathers" if collective == "all_gather" else "reductions"
            taken = e["dur"] + e["args"]["queued_us"]
            total[f"{what}_seconds"] += taken
            total[f"{what}_hidden_seconds"] += max(0, taken - e["args"]["waited_us"])
    return {name: value * 1e-6 / steps for name, value in total.items()}
