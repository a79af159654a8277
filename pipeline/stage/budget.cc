#include "pipeline/stage/budget.h"

#include <algorithm>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {

Credit::~Credit() {
  if (items_ != 0 || bytes_ != 0 || reads_ != 0) budget_.release(items_, bytes_, reads_);
}

std::unique_ptr<Credit> Credit::split(std::int64_t items, std::int64_t bytes) {
  if (items > items_ || bytes > bytes_) {
    throw RuntimeError(
        fmt::format("ingest budget: a part of {} samples, {} bytes was asked of a "
                    "credit of {} samples, {} bytes",
                    items, bytes, items_, bytes_));
  }
  items_ -= items;
  bytes_ -= bytes;
  return std::make_unique<Credit>(budget_, items, bytes, 0);
}

std::unique_ptr<Credit> Budget::try_acquire(std::int64_t items, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (items_ + items > max_items_ || bytes_ + bytes > max_bytes_ || reads_ == max_reads_) {
    return nullptr;
  }
  ++reads_;
  items_ += items;
  bytes_ += bytes;
  peak_items_ = std::max(peak_items_, items_);
  peak_bytes_ = std::max(peak_bytes_, bytes_);
  return std::make_unique<Credit>(*this, items, bytes, 1);
}

void Budget::release(std::int64_t items, std::int64_t bytes, std::int64_t reads) {
  {
    const std::lock_guard lock(mutex_);
    items_ -= items;
    bytes_ -= bytes;
    reads_ -= reads;
  }
  if (on_release_) on_release_();
}

std::int64_t Budget::items() const {
  const std::lock_guard lock(mutex_);
  return items_;
}

std::int64_t Budget::peak_items() const {
  const std::lock_guard lock(mutex_);
  return peak_items_;
}

std::int64_t Budget::peak_bytes() const {
  const std::lock_guard lock(mutex_);
  return peak_bytes_;
}

}  // namespace trib::pipeline
