#include "io/chunks/chunk_codec.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <libdeflate.h>
#include <zstd.h>

#include "io/chunks/thread_scratch.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

using Kind = ChunkFilter::Kind;

constexpr std::size_t kChecksumBytes = 4;

libdeflate_decompressor* thread_inflater() {
  struct Free {
    void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
  };
  thread_local const std::unique_ptr<libdeflate_decompressor, Free> own{
      libdeflate_alloc_decompressor()};
  if (own == nullptr) throw RuntimeError("out of memory for inflating");
  return own.get();
}

ZSTD_DCtx* thread_expander() {
  struct Free {
    void operator()(ZSTD_DCtx* d) const { ZSTD_freeDCtx(d); }
  };
  thread_local const std::unique_ptr<ZSTD_DCtx, Free> own{ZSTD_createDCtx()};
  if (own == nullptr) throw RuntimeError("out of memory for expanding");
  return own.get();
}

bool compresses(Kind kind) {
  return kind == Kind::deflate || kind == Kind::zstd || kind == Kind::lzf;
}

// Byte b of element i lies at in[b * count + i]. Whole words are put together, so that the loop
// becomes one of vectors.
template <class Word>
void unshuffle_words(const std::byte* in, std::size_t count, std::byte* out) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(in);
  for (std::size_t i = 0; i < count; ++i) {
    Word word = 0;
#pragma GCC unroll 8
    for (std::size_t b = 0; b < sizeof(Word); ++b) {
      word |= static_cast<Word>(static_cast<Word>(bytes[b * count + i]) << (8 * b));
    }
    std::memcpy(out + i * sizeof(Word), &word, sizeof(Word));
  }
}

void check_fletcher32(std::span<const std::byte> bytes, std::span<const std::byte> stored) {
  std::uint32_t expected = 0;
  for (std::size_t b = 0; b < kChecksumBytes; ++b) {
    expected |= std::to_integer<std::uint32_t>(stored[b]) << (8 * b);
  }
  const std::uint32_t found = fletcher32(bytes);
  // Files of HDF5 before 1.6.3 may hold the bytes of each half in the other order.
  const std::uint32_t swapped = ((found & 0x00ff00ffU) << 8) | ((found & 0xff00ff00U) >> 8);
  if (expected == found || expected == swapped) return;
  throw DataError(fmt::format("checksum is {:#010x}, {:#010x} was stored", found, expected));
}

// Before memory is taken for it: no deflated byte holds more than 1032 (a match of 258 bytes needs
// two bits).
void check_inflated(std::size_t stored, std::size_t inflated) {
  constexpr std::size_t kMost = 1032;
  if (inflated / kMost <= stored) return;
  throw DataError(fmt::format("{} deflated bytes cannot hold {}", stored, inflated));
}

// The same by what the first frame says of itself, if it does.
void check_expanded(std::span<const std::byte> stored, std::size_t expanded) {
  const unsigned long long size = ZSTD_getFrameContentSize(stored.data(), stored.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return;
  if (size == expanded) return;
  throw DataError(
      fmt::format("{} bytes of zstd hold {}, expected {}", stored.size(), size, expanded));
}

}  // namespace

void inflate_zlib(std::span<const std::byte> stored, std::span<std::byte> out) {
  const libdeflate_result result = libdeflate_zlib_decompress(
      thread_inflater(), stored.data(), stored.size(), out.data(), out.size(), nullptr);
  switch (result) {
    case LIBDEFLATE_SUCCESS:
      return;
    case LIBDEFLATE_SHORT_OUTPUT:
      throw DataError(fmt::format("{} deflated bytes hold less than the {} expected", stored.size(),
                                  out.size()));
    case LIBDEFLATE_INSUFFICIENT_SPACE:
      throw DataError(fmt::format("{} deflated bytes hold more than the {} expected", stored.size(),
                                  out.size()));
    case LIBDEFLATE_BAD_DATA:
      break;
  }
  throw DataError(fmt::format("{} deflated bytes are damaged", stored.size()));
}

