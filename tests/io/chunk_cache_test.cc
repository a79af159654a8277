#include "io/chunks/chunk_cache.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

Chunk chunk_of(std::size_t bytes, int value = 0) {
  auto buffer = std::make_shared<Buffer>(bytes, MemoryKind::ingest);
  std::fill_n(buffer->data(), bytes, static_cast<std::byte>(value));
  return buffer;
}

Chunk never() {
  ADD_FAILURE() << "decoded again";
  return chunk_of(1);
}

TEST(ChunkCache, DecodesAChunkOnceAndKeepsIt) {
  ChunkCache cache(100);
  const Chunk first = cache.get({1, 2, 3}, [] { return chunk_of(40, 7); });
  EXPECT_EQ(cache.get({1, 2, 3}, never), first);
  EXPECT_EQ(cache.misses(), 1);
  EXPECT_EQ(cache.hits(), 1);
  EXPECT_EQ(cache.bytes(), 40);
}

TEST(ChunkCache, TellsFilesArraysAndChunksApart) {
  ChunkCache cache(100);
  int value = 0;
  for (const ChunkKey key : {ChunkKey{0, 0, 1}, ChunkKey{0, 1, 0}, ChunkKey{1, 0, 0}}) {
    ++value;
    EXPECT_EQ(cache.get(key, [&] { return chunk_of(8, value); })->data()[0],
              static_cast<std::byte>(value));
  }
  EXPECT_EQ(cache.misses(), 3);
}

TEST(ChunkCache, DropsTheLeastRecentlyUsedFirst) {
  ChunkCache cache(100);
  for (const std::uint64_t c : {0U, 1U}) cache.get({0, 0, c}, [] { return chunk_of(50); });
  cache.get({0, 0, 0}, never);
  cache.get({0, 0, 2}, [] { return chunk_of(30); });  // in place of 1
  cache.get({0, 0, 0}, never);
  cache.get({0, 0, 2}, never);
  bool again = false;
  cache.get({0, 0, 1}, [&] {
    again = true;
    return chunk_of(50);
  });
  EXPECT_TRUE(again);
}

TEST(ChunkCache, GivesChunksBeyondItsCapacityWithoutKeepingThem) {
  for (const std::int64_t capacity : {0, 63}) {
    ChunkCache cache(capacity);
    int decoded = 0;
    for (int i = 0; i < 2; ++i) {
      cache.get({}, [&] {
        ++decoded;
        return chunk_of(64);
      });
    }
    EXPECT_EQ(decoded, 2);
    EXPECT_EQ(cache.bytes(), 0);
  }
}

TEST(ChunkCache, HoldsMemoryOfTheLedgerUpToItsCapacity) {
  const std::int64_t before = memory_ledger::use(MemoryKind::ingest).live;
  {
    ChunkCache cache(1000);
    for (std::uint64_t c = 0; c < 50; ++c) {
      cache.get({0, 0, c}, [&] { return chunk_of(1 + c * 13 % 90); });
      EXPECT_LE(cache.bytes(), 1000);
      EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live - before, cache.bytes());
    }
    EXPECT_GT(cache.bytes(), 900);
  }
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live, before);
}

TEST(ChunkCache, CanBeLimitedLater) {
  ChunkCache cache(100);
  for (const std::uint64_t c : {0U, 1U}) cache.get({0, 0, c}, [] { return chunk_of(40); });
  cache.limit(50);
  EXPECT_EQ(cache.capacity(), 50);
  EXPECT_EQ(cache.bytes(), 40);
  cache.get({0, 0, 1}, never);
  cache.limit(70);  // not more than before
  EXPECT_EQ(cache.capacity(), 50);
}

TEST(ChunkCache, KeepsNothingOfAFailureAndTriesAgain) {
  ChunkCache cache(100);
  EXPECT_THROW(cache.get({}, []() -> Chunk { throw DataError("damaged"); }), DataError);
  EXPECT_EQ(cache.get({}, [] { return chunk_of(5, 9); })->data()[0], std::byte{9});
}

TEST(ChunkCache, DecodesOnceForAllThreadsThatWait) {
  ChunkCache cache(100);
  constexpr int kThreads = 8;
  std::atomic<int> decoded{0}, errors{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        try {
          cache.get({4, 5, 6}, [&]() -> Chunk {
            ++decoded;
            while (cache.hits() < kThreads - 1) std::this_thread::yield();  // until all others wait
            throw DataError("damaged");
          });
        } catch (const DataError& e) {
          EXPECT_STREQ(e.what(), "damaged");
          ++errors;
        }
      });
    }
  }
  EXPECT_EQ(decoded, 1);
  EXPECT_EQ(errors, kThreads);
}

TEST(ChunkCache, GivesEachOfManyThreadsItsChunk) {
  ChunkCache cache(500);  // of 64 chunks of 32 bytes, 15
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      std::uint64_t state = static_cast<std::uint64_t>(t) + 1;
      for (int i = 0; i < 5000; ++i) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const std::uint64_t c = state >> 58;
        const Chunk chunk = cache.get({0, 0, c}, [&] { return chunk_of(32, static_cast<int>(c)); });
        ASSERT_EQ(chunk->data()[31], static_cast<std::byte>(c));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(cache.hits() + cache.misses(), 20000);
  EXPECT_LE(cache.bytes(), 500);
}

}  // namespace
}  // namespace trib::io
