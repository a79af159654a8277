#include "pipeline/engine/prepare_in_time.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "io/opening_file.h"
#include "ops/base/error.h"
#include "pipeline/engine/abandoned.h"

namespace trib::pipeline {
namespace {

struct Preparation {
  std::mutex mutex;
  std::condition_variable finished;
  bool is_finished = false;
  StreamInfo info;
  std::exception_ptr error;
  std::unique_ptr<Abandoned> abandoned;
};

void prepare(const std::shared_ptr<Preparation>& preparation, SourceStage& source) {
  StreamInfo info;
  std::exception_ptr error;
  try {
    info = source.prepare();
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(preparation->mutex);
  preparation->info = std::move(info);
  preparation->error = error;
  preparation->is_finished = true;
  preparation->abandoned.reset();
  preparation->finished.notify_all();
}

}  // namespace

StreamInfo prepare_in_time(const std::shared_ptr<Stage>& stage, SourceStage& source) {
  const double limit = source.read_errors().timeout_seconds;
  if (limit <= 0) return source.prepare();
  const auto preparation = std::make_shared<Preparation>();
  std::thread thread([preparation, stage, &source] { prepare(preparation, source); });
  std::unique_lock lock(preparation->mutex);
  // Many files may take long together: it is the one being opened that must not.
  const std::chrono::duration<double> pause(std::min(limit / 4, 0.5));
  while (!preparation->finished.wait_for(lock, pause, [&] { return preparation->is_finished; })) {
    const std::optional<io::Opening> opening = io::slowest_opening();
    if (!opening || opening->seconds < limit) continue;
    preparation->abandoned = std::make_unique<Abandoned>();
    thread.detach();
    throw DataError(
        fmt::format("{}: opening takes longer than the {} s of 'timeout'", opening->path, limit));
  }
  lock.unlock();
  thread.join();
  if (preparation->error != nullptr) std::rethrow_exception(preparation->error);
  return std::move(preparation->info);
}

}  // namespace trib::pipeline
