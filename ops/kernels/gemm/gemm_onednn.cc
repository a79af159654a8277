#include "ops/kernels/gemm/gemm_onednn.h"

#ifdef TRIB_HAS_ONEDNN
#include <array>
#include <bit>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace trib::ops {

#ifndef TRIB_HAS_ONEDNN

const char* onednn_description() {
  return nullptr;
}
bool is_onednn_faster() {
  return false;
}
bool gemm_bf16_onednn(const GemmProduct&) {
  return false;
}

#else

namespace {

using dnnl::memory;
using DataType = memory::data_type;

// All that a primitive is made for: extents, distances, layouts and factors.
using Key = std::array<std::int64_t, 9>;

Key key_of(const GemmProduct& p) {
  const std::int64_t layout = (p.a.trans == Transpose::yes ? 1 : 0) |
                              (p.b.trans == Transpose::yes ? 2 : 0) | (p.c.is_bf16() ? 4 : 0) |
                              (p.bias != nullptr ? 8 : 0);
  return {p.m,
          p.n,
          p.k,
          p.a.ld,
          p.b.ld,
          p.ldc,
          layout,
          std::bit_cast<std::int32_t>(p.alpha),
          std::bit_cast<std::int32_t>(p.beta)};
}

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 1469598103934665603U;
    for (const std::int64_t value : key) {
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211U;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

struct Primitive {
  dnnl::matmul matmul;  // empty if oneDNN refused
  memory a, b, c, bias, scratchpad;
};

memory::desc matrix(const GemmOperand& operand, std::int64_t rows, std::int64_t columns) {
  return {
      {rows, columns},
      DataType::bf16,
      operand.trans == Transpose::yes ? memory::dims{1, operand.ld} : memory::dims{operand.ld, 1}};
}

Primitive make_primitive(const GemmProduct& p, const dnnl::engine& engine) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.alpha != 1.0F) attributes.set_output_scales(0, {p.alpha});
  if (p.beta != 0.0F) {
    dnnl::post_ops post_ops;
    post_ops.append_sum(p.beta);
    attributes.set_post_ops(post_ops);
  }
  const memory::desc a = matrix(p.a, p.m, p.k), b = matrix(p.b, p.k, p.n);
  const memory::desc c({p.m, p.n}, p.c.is_bf16() ? DataType::bf16 : DataType::f32,
                       memory::dims{p.ldc, 1});
  const memory::desc bias({1, p.n}, DataType::f32, memory::dims{p.n, 1});
  const dnnl::matmul::desc operation =
      p.bias != nullptr ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const dnnl::matmul::primitive_desc description(operation, attributes, engine,
                                                 /*allow_empty=*/true);
  if (!description) return {};
  return {dnnl::matmul(description),
          memory(a, engine, nullptr),
          memory(b, engine, nullptr),
          memory(c, engine, nullptr),
          p.bias != nullptr ? memory(bias, engine, nullptr) : memory(),
          memory(description.scratchpad_desc(), engine, nullptr)};
}

// What a thread keeps: memory objects hold pointers of the call, so threads cannot share them.
struct Thread {
  static constexpr std::size_t kMaxPrimitives = 512;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Primitive, KeyHash> primitives;
  std::vector<std::byte> scratchpad;

  // oneDNN would start OpenMP threads of its own beside ours.
  Thread() { omp_set_num_threads(1); }

  Primitive& primitive(const GemmProduct& p) {
    const Key key = key_of(p);
    const auto found = primitives.find(key);
    if (found != primitives.end()) return found->second;
    if (primitives.size() >= kMaxPrimitives) primitives.clear();
    return primitives.emplace(key, make_primitive(p, engine)).first->second;
  }
};

// oneDNN only reads what it calls operands, but takes them as pointers to change.
void* mutable_data(ConstFloatPtr data) {
  return const_cast<BFloat16*>(data.as<BFloat16>());
}

}  // namespace

const char* onednn_description() {
  static const std::string description = [] {
    const dnnl::version_t& version = *dnnl::version();
    return fmt::format("oneDNN {}.{}.{}", version.major, version.minor, version.patch);
  }();
  return description.c_str();
}

bool is_onednn_faster() {
  // The values are sets of bits.
  constexpr auto kAmx = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  static const bool has_amx = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kAmx) == kAmx;
  return has_amx;
}

bool gemm_bf16_onednn(const GemmProduct& p) {
  if (p.bias != nullptr && p.alpha != 1.0F) return false;
  thread_local Thread thread;
  Primitive& primitive = thread.primitive(p);
  if (!primitive.matmul) return false;
  const std::size_t scratchpad_bytes = primitive.scratchpad.get_desc().get_size();
  if (thread.scratchpad.size() < scratchpad_bytes) thread.scratchpad.resize(scratchpad_bytes);
  primitive.a.set_data_handle(mutable_data(p.a.data), thread.stream);
  primitive.b.set_data_handle(mutable_data(p.b.data), thread.stream);
  primitive.c.set_data_handle(p.c.as<float>(), thread.stream);
  primitive.scratchpad.set_data_handle(thread.scratchpad.data(), thread.stream);
  std::array<dnnl_exec_arg_t, 5> arguments{{{DNNL_ARG_SRC, primitive.a.get()},
                                            {DNNL_ARG_WEIGHTS, primitive.b.get()},
                                            {DNNL_ARG_DST, primitive.c.get()},
                                            {DNNL_ARG_SCRATCHPAD, primitive.scratchpad.get()}}};
  int count = 4;
  if (p.bias != nullptr) {
    primitive.bias.set_data_handle(const_cast<float*>(p.bias), thread.stream);
    arguments[static_cast<std::size_t>(count++)] = {DNNL_ARG_BIAS, primitive.bias.get()};
  }
  // The C interface: the other makes a map of the arguments at each call.
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive.matmul.get(), thread.stream.get(), count, arguments.data()),
      "oneDNN could not multiply matrices");
  return true;
}

#endif

}  // namespace trib::ops