void expand_zstd(std::span<const std::byte> stored, std::span<std::byte> out) {
  const std::size_t size =
      ZSTD_decompressDCtx(thread_expander(), out.data(), out.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0) {
    throw DataError(fmt::format("{} bytes of zstd do not expand to {}: {}", stored.size(),
                                out.size(), ZSTD_getErrorName(size)));
  }
  if (size != out.size()) {
    throw DataError(
        fmt::format("{} bytes of zstd hold {}, expected {}", stored.size(), size, out.size()));
  }
}

// Each item starts with a byte: below 32 that many bytes and one follow as they are; else its high
// three bits, with another byte if all are set, tell a length, and the other five with the next
// byte how far back the same bytes stand.
void expand_lzf(std::span<const std::byte> stored, std::span<std::byte> out) {
  const auto* in = reinterpret_cast<const std::uint8_t*>(stored.data());
  const auto* const end = in + stored.size();
  auto* const first = reinterpret_cast<std::uint8_t*>(out.data());
  std::size_t done = 0;
  const auto check = [&](bool fine) {
    if (fine) return;
    throw DataError(fmt::format("{} bytes of lzf do not expand to {}", stored.size(), out.size()));
  };
  while (in < end) {
    const std::size_t control = *in++;
    if (control < 32) {
      const std::size_t count = control + 1;
      check(count <= static_cast<std::size_t>(end - in) && count <= out.size() - done);
      std::memcpy(first + done, in, count);
      in += count;
      done += count;
      continue;
    }
    std::size_t count = (control >> 5) + 2;
    check(end - in >= (count == 9 ? 2 : 1));
    if (count == 9) count += *in++;
    const std::size_t back = ((control & 31) << 8 | *in++) + 1;
    check(back <= done && count <= out.size() - done);
    // May reach into what it writes.
    for (std::size_t i = 0; i < count; ++i, ++done) first[done] = first[done - back];
  }
  check(done == out.size());
}

void unshuffle(std::size_t element_size, std::span<const std::byte> shuffled,
               std::span<std::byte> out) {
  const std::size_t count = shuffled.size() / std::max<std::size_t>(1, element_size);
  const std::byte* in = shuffled.data();
  switch (element_size) {
    case 2:
      unshuffle_words<std::uint16_t>(in, count, out.data());
      break;
    case 4:
      unshuffle_words<std::uint32_t>(in, count, out.data());
      break;
    case 8:
      unshuffle_words<std::uint64_t>(in, count, out.data());
      break;
    default:
      for (std::size_t b = 0; b < element_size; ++b) {
        for (std::size_t i = 0; i < count; ++i) out[i * element_size + b] = in[b * count + i];
      }
  }
  std::ranges::copy(shuffled.subspan(count * element_size),
                    out.begin() + static_cast<std::ptrdiff_t>(count * element_size));
}

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  // Sums of 16-bit words, the first byte of each the high one; 360 of them cannot overflow.
  constexpr std::size_t kWords = 360;
  std::uint32_t sum = 0, sum_of_sums = 0;
  const auto fold = [](std::uint32_t v) { return (v & 0xffffU) + (v >> 16); };
  std::size_t i = 0;
  while (i + 1 < bytes.size()) {
    const std::size_t end = std::min(bytes.size() / 2 * 2, i + 2 * kWords);
    for (; i < end; i += 2) {
      sum += (std::to_integer<std::uint32_t>(bytes[i]) << 8) |
             std::to_integer<std::uint32_t>(bytes[i + 1]);
      sum_of_sums += sum;
    }
    sum = fold(sum);
    sum_of_sums = fold(sum_of_sums);
  }
  if (i < bytes.size()) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8;
    sum_of_sums += sum;
    sum = fold(sum);
    sum_of_sums = fold(sum_of_sums);
  }
  sum = fold(sum);
  sum_of_sums = fold(sum_of_sums);
  return (sum_of_sums << 16) | sum;
}

