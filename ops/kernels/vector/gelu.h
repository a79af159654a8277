// GELU and its slope on ranges and vectors, for kernels that apply it as they go. Private to
// ops/kernels.
//
// The normal distribution function and GELU's slope are both 1/2 plus an odd function, which is
// taken from polynomials on intervals about multiples of 0.4: one table a power of the distance
// to the interval's middle, instead of an exponential. Beyond 5.8 they are 0 or 1.
#pragma once

#include <cstdint>

#include "ops/kernels/vector/float_vector.h"

namespace trib::ops {

namespace gelu_detail {

// Chebyshev fits to the odd parts for positive x; error below 6e-8 (cdf) and 1.2e-7 (slope), with
// rounding.

inline constexpr float kCdf[6][16] = {
    {0.0F, 0.155421736F, 0.288144596F, 0.384930328F, 0.44520071F, 0.477249871F, 0.491802465F,
     0.49744487F, 0.499312862F, 0.499840891F, 0.499968329F, 0.499994587F, 0.499999207F, 0.4999999F,
     0.499999989F, 0.5F},
    {0.159576909F, 0.147308054F, 0.115876622F, 0.0776744243F, 0.044368335F, 0.0215963863F,
     0.00895781135F, 0.00316618018F, 0.000953635208F, 0.000244760848F, 5.35321616e-05F,
     9.97702314e-06F, 1.58453137e-06F, 2.14444432e-07F, 2.47310933e-08F, 0.0F},
    {0.0F, -0.0117842518F, -0.0185398441F, -0.0186417364F, -0.0141980088F, -0.00863874798F,
     -0.00429985117F, -0.00177307017F, -0.00061030021F, -0.000176204293F, -4.28137533e-05F,
     -8.77541122e-06F, -1.51992489e-06F, -2.22749358e-07F, -2.76496794e-08F, 0.0F},
    {-0.00425527865F, -0.00329964717F, -0.00111245593F, 0.000911305505F, 0.00184568591F,
     0.00172772126F, 0.00113706963F, 0.000577525741F, 0.000234978043F, 7.80599443e-05F,
     2.14105543e-05F, 4.88362595e-06F, 9.30899724e-07F, 1.4881165e-07F, 2.00022725e-08F, 0.0F},
    {0.0F, 0.000442049257F, 0.000578964707F, 0.000386419325F, 8.48126618e-05F, -0.000113115721F,
     -0.000157149885F, -0.000114326525F, -5.91988445e-05F, -2.36534395e-05F, -7.55015928e-06F,
     -1.96134998e-06F, -4.19358845e-07F, -7.43500841e-08F, -1.09877232e-08F, 0.0F},
    {0.000101282386F, 6.4486139e-05F, -1.03158934e-05F, -5.85012075e-05F, -5.46646558e-05F,
     -2.31192519e-05F, 2.89352936e-06F, 1.16550026e-05F, 9.42491789e-06F, 4.88603544e-06F,
     1.87975294e-06F, 5.65755715e-07F, 1.3672231e-07F, 2.69335301e-08F, 4.36725589e-09F, 0.0F},
};

inline constexpr float kSlope[6][16] = {
    {0.0F, 0.302729756F, 0.519897808F, 0.617953598F, 0.622674067F, 0.585231817F, 0.545549337F,
     0.519608129F, 0.506941941F, 0.502043737F, 0.50050365F, 0.500104335F, 0.500018221F,
     0.500002688F, 0.500000336F, 0.5F},
    {0.319153798F, 0.271046813F, 0.157592219F, 0.043497694F, -0.0248462645F, -0.0431927809F,
     -0.0336813793F, -0.0184904954F, -0.00785795315F, -0.00268257703F, -0.00074944904F,
     -0.000173200595F, -3.33383721e-05F, -5.36964692e-06F, -7.26096666e-07F, 0.0F},
    {0.0F, -0.0452500525F, -0.0622927323F, -0.0477232932F, -0.0204465804F, -1.11968058e-06F,
     0.00756751562F, 0.00680894421F, 0.00380870537F, 0.00157906684F, 0.000513888922F,
     0.000134832538F, 2.895072e-05F, 5.13460144e-06F, 7.56928637e-07F, 0.0F},
    {-0.0170206933F, -0.0114134875F, 0.000217065764F, 0.00829796117F, 0.00871551809F,
     0.00460747609F, 0.000750825477F, -0.000893742049F, -0.000945486573F, -0.000530293131F,
     -0.00021128049F, -6.47255506e-05F, -1.57818926e-05F, -3.12050502e-06F, -5.0612339e-07F, 0.0F},
    {0.0F, 0.00252390597F, 0.00278347402F, 0.00105369069F, -0.000665043275F, -0.00113985512F,
     -0.000697961428F, -0.000164316407F, 8.02933727e-05F, 0.000101277892F, 5.61645713e-05F,
     2.13145345e-05F, 6.11665282e-06F, 1.38322116e-06F, 2.51930463e-07F, 0.0F},
    {0.000606009091F, 0.000319300044F, -0.000202582616F, -0.000413836235F, -0.000231075439F,
     2.56625937e-05F, 0.000120784374F, 8.07392222e-05F, 2.06924015e-05F, -6.64744736e-06F,
     -9.05613695e-06F, -4.76284255e-06F, -1.67459706e-06F, -4.40208353e-07F, -9.05159769e-08F,
     0.0F},
};

// Where x lies: which interval, and how far from its middle in units of its width.
struct Place {
  simd::Ints interval;
  simd::Vector distance;

