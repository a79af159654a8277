#include "io/chunks/chunk_codec.h"

#include <random>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

using Bytes = std::vector<std::byte>;
using Kind = ChunkFilter::Kind;

// Bytes with repetitions, so that compression finds some.
Bytes random_bytes(std::size_t count, unsigned seed) {
  std::minstd_rand random(seed);
  Bytes bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() >> 8 & 15);
  return bytes;
}

Bytes deflated(const Bytes& raw) {
  uLongf size = compressBound(raw.size());
  Bytes out(size);
  compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(raw.data()),
            raw.size(), 4);
  out.resize(size);
  return out;
}

Bytes zstd(const Bytes& raw) {
  Bytes out(ZSTD_compressBound(raw.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), raw.data(), raw.size(), 3));
  return out;
}

Bytes bytes(std::initializer_list<int> values) {
  Bytes out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

Bytes shuffled(const Bytes& raw, std::size_t element) {
  Bytes out(raw);
  const std::size_t count = raw.size() / element;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t b = 0; b < element; ++b) out[b * count + i] = raw[i * element + b];
  }
  return out;
}

Bytes with_checksum(Bytes bytes) {
  const std::uint32_t sum = fletcher32(bytes);
  for (int b = 0; b < 4; ++b) bytes.push_back(static_cast<std::byte>(sum >> (8 * b)));
  return bytes;
}

Bytes bytes_of(const Buffer& buffer) {
  return {buffer.data(), buffer.data() + buffer.size()};
}

TEST(ChunkCodec, UnshufflesElementsOfAnySize) {
  for (const std::size_t element : {1U, 2U, 3U, 4U, 5U, 8U, 16U}) {
    for (const std::size_t size : {0U, 1U, 7U, 64U, 1000U, 4099U}) {
      const Bytes raw = random_bytes(size, 1);
      Bytes out(size);
      unshuffle(element, shuffled(raw, element), out);
      ASSERT_EQ(out, raw) << "elements of " << element << ", " << size << " bytes";
    }
  }
}

TEST(ChunkCodec, SumsWordsAndTheirSums) {
  // Worked by hand: words 0x0102, 0x0304, and 0x0500 of the odd byte.
  const Bytes bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  EXPECT_EQ(fletcher32(bytes), ((0x0102U + 0x0406U + 0x0906U) << 16) | 0x0906U);
  EXPECT_EQ(fletcher32({}), 0U);
}

TEST(ChunkCodec, UndoesPipelinesInTheirOrder) {
  const Bytes raw = random_bytes(4000, 2);
  const auto expect_decoded = [&](std::vector<ChunkFilter> filters, const Bytes& stored,
                                  std::uint32_t skipped = 0) {
    EXPECT_EQ(bytes_of(*ChunkCodec(std::move(filters)).decode(stored, skipped, raw.size())), raw);
  };
  const ChunkFilter shuffle{Kind::shuffle, 4}, deflate{Kind::deflate}, zstandard{Kind::zstd},
      checksum{Kind::fletcher32};
  expect_decoded({}, raw);
  expect_decoded({deflate}, deflated(raw));
  expect_decoded({shuffle, deflate}, deflated(shuffled(raw, 4)));
  expect_decoded({shuffle, zstandard}, zstd(shuffled(raw, 4)));
  expect_decoded({shuffle, deflate, checksum}, with_checksum(deflated(shuffled(raw, 4))));
  expect_decoded({checksum, shuffle, deflate}, deflated(shuffled(with_checksum(raw), 4)));
  expect_decoded({shuffle, checksum}, with_checksum(shuffled(raw, 4)));
  expect_decoded({deflate, shuffle}, shuffled(deflated(raw), 4));
  // Filters left out for this chunk.
  expect_decoded({shuffle, deflate, checksum}, with_checksum(shuffled(raw, 4)), 2);
  expect_decoded({shuffle, deflate}, raw, 3);
}

TEST(ChunkCodec, KnowsChunksStoredPlainly) {
  const ChunkCodec codec({{Kind::shuffle, 4}, {Kind::deflate}});
  EXPECT_FALSE(codec.stored_plainly(0));
  EXPECT_FALSE(codec.stored_plainly(2));
  EXPECT_TRUE(codec.stored_plainly(3));
  EXPECT_TRUE(ChunkCodec().stored_plainly(0));
}

