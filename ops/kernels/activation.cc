#include "ops/kernels/activation.h"

#include <initializer_list>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/gelu.h"
#include "ops/kernels/vector/stream_store.h"

namespace trib::ops {
namespace {

// Bytes of `count` elements of each operand that is there.
double bytes_of(std::int64_t count, std::initializer_list<ConstFloatPtr> operands) {
  std::size_t bytes = 0;
  for (const ConstFloatPtr& operand : operands) {
    if (!(operand == nullptr)) bytes += operand.element_bytes();
  }
  return static_cast<double>(bytes) * static_cast<double>(count);
}

// One row at a time: several are more places to read from than the processor follows.
template <class T>
void add_row(float* sum_d, const T* x_d, std::int64_t dim) {
  simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
    simd::store(sum_d + i, simd::load(sum_d + i, extent) + simd::load(x_d + i, extent), extent);
  });
}

}  // namespace

void gelu_forward(FloatPtr y_ptr, ConstFloatPtr x_ptr, std::int64_t count) {
  const double bytes = bytes_of(count, {y_ptr, x_ptr});
  const KernelScope scope("gelu_forward", {count}, 0, bytes);
  with_float_type(y_ptr, [&]<class T>(T* y) {
    const T* x = x_ptr.as<T>();
    const bool streams = bytes > kStreamBytes && y != x && can_stream(y, 0);
    parallel_for_elements(streams, count, [=](std::int64_t begin, std::int64_t end, auto write) {
      gelu_range(y + begin, x + begin, end - begin, write);
    });
  });
}

void gelu_backward(FloatPtr dx_ptr, FloatPtr activated_ptr, ConstFloatPtr dy_ptr,
                   ConstFloatPtr x_ptr, std::int64_t count) {
  const double bytes = bytes_of(count, {dx_ptr, activated_ptr, dy_ptr, x_ptr});
  const KernelScope scope("gelu_backward", {count}, 0, bytes);
  with_float_type(dx_ptr, [&]<class T>(T* dx) {
    const T *dy = dy_ptr.as<T>(), *x = x_ptr.as<T>();
    T* activated = activated_ptr.as<T>();
    const bool streams = bytes > kStreamBytes && can_stream(dx, 0) && can_stream(activated, 0) &&
                         dx != dy && activated != x;
    parallel_for_elements(streams, count, [=](std::int64_t begin, std::int64_t end, auto write) {
      gelu_backward_range(dx + begin, activated == nullptr ? nullptr : activated + begin,
                          dy + begin, x + begin, end - begin, write);
    });
  });
}

void convert(FloatPtr to_ptr, ConstFloatPtr from_ptr, std::int64_t count) {
  const double bytes = bytes_of(count, {to_ptr, from_ptr});
  const KernelScope scope("convert", {count}, 0, bytes);
  with_float_type(to_ptr, [&]<class To>(To* to) {
    with_float_type(from_ptr, [&]<class From>(const From* from) {
      const bool streams = bytes > kStreamBytes && can_stream(to, 0);
      parallel_for_elements(streams, count, [=](std::int64_t begin, std::int64_t end, auto write) {
        simd::for_vectors(end - begin, [=](std::int64_t i, auto extent) {
          write(to + begin + i, simd::load(from + begin + i, extent), extent);
        });
      });
    });
  });
}

void add(float* y, ConstFloatPtr x_ptr, std::int64_t count) {
  const KernelScope scope("add", {count}, 0, bytes_of(count, {y, y, x_ptr}));
  with_float_type(x_ptr, [&]<class T>(const T* x) {
    parallel_for_elements(false, count, [=](std::int64_t begin, std::int64_t end, auto write) {
      simd::for_vectors(end - begin, [=](std::int64_t i, auto extent) {
        float* const to = y + begin + i;
        write(to, simd::load(to, extent) + simd::load(x + begin + i, extent), extent);
      });
    });
  });
}

void add_to_rows(FloatPtr y_rd, const float* x_d, std::int64_t rows, std::int64_t dim) {
  const KernelScope scope("add_to_rows", {rows, dim}, 0, bytes_of(rows * dim, {y_rd, y_rd}));
  with_float_type(y_rd, [&]<class T>(T* first) {
    parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* const y = first + r * dim;
        simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
          simd::store(y + i, simd::load(y + i, extent) + simd::load(x_d + i, extent), extent);
        });
      }
    });
  });
}

void add_row_sum(float* y_d, ConstFloatPtr x_rd, std::int64_t rows, std::int64_t dim) {
  const KernelScope scope("add_row_sum", {rows, dim}, 0, bytes_of(rows * dim, {x_rd}));
  with_float_type(x_rd, [&]<class T>(const T* first) {
    reduce_vector(rows, row_grain(dim), y_d, dim,
                  [=](std::int64_t begin, std::int64_t end, float* sum_d) {
                    for (std::int64_t r = begin; r < end; ++r) {
                      add_row(sum_d, first + r * dim, dim);
                    }
                  });
  });
}

double sum_of_squares(const float* x, std::int64_t count) {
  const KernelScope scope("sum_of_squares", {count}, 0, bytes_of(count, {x}));
  return reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    return simd::sum_of_doubles(end - begin, [=](std::int64_t i, auto extent) {
      const simd::DoublePair value = simd::widen(simd::load(x + begin + i, extent));
      return simd::DoublePair{value.low * value.low, value.high * value.high};
    });
  });
}

}  // namespace trib::ops
