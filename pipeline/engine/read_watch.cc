#include "pipeline/engine/read_watch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/engine/abandoned.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Whoever waits for a read may end with all else when it is done. What the read owns, such as the
// stage with its files, is given back before that.
void run_without_limit(ReadWatch::Read read, const ReadWatch::Done& done) {
  std::optional<Sample> sample;
  std::exception_ptr error;
  try {
    sample = read();
  } catch (...) {
    error = std::current_exception();
  }
  read = nullptr;
  done(std::move(sample), error);
}

}  // namespace

class ReadWatch::Impl {
 public:
  explicit Impl(Threads& threads) : threads_(&threads) {}

  // One read with a limit, from its start to its end.
  struct Running {
    double limit_seconds = 0;
    Clock::time_point start, deadline;
    IoThread thread;
    Done done;  // empty: given up
    std::unique_ptr<Abandoned> abandoned;
  };

  void run(double limit_seconds, Read read, Done done) {
    std::list<Running>::iterator running;
    bool is_next = false;
    {
      const std::lock_guard lock(mutex_);
      const Clock::time_point now = Clock::now();
      Clock::time_point deadline = now + duration_of(limit_seconds);
      if (hurry_) deadline = std::min(deadline, std::max(*hurry_, now));
      running = running_.insert(running_.end(),
                                Running{limit_seconds, now, deadline, threads_->current_io_thread(),
                                        std::move(done), nullptr});
      if (!watch_.joinable()) watch_ = std::thread([this] { watch(); });
      is_next = deadline < next_;
    }
    if (is_next) changed_.notify_all();
    std::unique_ptr<Abandoned> abandoned;  // until all that the read holds is gone
    std::optional<Sample> sample;
    std::exception_ptr error;
    try {
      sample = read();
    } catch (...) {
      error = std::current_exception();
    }
    read = nullptr;
    {
      const std::lock_guard lock(mutex_);
      done = std::move(running->done);
      abandoned = std::move(running->abandoned);
      running_.erase(running);
    }
    if (done) done(std::move(sample), error);
  }

  void hurry(double seconds) {
    {
      const std::lock_guard lock(mutex_);
      if (hurry_) return;
      hurry_ = Clock::now() + duration_of(seconds);
      for (Running& running : running_) running.deadline = std::min(running.deadline, *hurry_);
    }
    changed_.notify_all();
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    if (watch_.joinable()) watch_.join();
  }

 private:
  void watch() {
    trace::name_thread("watch");
    std::unique_lock lock(mutex_);
    while (!closing_) {
      give_up_late(lock);
      if (closing_) break;
      next_ = Clock::now() + std::chrono::hours(1);
      for (const Running& running : running_) {
        if (running.done) next_ = std::min(next_, running.deadline);
      }
      changed_.wait_until(lock, next_);
    }
  }

  void give_up_late(std::unique_lock<std::mutex>& lock) {
    const Clock::time_point now = Clock::now();
    std::vector<std::pair<Done, std::exception_ptr>> given_up;
    for (Running& running : running_) {
      if (!running.done || running.deadline > now) continue;
      // Who is in a hurry has no use for the read, and does not blame it.
      std::exception_ptr error;
      if (now - running.start >= duration_of(running.limit_seconds)) {
        error = std::make_exception_ptr(DataError(
            fmt::format("reading takes longer than the {} s of 'timeout'", running.limit_seconds)));
      }
      given_up.emplace_back(std::exchange(running.done, nullptr), error);
      running.abandoned = std::make_unique<Abandoned>();
      threads_->replace_io_thread(running.thread);
    }
    lock.unlock();
    for (auto& [done, error] : given_up) done(std::nullopt, error);
    given_up.clear();
    lock.lock();
  }

  Threads* threads_;  // while somebody waits
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Running> running_;
  std::optional<Clock::time_point> hurry_;
  Clock::time_point next_;  // when the watch looks again
  bool closing_ = false;
  std::thread watch_;
};

ReadWatch::ReadWatch(Threads& threads)
    : threads_(threads), impl_(std::make_shared<Impl>(threads)) {}

ReadWatch::~ReadWatch() {
  impl_->close();
}

void ReadWatch::enqueue(double limit_seconds, std::function<Read()> begin, Done done) {
  // Only what is given up outlives this object, and it holds what it needs then.
  threads_.enqueue_io(
      [impl = impl_, limit_seconds, begin = std::move(begin), done = std::move(done)]() mutable {
        Read read = begin();
        begin = nullptr;
        if (!read) {
          done(std::nullopt, nullptr);
        } else if (limit_seconds > 0) {
          impl->run(limit_seconds, std::move(read), std::move(done));
        } else {
          run_without_limit(std::move(read), done);
        }
      });
}

void ReadWatch::hurry(double seconds) {
  impl_->hurry(seconds);
}

}  // namespace trib::pipeline
