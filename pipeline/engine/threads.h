// The threads of a rank: a compute arena for the cores and an I/O arena for threads that block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <sched.h>

namespace trib::pipeline {

/// As many as OpenBLAS has buffers for, and I/O threads need some too.
inline constexpr int kMaxComputeThreads = 32;

/// One of the groups the I/O threads are in; see Threads::replace_io_thread().
using IoThread = std::size_t;

class Threads {
 public:
  /// `compute` and `io` are numbers of threads, at least 1 each; 64 together at most (OpenBLAS's
  /// buffers), else ConfigError. Computing thread i is kept on `compute_places[i]`, if given.
  Threads(int compute, int io, const std::vector<cpu_set_t>& compute_places = {});
  ~Threads();

  int compute() const { return compute_; }
  int io() const { return io_; }
  /// Run `body` in the compute arena and wait for it.
  void compute_and_wait(const std::function<void()>& body);
  /// Run `body` on an I/O thread some time later; it must not throw.
  void enqueue_io(std::function<void()> body);
  /// Where the calling I/O thread belongs. To be asked by what runs on one.
  IoThread current_io_thread() const;
  /// Have one more thread do what is enqueued, because one of this group is blocked for ever.
  void replace_io_thread(IoThread blocked);
  /// Call body(i) for 0 <= i < count on the I/O threads; wait; rethrow the first exception.
  void for_each_io(std::int64_t count, const std::function<void(std::int64_t)>& body);

 private:
  struct Arenas;
  int compute_, io_;
  std::unique_ptr<Arenas> arenas_;
};

}  // namespace trib::pipeline
