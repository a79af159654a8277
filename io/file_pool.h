// Open files, kept between reads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace trib::io {

/// Most bytes that are held while at most `capacity` files are open, of the bytes each would hold.
inline std::int64_t largest_open(std::vector<std::size_t> of_files, std::size_t capacity) {
  std::ranges::sort(of_files, std::greater<>());
  of_files.resize(std::min(of_files.size(), capacity));
  return static_cast<std::int64_t>(
      std::accumulate(of_files.begin(), of_files.end(), std::size_t{0}));
}

/// At most `capacity` open files, one handle a path; the one unused for longest is closed first.
/// Not thread-safe: to be used while holding the lock of the library behind File.
template <class File>
class FilePool {
 public:
  using Open = std::function<std::unique_ptr<File>(const std::string& path)>;

  FilePool(std::size_t capacity, Open open) : capacity_(capacity), open_(std::move(open)) {}

  /// The open file; valid until the next call.
  File& get(const std::string& path) {
    if (const auto found = by_path_.find(path); found != by_path_.end()) {
      files_.splice(files_.begin(), files_, found->second);
      return *files_.front().second;
    }
    if (files_.size() >= capacity_) {
      by_path_.erase(files_.back().first);
      files_.pop_back();
    }
    files_.emplace_front(path, open_(path));
    by_path_[path] = files_.begin();
    return *files_.front().second;
  }

 private:
  using Entry = std::pair<std::string, std::unique_ptr<File>>;
  std::size_t capacity_;
  Open open_;
  std::list<Entry> files_;  // used most recently first
  std::unordered_map<std::string, typename std::list<Entry>::iterator> by_path_;
};

}  // namespace trib::io
