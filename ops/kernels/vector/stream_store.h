// Results written past the caches. Private to ops/kernels.
//
// A store to a line that is not in the cache first reads it, half as much traffic again for a copy.
// Streaming stores do not. But they throw the line out of the cache, and so pay only where the
// result would not stay there until it is used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/bfloat16_pair.h"
#include "ops/kernels/vector/float_vector.h"

namespace trib::ops {

/// What a kernel reads and writes in one call from where on nothing of it is found in the last
/// cache afterwards: 32 MB is a common size.
inline constexpr double kStreamBytes = 32 << 20;

namespace simd {

/// Past the caches; `to` is aligned to a vector. Before another thread reads it: end_streams().
inline void stream(float* to, Vector x) {
#if defined(TRIB_AVX512)
  _mm512_stream_ps(to, x);
#elif defined(__AVX__)
  _mm256_stream_ps(to, x);
#elif defined(__SSE2__)
  _mm_stream_ps(to, x);
#else
  store(to, x);
#endif
}
inline void stream(BFloat16* to, Vector x) {
#if defined(TRIB_AVX512)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), cast<__m256i>(detail::narrow(x)));
#else
  store(to, x);
#endif
}
inline void stream(BFloat16* to, Pair x) {
#if defined(TRIB_AVX512)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), cast<__m512i>(detail::narrow(x)));
#else
  store(to, x, Twice{});
#endif
}
inline void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Stores that stream, if kStreams.
template <bool kStreams>
struct Writer {
  template <class T, class Numbers, class Extent>
  void operator()(T* to, Numbers x, Extent extent) const {
    if constexpr (kStreams && !std::is_same_v<Extent, First>) {
      stream(to, x);
    } else {
      store(to, x, extent);
    }
  }
};

}  // namespace simd

/// Whether rows of `dim` elements from `data` on all begin on a line (as far as vectors go).
inline bool can_stream(const void* data, std::int64_t dim) {
  return reinterpret_cast<std::uintptr_t>(data) % 64 == 0 && dim % 32 == 0;
}

/// parallel_for whose body(begin, end, writer) gets the Writer that fits.
template <class Body>
void parallel_for_writing(bool streams, std::int64_t count, std::int64_t grain, const Body& body) {
  if (streams) {
    parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
      body(begin, end, simd::Writer<true>{});
      simd::end_streams();
    });
  } else {
    parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
      body(begin, end, simd::Writer<false>{});
    });
  }
}

/// The same over elements, in pieces that begin on a line if `data` does.
template <class Body>
void parallel_for_elements(bool streams, std::int64_t count, const Body& body) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  parallel_for_writing(streams, blocks, kElementGrain / kBlock,
                       [&](std::int64_t begin, std::int64_t end, auto writer) {
                         body(begin * kBlock, std::min(end * kBlock, count), writer);
                       });
}

}  // namespace trib::ops
