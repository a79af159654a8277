#include "io/chunks/chunk_cache.h"

#include <algorithm>
#include <utility>

#include "ops/base/error.h"

namespace trib::io {

std::size_t ChunkCache::Hash::operator()(const ChunkKey& key) const {
  // Multiplication by odd constants (of splitmix64) spreads neighbours, which chunks are.
  std::uint64_t h = key.chunk * 0x9e3779b97f4a7c15ULL;
  h ^= ((std::uint64_t{key.file} << 32) | key.array) * 0xbf58476d1ce4e5b9ULL;
  return static_cast<std::size_t>(h ^ (h >> 31));
}

ChunkCache::ChunkCache(std::int64_t capacity_bytes) : capacity_(capacity_bytes) {
  if (capacity_bytes < 0) throw ConfigError("a cache of less than 0 bytes");
}

ChunkCache::~ChunkCache() = default;

Chunk ChunkCache::get(const ChunkKey& key, const std::function<Chunk()>& decode) {
  std::promise<Chunk> promise;
  {
    std::unique_lock lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      ++hits_;
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->chunk;
    }
    if (const auto found = being_decoded_.find(key); found != being_decoded_.end()) {
      ++hits_;
      const std::shared_future<Chunk> result = found->second;
      lock.unlock();
      return result.get();
    }
    ++misses_;
    being_decoded_.emplace(key, promise.get_future().share());
  }
  Chunk chunk;
  try {
    chunk = decode();
  } catch (...) {
    {
      const std::scoped_lock lock(mutex_);
      being_decoded_.erase(key);
    }
    promise.set_exception(std::current_exception());
    throw;
  }
  {
    const std::scoped_lock lock(mutex_);
    being_decoded_.erase(key);
    keep(key, chunk);
  }
  promise.set_value(chunk);
  return chunk;
}

void ChunkCache::keep(const ChunkKey& key, const Chunk& chunk) {
  const auto size = static_cast<std::int64_t>(chunk->size());
  if (size == 0 || size > capacity_) return;
  shrink_to(capacity_ - size);
  entries_.push_front({key, chunk});
  by_key_.emplace(key, entries_.begin());
  bytes_ += size;
}

void ChunkCache::shrink_to(std::int64_t bytes) {
  while (bytes_ > bytes) {
    bytes_ -= static_cast<std::int64_t>(entries_.back().chunk->size());
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

void ChunkCache::limit(std::int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  capacity_ = std::clamp<std::int64_t>(bytes, 0, capacity_);
  shrink_to(capacity_);
}

std::int64_t ChunkCache::capacity() const {
  const std::scoped_lock lock(mutex_);
  return capacity_;
}

std::int64_t ChunkCache::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

std::int64_t ChunkCache::hits() const {
  const std::scoped_lock lock(mutex_);
  return hits_;
}

std::int64_t ChunkCache::misses() const {
  const std::scoped_lock lock(mutex_);
  return misses_;
}

}  // namespace trib::io