TEST(ChunkCodec, KnowsWhatItCannotUndo) {
  const std::vector<unsigned> four{4};
  EXPECT_EQ(hdf5_filter(2, four)->element_size, 4U);
  EXPECT_EQ(hdf5_filter(32015, {})->kind, Kind::zstd);
  for (const int id : {4, 5, 6, 32001, 32004}) EXPECT_FALSE(hdf5_filter(id, four)) << id;
  EXPECT_FALSE(hdf5_filter(2, {}));
  const std::vector<ChunkFilter> twice{{Kind::deflate}, {Kind::zstd}};
  EXPECT_FALSE(ChunkCodec::supports(twice));
  EXPECT_THROW(ChunkCodec{twice}, RuntimeError);
}

void expect_bad(const ChunkCodec& codec, const Bytes& stored, std::size_t size, const char* says) {
  try {
    codec.decode(stored, 0, size);
    ADD_FAILURE() << "no error: " << says;
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr(says));
  }
}

TEST(ChunkCodec, RefusesBytesThatDoNotFit) {
  const Bytes raw = random_bytes(1000, 3);
  const ChunkCodec deflate({{Kind::deflate}}), zstandard({{Kind::zstd}}), plain,
      checksum({{Kind::fletcher32}});
  expect_bad(plain, raw, 999, "holds 1000 bytes, expected 999");
  expect_bad(deflate, deflated(raw), 1001, "less than the 1001 expected");
  expect_bad(deflate, deflated(raw), 999, "more than the 999 expected");
  expect_bad(deflate, Bytes(20), 1000, "damaged");
  expect_bad(deflate, Bytes(20), std::size_t{1} << 60, "cannot hold");
  expect_bad(zstandard, zstd(raw), 1001, "expected 1001");
  expect_bad(zstandard, zstd(raw), 999, "expected 999");
  expect_bad(checksum, Bytes(3), 1000, "cannot hold a checksum");
  Bytes wrong = with_checksum(raw);
  wrong[500] ^= std::byte{1};
  expect_bad(checksum, wrong, 1000, "checksum is");
  // Adler-32 of a stream whose bytes are otherwise in order.
  Bytes stored = deflated(raw);
  stored.back() ^= std::byte{1};
  expect_bad(deflate, stored, 1000, "damaged");
}

TEST(ChunkCodec, SurvivesFlippedAndMissingBytes) {
  std::minstd_rand random(4);
  const Bytes raw = random_bytes(3000, 5);
  const std::vector<std::pair<ChunkCodec, Bytes>> cases{
      {ChunkCodec({{Kind::shuffle, 2}, {Kind::deflate}}), deflated(shuffled(raw, 2))},
      {ChunkCodec({{Kind::zstd}, {Kind::fletcher32}}), with_checksum(zstd(raw))}};
  for (const auto& [codec, good] : cases) {
    int refused = 0;
    for (int i = 0; i < 300; ++i) {
      Bytes stored = good;
      for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
        stored[random() % stored.size()] ^= static_cast<std::byte>(1U << random() % 8);
      }
      if (i % 4 == 0) stored.resize(random() % stored.size());
      try {
        EXPECT_EQ(codec.decode(stored, 0, raw.size())->size(), raw.size());
      } catch (const DataError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 290);  // both end in checksums
  }
}

TEST(ChunkCodec, ExpandsLzf) {
  // "abc", then 3 bytes from 3 back, then 11 from 1 back, then "d".
  const Bytes stored = bytes({2, 'a', 'b', 'c', 1 << 5, 2, 7 << 5, 2, 0, 0, 'd'});
  const std::string text = "abcabcccccccccccccd";
  const ChunkCodec codec({*hdf5_filter(32000, {})});
  const auto found = codec.decode(stored, 0, 6 + 11 + 1);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(found->data()), found->size()),
            text.substr(0, 17) + "d");
  // Too long, too short, cut off, from before the start.
  EXPECT_THROW(codec.decode(stored, 0, 17), DataError);
  EXPECT_THROW(codec.decode(stored, 0, 19), DataError);
  for (std::size_t n = 0; n < stored.size(); ++n) {
    EXPECT_THROW(codec.decode(std::span(stored).first(n), 0, 18), DataError) << n;
  }
  EXPECT_THROW(codec.decode(bytes({0, 'a', 1 << 5, 1}), 0, 4), DataError);
}

}  // namespace
}  // namespace trib::io
