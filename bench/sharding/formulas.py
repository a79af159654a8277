"""What a rank holds and sends under each sharding strategy, by formulas.

They take the shapes of the model from the options of sharding.py, and ask nothing of the program.
"""

KINDS = ["parameters", "gradients", "optimizer", "communication", "activations"]
# What strategies send, and how much of it a ring of k ranks passes on for each byte handed in.
RING = {"all_gather": lambda k: k - 1,
        "reduce_scatter": lambda k: (k - 1) / k,
        "all_reduce": lambda k: 2 * (k - 1) / k}
PARTS = ["all_gather.shard.forward", "all_gather.shard.backward", "reduce_scatter.shard.backward",
         "all_reduce.data.backward", "all_reduce.samples.backward"]
FLOAT = 4


def unit_sizes(a):
    """Elements of the parameters of each unit: stem, blocks, what follows them, decoder."""
    pixels, positions = a.patch**2, (a.size // a.patch) ** 2

    def block(d):
        return [d, d, 3 * d * d, 3 * d, d * d, d, d, d, 4 * d * d, 4 * d, 4 * d * d, d]

    d, e = a.dim, a.decoder_dim
    stem = [a.channels * d * pixels, a.channels * d, a.channels * d, a.channels, 1, positions * d]
    between = [d, d, e * d, e, e, positions * e]
    end = [e, e, a.channels * pixels * e, a.channels * pixels]
    return ([stem] + [block(d)] * a.depth + [between] + [block(e)] * a.decoder_depth + [end])


def fixed_elements(a):
    """Of them, those that are never trained, though they are held like all: decoder_pos_embed."""
    return (a.size // a.patch) ** 2 * a.decoder_dim


def padded(size, multiple):
    return -(-size // multiple) * multiple


def formulas(units, row):
    """Bytes a rank holds by kind, and hands to collectives in a step, by docs of ShardingPlan.

    P: elements of all units, each parameter padded to a cache line, each unit to equal shards.
    """
    s = row["shard"] if row["strategy"] != "none" else 1
    sizes = [padded(sum(padded(p, 16) for p in unit), 16 * s) for unit in units]
    every, last = FLOAT * sum(sizes), FLOAT * sizes[-1]
    slots = FLOAT * (max(sizes[0::2]) + max(sizes[1::2]))
    full = s > 1 and row["strategy"] in ("full", "hybrid")
    held = {"parameters": every // s if full else every,
            "gradients": every // s,
            "optimizer": 2 * every // s,
            "communication": (slots if s > 1 else 0) + (slots if full else 0)}
    sent = dict.fromkeys(PARTS, 0)
    if s > 1:
        sent["all_gather.shard.forward"] = every // s
        sent["all_gather.shard.backward"] = (every - last) // s if full else 0
        sent["reduce_scatter.shard.backward"] = every
        sent["all_reduce.data.backward"] = every // s if row["data"] > 1 else 0
    elif row["ranks"] > 1:
        sent["all_reduce.samples.backward"] = every
    return every, held, sent


def ring_bytes(row, sent):
    """Bytes that leave a rank if every collective is a ring."""
    ranks = {"shard": row["shard"], "data": row["data"], "samples": row["ranks"]}
    total = 0
    for part, size in sent.items():
        collective, axis, _ = part.split(".")
        total += RING[collective](ranks[axis]) * size
    return total


def textbook_volume(row):
    """Ring volume of the strategy as published, in times the bytes of the parameters."""
    k, s = row["ranks"], row["shard"]
    if k == 1:
        return 0
    return {"none": 2 * (k - 1) / k,
            "grad_op": 2 * (k - 1) / k,
            "full": 3 * (k - 1) / k,
            "hybrid": 3 * (s - 1) / s + 2 * (row["data"] - 1) / row["data"] / s}[row["strategy"]]
