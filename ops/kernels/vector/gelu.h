// GELU and its slope on ranges and vectors, for kernels that apply it as they go. Private to
// ops/kernels.
//
// The normal distribution function and GELU's slope are both 1/2 plus an odd function, which is
// taken from polynomials on intervals of the same width: one table a power, instead of an
// exponential. Beyond the last interval they are 0 or 1.
//
// For float32 degree 5 on 16 intervals: errors of the distribution function below 6e-8 and of the
// slope below 1.2e-7, with rounding. For bfloat16, which has 8 bits, degree 2 on 32: errors of
// GELU below 1.7e-5, and 2^-11 of its value from -3 on, and of the slope below 3.5e-5, before they
// are rounded.
#pragma once

#include <cstdint>
#include <type_traits>

#include "ops/base/bfloat16.h"
#include "ops/kernels/vector/bfloat16_pair.h"
#include "ops/kernels/vector/float_vector.h"

namespace trib::ops {

namespace gelu_detail {

// Chebyshev fits to the odd parts for positive x, in the distance to the middle of an interval of
// width 0.4.

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

// Minimax fits for positive x, in x itself, on intervals of width 0.16: of GELU less x/2, which is
// even, and of the odd part of the slope.

inline constexpr float kLowValue[3][32] = {
    {0.0F,
     -0.00010926152F,
     -0.00190838752F,
     -0.00925602671F,
     -0.0269436594F,
     -0.0588266253F,
     -0.106172435F,
     -0.166762367F,
     -0.235015601F,
     -0.303067029F,
     -0.362441599F,
     -0.405822724F,
     -0.428440124F,
     -0.428759933F,
     -0.408423811F,
     -0.371543974F,
     -0.323638886F,
     -0.270522296F,
     -0.217378318F,
     -0.168171585F,
     -0.125419214F,
     -0.0902654529F,
     -0.0627523884F,
     -0.0421736464F,
     -0.0274195578F,
     -0.0172566622F,
     -0.0105188256F,
     -0.00621300749F,
     -0.00355752464F,
     -0.00197548117F,
     -0.0010642095F,
     0.0F},
    {0.0F,         0.00211419375F, 0.0165345185F, 0.0528131127F,
     0.115670368F, 0.204080373F,   0.311680615F,  0.428319037F,
     0.542279184F, 0.642603815F,   0.720983505F,  0.772859395F,
     0.797632515F, 0.798090637F,   0.779348612F,  0.747600019F,
     0.708977997F, 0.668726861F,   0.630743027F,  0.597466469F,
     0.570032716F, 0.548572481F,   0.532556176F,  0.521108091F,
     0.51324898F,  0.508056164F,   0.504748285F,  0.502714097F,
     0.501505077F, 0.500810087F,   0.500423312F,  0.5F},
    {0.398590028F,     0.38832593F,      0.359208405F,     0.314286143F,
     0.258348554F,     0.196996868F,     0.135820717F,     0.0796596482F,
     0.0320733525F,    -0.00491289701F,  -0.0307856388F,   -0.0462968163F,
     -0.053081084F,    -0.0532302447F,   -0.0489116274F,   -0.0420781523F,
     -0.0342930295F,   -0.0266670007F,   -0.0198794547F,   -0.0142532149F,
     -0.00985197723F,  -0.00657661865F,  -0.00424561044F,  -0.00265338272F,
     -0.00160677196F,  -0.000943424006F, -0.000537414395F, -0.000297147402F,
     -0.000159541334F, -8.32081059e-05F, -4.21677832e-05F, 0.0F},
};
inline constexpr float kLowSlope[3][32] = {
    {0.0F,           -0.000850618002F, -0.00716989813F, -0.0205239784F,
     -0.0362852998F, -0.043966122F,    -0.0298167616F,  0.0183735527F,
     0.107434608F,   0.235825703F,     0.39335081F,     0.563274086F,
     0.726103485F,   0.863826752F,     0.963399351F,    1.01867831F,
     1.03057277F,    1.00564063F,      0.95397681F,     0.886704445F,
     0.814037442F,   0.743984163F,     0.681830406F,    0.630253434F,
     0.589834452F,   0.559732378F,     0.538333118F,    0.523765266F,
     0.514244974F,   0.508261025F,     0.504637837F,    0.5F},
    {0.796609581F,    0.816405892F,   0.869090796F,    0.936396241F,
     0.993476391F,    1.01566505F,    0.984278023F,    0.892208636F,
     0.744143486F,    0.555463016F,   0.348116875F,    0.14560315F,
     -0.0316905417F,  -0.169738546F,  -0.262232423F,   -0.31012699F,
     -0.319891572F,   -0.301109225F,  -0.264257759F,   -0.218814597F,
     -0.172218949F,   -0.129476368F,  -0.0933094248F,  -0.0646262541F,
     -0.0431021675F,  -0.0277248938F, -0.0172211677F,  -0.0103399949F,
     -0.00600636145F, -0.0033778972F, -0.00184030575F, 0.0F},
    {0.0F,
     -0.124859534F,
     -0.235687807F,
     -0.320770144F,
     -0.37252748F,
     -0.388545036F,
     -0.371137202F,
     -0.327142268F,
     -0.265580058F,
     -0.196240216F,
     -0.127993554F,
     -0.0676435754F,
     -0.0193754192F,
     0.0152223827F,
     0.0367042348F,
     0.0470791757F,
     0.0490827635F,
     0.0455452539F,
     0.0389733538F,
     0.0312985629F,
     0.0238286238F,
     0.0173085239F,
     0.012046949F,
     0.00805894565F,
     0.00519331638F,
     0.00322942482F,
     0.00194046169F,
     0.00112785329F,
     0.000634671364F,
     0.000346026238F,
     0.000182892909F,
     0.0F},
};

// 1/2 + a function whose value at |x| is p.
inline simd::Vector half_plus_odd(simd::Vector p, simd::Vector x) {
  const simd::Words sign = simd::cast<simd::Words>(x) & 0x80000000U;
  return simd::cast<simd::Vector>(simd::cast<simd::Words>(p) ^ sign) + 0.5F;
}

// Where x lies: which interval, and how far from its middle in units of its width.
struct Place {
  simd::Ints interval;
  simd::Vector x, distance;

