// Owners of libhdf5's identifiers, and its errors as text.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "io/hdf5_lock.h"
#include "ops/base/function_ref.h"

namespace trib::io {

/// An HDF5 identifier that is closed on destruction. Has the type of hid_t without its header.
class Hdf5Handle {
 public:
  using Close = int (*)(std::int64_t);

  Hdf5Handle() = default;
  Hdf5Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, -1);
      close_ = other.close_;
    }
    return *this;
  }

  std::int64_t id() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  void reset();

  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// While it lives, this thread may call libhdf5: it holds the lock of the HDF5 family and keeps the
/// library from printing its error stack.
class Hdf5Session {
 public:
  /// Throws DataError if the lock is not to be had.
  Hdf5Session();
  ~Hdf5Session();
  Hdf5Session(const Hdf5Session&) = delete;
  Hdf5Session& operator=(const Hdf5Session&) = delete;

  /// What libhdf5 says of the last call that failed: the root of its error stack.
  static std::string error_text();

 private:
  std::scoped_lock<Hdf5Lock> lock_;
  int (*print_)(std::int64_t, void*) = nullptr;
  void* print_data_ = nullptr;
};

/// Call `close` within an Hdf5Session. For destructors: without the lock, which a thread that hangs
/// may keep, what it closes stays open.
void close_in_session(FunctionRef<void()> close) noexcept;

}  // namespace trib::io
