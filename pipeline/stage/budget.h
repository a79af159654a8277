// The ingest budget: how much data may be between the files and the end of its use.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace trib::pipeline {

class Budget;

/// A share of a budget, given back by the destructor: what is dropped, filtered or fails cannot
/// leak it. The budget must outlive its credits.
class Credit {
 public:
  Credit(Budget& budget, std::int64_t items, std::int64_t bytes, std::int64_t reads)
      : budget_(budget), items_(items), bytes_(bytes), reads_(reads) {}
  ~Credit();
  Credit(const Credit&) = delete;
  Credit& operator=(const Credit&) = delete;

  /// Move a part into a credit of its own; the part must not be larger than the whole.
  std::unique_ptr<Credit> split(std::int64_t items, std::int64_t bytes);

 private:
  Budget& budget_;
  std::int64_t items_;
  std::int64_t bytes_;
  std::int64_t reads_;  // 1 for the credit of a read, 0 for parts of it
};

/// Counts samples, bytes, and reads whose images are not yet made into samples. Thread-safe.
class Budget {
 public:
  Budget(std::int64_t max_items, std::int64_t max_bytes, std::int64_t max_reads)
      : max_items_(max_items), max_bytes_(max_bytes), max_reads_(max_reads) {}

  /// Take the share of a read, null if it is not free.
  std::unique_ptr<Credit> try_acquire(std::int64_t items, std::int64_t bytes);
  /// Have `callback` run after each release. Set once, before the first credit.
  void on_release(std::function<void()> callback) { on_release_ = std::move(callback); }

  std::int64_t max_items() const { return max_items_; }
  std::int64_t max_bytes() const { return max_bytes_; }
  std::int64_t items() const;
  std::int64_t peak_items() const;
  std::int64_t peak_bytes() const;

 private:
  friend class Credit;
  void release(std::int64_t items, std::int64_t bytes, std::int64_t reads);

  const std::int64_t max_items_;
  const std::int64_t max_bytes_;
  const std::int64_t max_reads_;
  std::function<void()> on_release_;
  mutable std::mutex mutex_;
  std::int64_t items_ = 0, bytes_ = 0, reads_ = 0, peak_items_ = 0, peak_bytes_ = 0;
};

}  // namespace trib::pipeline