  explicit Place(simd::Vector at) : x(at) {
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

  simd::Vector value() const { return x * polynomial(kCdf); }
  simd::Vector slope() const { return polynomial(kSlope); }

 private:
  simd::Vector polynomial(const float (&table)[6][16]) const {
    simd::Vector p = simd::look_up(table[5], interval);
    for (int power = 4; power >= 0; --power) {
      p = simd::multiply_add(p, distance, simd::look_up(table[power], interval));
    }
    return half_plus_odd(p, x);
  }
};

// The same for bfloat16.
struct LowPlace {
  simd::Ints interval;
  simd::Vector x, magnitude, clamped;

  explicit LowPlace(simd::Vector value) : x(value), magnitude(simd::abs(value)) {
    constexpr float kRound = 0x1.8p23F, kIntervals = 6.25F;
    clamped = simd::smaller(simd::set(5.0F), magnitude);
    interval = simd::cast<simd::Ints>(
        simd::multiply_add(clamped, simd::set(kIntervals), simd::set(kRound)));
  }

  simd::Vector value() const {
    const simd::Vector p = simd::multiply_add(simd::look_up(kLowValue[2], interval), clamped,
                                              simd::look_up(kLowValue[1], interval));
    // Not the clamped one: the last interval goes on for ever.
    const simd::Vector even =
        simd::multiply_add(p, magnitude, simd::look_up(kLowValue[0], interval));
    return simd::multiply_add(x, simd::set(0.5F), even);
  }

  simd::Vector slope() const {
    simd::Vector p = simd::multiply_add(simd::look_up(kLowSlope[2], interval), clamped,
                                        simd::look_up(kLowSlope[1], interval));
    p = simd::multiply_add(p, clamped, simd::look_up(kLowSlope[0], interval));
    return half_plus_odd(p, x);
  }
};

template <class T>
using PlaceFor = std::conditional_t<std::is_same_v<T, BFloat16>, LowPlace, Place>;

// GELU, and its slope times dy.
template <class Numbers>
struct ValueAndGradient {
  Numbers value, gradient;
};

template <class T>
simd::Vector value_of(simd::Vector x) {
  return PlaceFor<T>(x).value();
}
template <class T>
simd::Pair value_of(simd::Pair x) {
  return {value_of<T>(x.even), value_of<T>(x.odd)};
}

template <class T>
ValueAndGradient<simd::Vector> both_of(simd::Vector x, simd::Vector dy) {
  const PlaceFor<T> place(x);
  return {place.value(), dy * place.slope()};
}
template <class T>
ValueAndGradient<simd::Pair> both_of(simd::Pair x, simd::Pair dy) {
  const auto even = both_of<T>(x.even, dy.even), odd = both_of<T>(x.odd, dy.odd);
  return {{even.value, odd.value}, {even.gradient, odd.gradient}};
}

}  // namespace gelu_detail

/// How the functions below store vectors, unless told otherwise: plainly.
struct PlainWriter {
  template <class T, class Numbers, class Extent>
  void operator()(T* to, Numbers x, Extent extent) const {
    simd::store(to, x, extent);
  }
};

/// y = gelu(x) on the calling thread, as accurate as T holds it. y may be x.
template <class T, class Writer = PlainWriter>
void gelu_range(T* y, const T* x, std::int64_t count, Writer write = {}) {
  simd::for_pairs<T>(count, [=](std::int64_t i, auto extent) {
    write(y + i, gelu_detail::value_of<T>(simd::load(x + i, extent)), extent);
  });
}

/// dx = dy * gelu'(x) and, unless null, activated = gelu(x), on the calling thread. dx may be dy,
/// activated may be x.
template <class T, class Writer = PlainWriter>
void gelu_backward_range(T* dx, T* activated, const T* dy, const T* x, std::int64_t count,
                         Writer write = {}) {
  if (activated == nullptr) {
    simd::for_pairs<T>(count, [=](std::int64_t i, auto extent) {
      const auto both =
          gelu_detail::both_of<T>(simd::load(x + i, extent), simd::load(dy + i, extent));
      write(dx + i, both.gradient, extent);
    });
    return;
  }
  simd::for_pairs<T>(count, [=](std::int64_t i, auto extent) {
    const auto both =
        gelu_detail::both_of<T>(simd::load(x + i, extent), simd::load(dy + i, extent));
    write(dx + i, both.gradient, extent);
    write(activated + i, both.value, extent);
  });
}

}  // namespace trib::ops
