// Attention of a block of queries. Included by attention_block.cc within a namespace for each
// instruction set; not a header of its own.
//
// Scores are held transposed, [key, query]: queries lie along the lanes of vectors, so that maxima,
// sums and rescaling need no step across lanes, and keys and values are read one unit at a time
// from rows as they come.
//
//   s^T = k q^T          p^T = exp(s^T - max)         o^T  += v^T p^T
//   dp^T = v do^T        ds^T = p^T (dp^T - delta)    dq^T += k^T ds^T
//   dv += p^T do         dk += ds^T q
//
// Legend: i query of the block, j key, d dim of the head, 2 a pair of bfloat16 within a unit.

#include "ops/kernels/attention/attention_pack.inc.h"

constexpr auto kLog2E = std::numbers::log2e_v<float>;

// Where block number `block` of `blocks` begins: whole pieces, about as many in each block.
inline std::int64_t block_begin(std::int64_t block, std::int64_t blocks, std::int64_t count,
                                std::int64_t piece) {
  return std::min(block * ((count + piece - 1) / piece) / blocks * piece, count);
}

// Call body(first, count) for blocks of queries, whole vectors all but the last.
template <class Body>
void for_query_blocks(const AttentionTask& t, const Body& body) {
  const std::int64_t count = t.q_end - t.q_begin, blocks = (count + kQueries - 1) / kQueries;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t begin = block_begin(i, blocks, count, kLanes);
    body(t.q_begin + begin, block_begin(i + 1, blocks, count, kLanes) - begin);
  }
}

// The same for blocks of keys, pairs all but the last.
template <class Body>
void for_key_blocks(std::int64_t tokens, const Body& body) {
  const std::int64_t blocks = (tokens + kAttentionKeys - 1) / kAttentionKeys;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t begin = block_begin(i, blocks, tokens, 2);
    body(begin, block_begin(i + 1, blocks, tokens, 2) - begin);
  }
}

// Hands out parts of the scratch memory.
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* floats(std::int64_t rows, std::int64_t columns) {
    float* const part = next_;
    next_ += rows * columns;
    return part;
  }
  Unit* matrix(std::int64_t rows, std::int64_t columns) {
    return reinterpret_cast<Unit*>(floats(rows, columns));
  }

 private:
  float* next_;
};

// Softmax over the keys seen so far, of every query. Logarithms are to base 2.
struct OnlineSoftmax {
  alignas(64) float largest[kQueries], sum[kQueries], shrink[kQueries];

  OnlineSoftmax() {
    std::fill_n(largest, kQueries, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, kQueries, 0.0F);
  }

  // Scores become weights, up to a factor. Sums of former keys are to be multiplied by `shrink`.
  void add(float* s_ji, std::int64_t keys, std::int64_t lanes, float scale) {
    for (std::int64_t i = 0; i < lanes; i += kLanes) {
      float* const s_j = s_ji + i;
      const Vec before = load(largest + i);
      Vec top = load(s_j);
      for (std::int64_t j = 1; j < keys; ++j) {
        const Vec s = load(s_j + j * kQueries);
        top = s > top ? s : top;
      }
      top *= scale;
      top = top > before ? top : before;
      const Vec factor = exp2_of(before - top);
      Vec total = load(sum + i) * factor;
      for (std::int64_t j = 0; j < keys; ++j) {
        const Vec p = exp2_of(load(s_j + j * kQueries) * scale - top);
        store(s_j + j * kQueries, p);
        total += p;
      }
      store(largest + i, top);
      store(shrink + i, factor);
      store(sum + i, total);
    }
  }
};

inline void scale_lanes(float* x_di, const float* factor_i, std::int64_t dim, std::int64_t lanes) {
  for (std::int64_t i = 0; i < lanes; i += kLanes) {
    const Vec factor = load(factor_i + i);
    for (std::int64_t d = 0; d < dim; ++d) {
      float* const x = x_di + d * kQueries + i;
      store(x, load(x) * factor);
    }
  }
}

