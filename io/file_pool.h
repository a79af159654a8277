// Open files of the HDF5 family, kept between reads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/hdf5_lock.h"
#include "io/opening_file.h"

namespace trib::io {

/// Most bytes that are held while at most `capacity` files are open, of the bytes each would hold.
inline std::int64_t largest_open(std::vector<std::size_t> of_files, std::size_t capacity) {
  std::ranges::sort(of_files, std::greater<>());
  of_files.resize(std::min(of_files.size(), capacity));
  return static_cast<std::int64_t>(
      std::accumulate(of_files.begin(), of_files.end(), std::size_t{0}));
}

/// At most `capacity` open files, one handle a path; the one unused for longest is closed first.
/// Thread-safe, by hdf5_family_lock().
template <class File>
class FilePool {
 public:
  using Open = std::function<std::unique_ptr<File>(const std::string& path)>;

  FilePool(std::size_t capacity, Open open) : capacity_(capacity), open_(std::move(open)) {}

  /// Call `use` with the open file while holding hdf5_family_lock(), and return what it returns. A
  /// file that has yet to be opened is touched before the lock is taken: one that cannot be reached
  /// hangs there, where nobody waits for it.
  template <class Use>
  auto with(const std::string& path, Use&& use) {
    {
      const std::lock_guard lock(hdf5_family_lock());
      if (by_path_.contains(path)) return use(get(path));
    }
    const OpeningFile opening(path);
    const std::lock_guard lock(hdf5_family_lock());
    return use(get(path));
  }

 private:
  const File& get(const std::string& path) {
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

  using Entry = std::pair<std::string, std::unique_ptr<File>>;
  std::size_t capacity_;
  Open open_;
  std::list<Entry> files_;  // used most recently first
  std::unordered_map<std::string, typename std::list<Entry>::iterator> by_path_;
};

}  // namespace trib::io