std::optional<ChunkFilter> hdf5_filter(int id, std::span<const unsigned> parameters) {
  switch (id) {
    case 1:
      return ChunkFilter{Kind::deflate};
    case 2:
      if (parameters.empty() || parameters[0] == 0) return {};
      return ChunkFilter{Kind::shuffle, parameters[0]};
    case 3:
      return ChunkFilter{Kind::fletcher32};
    case 32000:
      return ChunkFilter{Kind::lzf};
    case 32015:
      return ChunkFilter{Kind::zstd};
    default:
      return {};
  }
}

bool ChunkCodec::supports(std::span<const ChunkFilter> filters) {
  return std::ranges::count_if(filters, compresses, &ChunkFilter::kind) <= 1 &&
         filters.size() <= 32;
}

ChunkCodec::ChunkCodec(std::vector<ChunkFilter> filters) : filters_(std::move(filters)) {
  if (!supports(filters_)) throw RuntimeError("chunks compressed more than once");
}

bool ChunkCodec::stored_plainly(std::uint32_t skipped) const {
  for (std::size_t i = 0; i < filters_.size(); ++i) {
    if ((skipped >> i & 1) == 0) return false;
  }
  return true;
}

std::unique_ptr<Buffer> ChunkCodec::decode(std::span<const std::byte> stored, std::uint32_t skipped,
                                           std::size_t size) const {
  const auto is_applied = [&](std::size_t i) { return (skipped >> i & 1) == 0; };
  // Sizes of what entered each filter, known up to the one that compresses.
  std::vector<std::size_t> entered;
  std::size_t first_applied = filters_.size();
  std::size_t bytes = size;
  for (std::size_t i = filters_.size(); i-- > 0;) {
    if (is_applied(i)) first_applied = i;
  }
  for (std::size_t i = 0; i < filters_.size(); ++i) {
    entered.push_back(bytes);
    if (is_applied(i) && filters_[i].kind == Kind::fletcher32) bytes += kChecksumBytes;
  }
  std::span<const std::byte> now = stored;
  std::unique_ptr<Buffer> decoded;
  std::vector<std::unique_ptr<ThreadScratch>> on_the_way;
  const auto replace = [&](std::size_t filter, std::size_t new_size, const auto& make) {
    std::span<std::byte> to;
    if (filter == first_applied && new_size == size) {
      decoded = std::make_unique<Buffer>(size, MemoryKind::ingest);
      to = {decoded->data(), size};
    } else {
      on_the_way.push_back(std::make_unique<ThreadScratch>(new_size));
      to = on_the_way.back()->bytes();
    }
    make(to);
    now = to;
  };
  for (std::size_t i = filters_.size(); i-- > 0;) {
    if (!is_applied(i)) continue;
    const ChunkFilter& filter = filters_[i];
    switch (filter.kind) {
      case Kind::deflate:
        check_inflated(now.size(), entered[i]);
        replace(i, entered[i], [&](std::span<std::byte> out) { inflate_zlib(now, out); });
        break;
      case Kind::zstd:
        check_expanded(now, entered[i]);
        replace(i, entered[i], [&](std::span<std::byte> out) { expand_zstd(now, out); });
        break;
      case Kind::lzf:
        replace(i, entered[i], [&](std::span<std::byte> out) { expand_lzf(now, out); });
        break;
      case Kind::shuffle:
        replace(i, now.size(),
                [&](std::span<std::byte> out) { unshuffle(filter.element_size, now, out); });
        break;
      case Kind::fletcher32: {
        if (now.size() < kChecksumBytes) {
          throw DataError(fmt::format("{} bytes cannot hold a checksum", now.size()));
        }
        const std::size_t rest = now.size() - kChecksumBytes;
        check_fletcher32(now.first(rest), now.subspan(rest));
        now = now.first(rest);
        break;
      }
    }
  }
  if (now.size() != size) {
    throw DataError(fmt::format("chunk holds {} bytes, expected {}", now.size(), size));
  }
  if (decoded == nullptr) {
    decoded = std::make_unique<Buffer>(size, MemoryKind::ingest);
    std::memcpy(decoded->data(), now.data(), size);
  }
  return decoded;
}

}  // namespace trib::io