template <class Math, class Float>
void forward(FloatPtr out_ptr, float* lse, const AttentionTask& t, float* memory) {
  const std::int64_t dim = t.head_dim, ld = t.qkv_ld, tokens = t.tokens;
  const std::int64_t row = attention_row(dim);
  const float scale = kLog2E / std::sqrt(static_cast<float>(dim));
  Scratch scratch(memory);
  Unit* const rows_id = scratch.matrix(kQueries, row);
  Unit* const q_di = scratch.matrix(row, kQueries);
  float* const s_ji = scratch.floats(kAttentionKeys, kQueries);
  Unit* const p_ji = Math::kPerUnit == 1 ? reinterpret_cast<Unit*>(s_ji)
                                         : scratch.matrix(kAttentionKeys / 2, kQueries);
  float* const out_di = scratch.floats(row, kQueries);
  const Left k = rows_of_units<Math>(scratch.matrix(tokens, units<Math>(dim)), t.k.as<Float>(), ld,
                                     tokens, dim);
  const Left v = columns_of_units<Math>(scratch.matrix(units<Math>(tokens), dim), t.v.as<Float>(),
                                        ld, tokens, dim);

  for_query_blocks(t, [&](std::int64_t q0, std::int64_t queries) {
    const std::int64_t lanes = round_up_lanes(queries), used_lanes = product_columns(queries);
    transpose_rows<Math>(q_di, rows_id, t.q.as<Float>() + q0 * ld, ld, queries, dim);
    OnlineSoftmax softmax;
    for_key_blocks(tokens, [&](std::int64_t k0, std::int64_t keys) {
      product<Math>(false, {s_ji, kQueries}, k.from_row(k0), {q_di, kQueries}, keys, used_lanes,
                    units<Math>(dim));
      softmax.add(s_ji, keys, lanes, scale);
      if (k0 > 0) scale_lanes(out_di, softmax.shrink, dim, lanes);
      if constexpr (Math::kPerUnit == 2) Math::pair_rows(p_ji, s_ji, kQueries, keys, lanes);
      product<Math>(k0 > 0, {out_di, kQueries}, v.from_inner(k0 / Math::kPerUnit), {p_ji, kQueries},
                    dim, used_lanes, units<Math>(keys));
    });
    for (std::int64_t i = 0; i < queries; ++i) {
      lse[q0 + i] = softmax.largest[i] / kLog2E + std::log(softmax.sum[i]);
    }
    for (std::int64_t i = 0; i < lanes; ++i) softmax.shrink[i] = 1.0F / softmax.sum[i];
    scale_lanes(out_di, softmax.shrink, dim, lanes);
    transpose(rows_id, row, reinterpret_cast<Unit*>(out_di), kQueries, round_up_lanes(dim), lanes);
    unpack_rows(out_ptr.as<Float>() + q0 * t.out_ld, t.out_ld, reinterpret_cast<float*>(rows_id),
                row, queries, dim, 1.0F);
  });
}

// s becomes the weights p and dp the gradient ds of the scaled scores. lse is to base 2.
inline void score_gradient(float* s_ji, float* dp_ji, const float* lse_i, const float* delta_i,
                           float scale, std::int64_t keys, std::int64_t lanes) {
  for (std::int64_t j = 0; j < keys; ++j, s_ji += kQueries, dp_ji += kQueries) {
    for (std::int64_t i = 0; i < lanes; i += kLanes) {
      const Vec p = exp2_of(load(s_ji + i) * scale - load(lse_i + i));
      store(s_ji + i, p);
      store(dp_ji + i, p * (load(dp_ji + i) - load(delta_i + i)));
    }
  }
}

// The sum of x * y for each of the rows.
template <class Float>
void row_dots(float* sums, const Float* x, const Float* y, std::int64_t ld, std::int64_t rows,
              std::int64_t dim) {
  for (std::int64_t i0 = 0; i0 < rows; i0 += kLanes) {
    const std::int64_t count = std::min<std::int64_t>(kLanes, rows - i0);
    UnitVec lane_sums[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i, x += ld, y += ld) {
      Vec sum{};
      std::int64_t d = 0;
      for (; d + kLanes <= dim; d += kLanes) sum += load(x + d) * load(y + d);
      for (; d < dim; ++d) sum[0] += static_cast<float>(x[d]) * static_cast<float>(y[d]);
      lane_sums[i] = reinterpret_cast<UnitVec>(sum);
    }
    // Transposed, the sums over the lanes are sums of vectors.
    exchange_all<kLanes / 2>(lane_sums);
    Vec sum{};
    for (const UnitVec& lane : lane_sums) sum += reinterpret_cast<Vec>(lane);
    store(sums + i0, sum);
  }
}

