#include "pipeline/engine/prepare_in_time.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/opening_file.h"
#include "ops/base/error.h"
#include "pipeline/engine/abandoned.h"

namespace trib::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

struct Preparation {
  std::mutex mutex;
  std::condition_variable finished;
  bool is_finished = false;
  StreamInfo info;
  std::exception_ptr error;
  std::vector<std::unique_ptr<Abandoned>> abandoned;  // one for each file: others may open some
};

void prepare(const std::shared_ptr<Preparation>& preparation, std::shared_ptr<Stage> stage,
             SourceStage& source) {
  StreamInfo info;
  std::exception_ptr error;
  try {
    info = source.prepare();
  } catch (...) {
    error = std::current_exception();
  }
  std::vector<std::unique_ptr<Abandoned>> abandoned;  // until the files of the stage are closed
  {
    const std::lock_guard lock(preparation->mutex);
    preparation->info = std::move(info);
    preparation->error = error;
    preparation->is_finished = true;
    abandoned = std::move(preparation->abandoned);
    preparation->finished.notify_all();
  }
  stage.reset();
}

// Nothing, and the names of the files, if some take longer to open than the limit.
std::optional<StreamInfo> prepare(const std::shared_ptr<Stage>& stage, SourceStage& source,
                                  double limit, std::vector<std::string>& late) {
  const Clock::time_point start = Clock::now();
  const auto preparation = std::make_shared<Preparation>();
  std::thread thread(
      [preparation, stage, &source]() mutable { prepare(preparation, std::move(stage), source); });
  std::unique_lock lock(preparation->mutex);
  // Many files may take long together: it is each of them that must not.
  const std::chrono::duration<double> pause(std::min(limit / 4, 0.5));
  while (!preparation->finished.wait_for(lock, pause, [&] { return preparation->is_finished; })) {
    // What is open for longer hangs since an earlier attempt, or elsewhere.
    std::vector<io::Opening> slow = io::slow_openings(limit);
    const double taken = std::chrono::duration<double>(Clock::now() - start).count();
    for (io::Opening& opening : slow) {
      if (opening.seconds > taken) continue;
      late.push_back(std::move(opening.path));
      preparation->abandoned.push_back(std::make_unique<Abandoned>());
    }
    if (late.empty()) continue;
    thread.detach();
    return {};
  }
  lock.unlock();
  thread.join();
  if (preparation->error != nullptr) std::rethrow_exception(preparation->error);
  return std::move(preparation->info);
}

}  // namespace

StreamInfo prepare_in_time(const std::function<std::shared_ptr<Stage>()>& make) {
  std::vector<UnreadableFile> lost;
  while (true) {
    const std::shared_ptr<Stage> stage = make();
    auto& source = dynamic_cast<SourceStage&>(*stage);
    const ReadErrors errors = source.read_errors();
    if (!lost.empty()) source.leave_out(lost);
    if (errors.timeout_seconds <= 0) return source.prepare();
    std::vector<std::string> late;
    std::optional<StreamInfo> info = prepare(stage, source, errors.timeout_seconds, late);
    if (info) return std::move(*info);
    // What is opened again though it was left out cannot be: a table of files, or a folder of them.
    for (const UnreadableFile& file : lost) {
      if (std::ranges::find(late, file.file) != late.end()) throw DataError(file.error);
    }
    for (const std::string& file : late) {
      lost.push_back({file, fmt::format("{}: opening takes longer than the {} s of 'timeout'", file,
                                        errors.timeout_seconds)});
    }
    if (!errors.skip) throw DataError(lost.front().error);
  }
}

}  // namespace trib::pipeline