  explicit Place(simd::Vector x) {
    constexpr float kRound =
        0x1.8p23F;                      // adding it leaves the nearest whole number in the low bits
    constexpr float kIntervals = 2.5F;  // a unit
    // In this order not-a-number stays what it is.
    const simd::Vector t = simd::smaller(simd::set(6.0F), simd::abs(x));
    const simd::Vector scale = simd::set(kIntervals);
    const simd::Vector shifted = simd::multiply_add(t, scale, simd::set(kRound));
    interval = simd::cast<simd::Ints>(shifted);
    distance = simd::multiply_add(t, scale, kRound - shifted);
  }
};

// 1/2 + the odd function of the table at x.
inline simd::Vector half_plus_odd(const float (&table)[6][16], const Place& place, simd::Vector x) {
  simd::Vector p = simd::look_up(table[5], place.interval);
  for (int power = 4; power >= 0; --power) {
    p = simd::multiply_add(p, place.distance, simd::look_up(table[power], place.interval));
  }
  const simd::Words sign = simd::cast<simd::Words>(x) & 0x80000000U;
  return simd::cast<simd::Vector>(simd::cast<simd::Words>(p) ^ sign) + 0.5F;
}

}  // namespace gelu_detail

inline simd::Vector gelu(simd::Vector x) {
  return x * gelu_detail::half_plus_odd(gelu_detail::kCdf, gelu_detail::Place(x), x);
}

/// Of one place: GELU and its derivative.
struct GeluAndSlope {
  simd::Vector value, slope;

  explicit GeluAndSlope(simd::Vector x) {
    const gelu_detail::Place place(x);
    value = x * gelu_detail::half_plus_odd(gelu_detail::kCdf, place, x);
    slope = gelu_detail::half_plus_odd(gelu_detail::kSlope, place, x);
  }
};

/// How the functions below store vectors, unless told otherwise: plainly.
struct PlainWriter {
  template <class T, class Extent>
  void operator()(T* to, simd::Vector x, Extent extent) const {
    simd::store(to, x, extent);
  }
};

/// y = gelu(x) on the calling thread. y may be x.
template <class To, class From, class Writer = PlainWriter>
void gelu_range(To* y, const From* x, std::int64_t count, Writer write = {}) {
  simd::for_vectors(count, [=](std::int64_t i, auto extent) {
    write(y + i, gelu(simd::load(x + i, extent)), extent);
  });
}

/// dx = dy * gelu'(x) and, unless null, activated = gelu(x), on the calling thread. dx may be dy,
/// activated may be x.
template <class To, class Dy, class From, class Writer = PlainWriter>
void gelu_backward_range(To* dx, From* activated, const Dy* dy, const From* x, std::int64_t count,
                         Writer write = {}) {
  if (activated == nullptr) {
    simd::for_vectors(count, [=](std::int64_t i, auto extent) {
      const simd::Vector value = simd::load(x + i, extent);
      const simd::Vector slope =
          gelu_detail::half_plus_odd(gelu_detail::kSlope, gelu_detail::Place(value), value);
      write(dx + i, simd::load(dy + i, extent) * slope, extent);
    });
    return;
  }
  simd::for_vectors(count, [=](std::int64_t i, auto extent) {
    const GeluAndSlope both(simd::load(x + i, extent));
    write(dx + i, simd::load(dy + i, extent) * both.slope, extent);
    write(activated + i, both.value, extent);
  });
}

}  // namespace trib::ops