template <class Math, class Float>
void backward(const AttentionGradient& g, const AttentionTask& t, float* memory) {
  const std::int64_t dim = t.head_dim, ld = t.qkv_ld, tokens = t.tokens;
  const std::int64_t row = attention_row(dim), columns = product_columns(dim);
  const float scale = kLog2E / std::sqrt(static_cast<float>(dim));
  constexpr bool kPairs = Math::kPerUnit == 2;
  constexpr std::int64_t kLeftRow = kQueries / Math::kPerUnit;
  Scratch scratch(memory);
  Unit* const rows_id = scratch.matrix(kQueries, row);
  Unit* const q_id = scratch.matrix(kQueries, row);
  Unit* const dout_id = scratch.matrix(kQueries, row);
  Unit* const q_di = scratch.matrix(row, kQueries);
  Unit* const dout_di = scratch.matrix(row, kQueries);
  float* const dq_di = scratch.floats(row, kQueries);
  float* const p_ji = scratch.floats(kAttentionKeys, kQueries);
  float* const ds_ji = scratch.floats(kAttentionKeys, kQueries);
  // As left operands, pairs along the queries; as the right one, pairs along the keys.
  Unit *p_left = reinterpret_cast<Unit*>(p_ji), *ds_left = reinterpret_cast<Unit*>(ds_ji);
  Unit* ds_right = ds_left;
  if constexpr (kPairs) {
    p_left = scratch.matrix(kAttentionKeys, kLeftRow);
    ds_left = scratch.matrix(kAttentionKeys, kLeftRow);
    ds_right = scratch.matrix(kAttentionKeys / 2, kQueries);
  }
  const Float* const keys_of_head = t.k.as<Float>();
  const Left k =
      rows_of_units<Math>(scratch.matrix(tokens, units<Math>(dim)), keys_of_head, ld, tokens, dim);
  const Left v = rows_of_units<Math>(scratch.matrix(tokens, units<Math>(dim)), t.v.as<Float>(), ld,
                                     tokens, dim);
  const Left k_over_keys = columns_of_units<Math>(scratch.matrix(units<Math>(tokens), dim),
                                                  keys_of_head, ld, tokens, dim);

  for_query_blocks(t, [&](std::int64_t q0, std::int64_t queries) {
    const std::int64_t lanes = round_up_lanes(queries), used_lanes = product_columns(queries);
    const bool add_to_keys = q0 > t.q_begin;
    const Float* const q = t.q.as<Float>() + q0 * ld;
    const Float* const dout = g.dout.as<Float>() + q0 * t.out_ld;
    const Float* const out = g.out.as<Float>() + q0 * t.out_ld;
    transpose_rows<Math>(q_di, rows_id, q, ld, queries, dim);
    transpose_rows<Math>(dout_di, rows_id, dout, t.out_ld, queries, dim);
    const Right q_over_queries = right_of_units<Math>(q_id, row, q, ld, queries, dim);
    const Right dout_over_queries =
        right_of_units<Math>(dout_id, row, dout, t.out_ld, queries, dim);
    alignas(64) float lse_i[kQueries] = {}, delta_i[kQueries] = {};  // delta: sum of p * dp
    for (std::int64_t i = 0; i < queries; ++i) lse_i[i] = g.lse[q0 + i] * kLog2E;
    row_dots(delta_i, dout, out, t.out_ld, queries, dim);
    for_key_blocks(tokens, [&](std::int64_t k0, std::int64_t keys) {
      product<Math>(false, {p_ji, kQueries}, k.from_row(k0), {q_di, kQueries}, keys, used_lanes,
                    units<Math>(dim));
      product<Math>(false, {ds_ji, kQueries}, v.from_row(k0), {dout_di, kQueries}, keys, used_lanes,
                    units<Math>(dim));
      score_gradient(p_ji, ds_ji, lse_i, delta_i, scale, keys, lanes);
      if constexpr (kPairs) {
        Math::pair_along_rows(p_left, p_ji, kQueries, keys, lanes);
        Math::pair_along_rows(ds_left, ds_ji, kQueries, keys, lanes);
        Math::pair_rows(ds_right, ds_ji, kQueries, keys, lanes);
      }
      product<Math>(add_to_keys, {g.dv_sums + k0 * row, row}, {p_left, kLeftRow, 1},
                    dout_over_queries, keys, columns, units<Math>(queries));
      product<Math>(add_to_keys, {g.dk_sums + k0 * row, row}, {ds_left, kLeftRow, 1},
                    q_over_queries, keys, columns, units<Math>(queries));
      product<Math>(k0 > 0, {dq_di, kQueries}, k_over_keys.from_inner(k0 / Math::kPerUnit),
                    {ds_right, kQueries}, dim, used_lanes, units<Math>(keys));
    });
    transpose(rows_id, row, reinterpret_cast<Unit*>(dq_di), kQueries, round_up_lanes(dim), lanes);
    unpack_rows(g.dq.as<Float>() + q0 * ld, ld, reinterpret_cast<float*>(rows_id), row, queries,
                dim, scale / kLog2E);
  });
}

// See AttentionBlocks.
template <class Float>
void store_sums(FloatPtr to, std::int64_t ld, float* sums, std::int64_t parts,
                std::int64_t part_stride, std::int64_t rows, std::int64_t dim, float factor) {
  const std::int64_t row = attention_row(dim);
  for (std::int64_t part = 1; part < parts; ++part) {
    const float* const next = sums + part * part_stride;
    for (std::int64_t i = 0; i < rows * row; i += kLanes)
      store(sums + i, load(sums + i) + load(next + i));
  }
  unpack_rows(to.as<Float>(), ld, sums, row, rows, dim, factor);
}
