// Decoded chunks of files, shared by the threads that read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "ops/base/memory_ledger.h"

namespace trib::io {

/// Names a chunk within a reader: which of its files, which array of that file, and the chunk's
/// number in row-major order.
struct ChunkKey {
  std::uint32_t file = 0;
  std::uint32_t array = 0;
  std::uint64_t chunk = 0;
  bool operator==(const ChunkKey&) const = default;
};

/// Decoded bytes of a chunk. They live as long as anyone holds them.
using Chunk = std::shared_ptr<const Buffer>;

/// Decoded chunks shared by all threads of a reader; bounded in bytes, the least recently used go
/// first. Buffers are to be charged to MemoryKind::ingest by who makes them. All functions may be
/// called from any thread.
class ChunkCache {
 public:
  /// Keep at most `capacity_bytes`; with 0 none is kept.
  explicit ChunkCache(std::int64_t capacity_bytes);
  ~ChunkCache();
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  /// Give a chunk, decoded by `decode` if it is not there. A chunk that several threads want at
  /// once is decoded by one of them, outside any lock, while the others wait; if that throws, all
  /// of them get the exception, and the next request tries again. Chunks larger than the capacity,
  /// and empty ones, are given and not kept.
  Chunk get(const ChunkKey& key, const std::function<Chunk()>& decode);

  std::int64_t capacity() const;
  /// Keep no more than this from now on, if it is less than the capacity.
  void limit(std::int64_t bytes);
  /// Bytes kept now, at most capacity().
  std::int64_t bytes() const;
  /// Requests served from memory or by another thread's decoding.
  std::int64_t hits() const;
  /// Requests that had to decode.
  std::int64_t misses() const;

 private:
  struct Hash {
    std::size_t operator()(const ChunkKey& key) const;
  };
  struct Entry {
    ChunkKey key;
    Chunk chunk;
  };
  void keep(const ChunkKey& key, const Chunk& chunk);
  void shrink_to(std::int64_t bytes);

  mutable std::mutex mutex_;
  std::int64_t capacity_;
  std::list<Entry> entries_;  // used most recently first
  std::unordered_map<ChunkKey, std::list<Entry>::iterator, Hash> by_key_;
  std::unordered_map<ChunkKey, std::shared_future<Chunk>, Hash> being_decoded_;
  std::int64_t bytes_ = 0, hits_ = 0, misses_ = 0;
};

}  // namespace trib::io
