#include "pipeline/checkpoint/checkpointer.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <span>
#include <thread>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

// The ranks ask each other at the end of a run whether all are done. Waiting no longer than this
// in between keeps a slow disk from looking like a lost rank.
constexpr std::chrono::milliseconds kAskEvery{200};

constexpr auto kStates = static_cast<std::size_t>(model::kStatesOfElement);
constexpr std::array<const char*, kStates> kStateNames{io::kValueState, io::kExpAvgState,
                                                       io::kExpAvgSqState};

std::array<const float*, kStates> states_of(const model::StatePiece& piece) {
  return {piece.value, piece.exp_avg, piece.exp_avg_sq};
}

}  // namespace

/// A thread that does one thing at a time.
class Checkpointer::Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Must not be busy.
  void start(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      error_.clear();
      task_ = std::move(task);
    }
    changed_.notify_all();
  }
  bool is_busy() const {
    const std::lock_guard lock(mutex_);
    return static_cast<bool>(task_);
  }
  void wait_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return !task_; });
  }
  /// What went wrong with the last task; empty if nothing did.
  std::string error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  void forget_error() {
    const std::lock_guard lock(mutex_);
    error_.clear();
  }

 private:
  void work() {
    trace::name_thread("checkpoint");
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return ending_ || task_; });
      if (!task_) return;
      const std::function<void()> task = task_;
      lock.unlock();
      std::string error;
      try {
        task();
      } catch (const std::exception& failure) {
        error = failure.what();
      }
      lock.lock();
      error_ = std::move(error);
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> task_;  // until it is done
  std::string error_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the others
};

CheckpointSettings CheckpointSettings::of(const ParameterValues& section) {
  return {section.integer("every"), section.number("minutes"), section.integer("keep")};
}

std::int64_t snapshot_bytes(const std::vector<model::StatePiece>& written_state) {
  std::int64_t elements = 0;
  for (const model::StatePiece& piece : written_state) elements += piece.elements.size();
  return elements * static_cast<std::int64_t>(kStates * sizeof(float));
}

Checkpointer::Checkpointer(Options options, ops::Communicator& communicator,
                           const model::ParameterTable& table,
                           const std::vector<model::StatePiece>& written_state)
    : options_(std::move(options)),
      communicator_(communicator),
      folder_(options_.run_folder + "/checkpoints"),
      buffer_(std::make_unique<Buffer>(static_cast<std::size_t>(snapshot_bytes(written_state)),
                                       MemoryKind::checkpoint)),
      last_good_(options_.last_good),
      began_(Clock::now()),
      worker_(std::make_unique<Worker>()) {
  for (const model::ParameterSpec& spec : table.specs()) {
    tensors_[spec.name] = {spec.shape, DType::f32, spec.grid_width};
  }
  const float* at = reinterpret_cast<const float*>(buffer_->data());
  for (const model::StatePiece& piece : written_state) {
    const model::ParameterSpec& spec = table.spec(piece.id);
    for (const char* state : kStateNames) {
      pieces_.push_back({spec.name, state, spec.split, piece.elements, at});
      at += piece.elements.size();
    }
  }
}

Checkpointer::~Checkpointer() = default;

void Checkpointer::vote(StepVotes& own) const {
  const double minutes =
      std::chrono::duration<double, std::ratio<60>>(Clock::now() - began_).count();
  own.checkpoint_due = communicator_.rank() == 0 && options_.settings.minutes > 0 &&
                       minutes >= options_.settings.minutes;
  own.checkpoint_busy = worker_->is_busy();
  own.checkpoint_failed = !worker_->error().empty();
}

bool Checkpointer::is_due(std::int64_t step, const StepVotes& agreed, bool is_last) {
  advance(agreed);
  const std::int64_t every = options_.settings.every;
  if (agreed.checkpoint_due || (every > 0 && step % every == 0)) is_due_ = true;
  if (is_last) {
    settle_all();
    is_last_ = true;
    return true;
  }
  return is_due_ && phase_ == Phase::idle;
}

void Checkpointer::begin(std::int64_t step, const std::vector<model::StatePiece>& written_state,
                         std::string training) {
  {
    const trace::Span span("checkpoint", "copy");
    if (written_state.size() * kStates != pieces_.size()) {
      throw RuntimeError(fmt::format("checkpoint of step {}: {} pieces to write, expected {}", step,
                                     written_state.size(), pieces_.size() / kStates));
    }
    parallel_for(
        static_cast<std::int64_t>(pieces_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const io::PieceData& to = pieces_[static_cast<std::size_t>(i)];
            const auto piece = static_cast<std::size_t>(i) / kStates;
            const auto state = static_cast<std::size_t>(i) % kStates;
            // The buffer is this object's; PieceData only promises not to write to it.
            std::memcpy(const_cast<float*>(to.data), states_of(written_state[piece])[state],
                        static_cast<std::size_t>(to.elements.size()) * sizeof(float));
          }
        });
  }
  phase_ = Phase::writing;
  step_ = step;
  training_ = std::move(training);
  is_due_ = false;
  failure_.clear();
  began_ = Clock::now();
  worker_->start([this, rank = communicator_.rank()] {
    const trace::Span span("checkpoint", fmt::format("write step {}", step_));
    io::CheckpointWriter(folder_, step_).write_rank(rank, pieces_);
  });
}

// What was agreed on speaks of the phase that all ranks are in.
void Checkpointer::advance(const StepVotes& agreed) {
  if (phase_ == Phase::idle || agreed.checkpoint_busy) return;
  if (agreed.checkpoint_failed) {
    give_up();
  } else if (phase_ == Phase::writing) {
    phase_ = Phase::naming;
    if (communicator_.rank() == 0) worker_->start([this] { name_checkpoint(); });
  } else {
    phase_ = Phase::idle;
    last_good_ = step_;
  }
}

// On rank 0.
void Checkpointer::name_checkpoint() {
  const trace::Span span("checkpoint", fmt::format("name step {}", step_));
  io::CheckpointWriter(folder_, step_).commit(communicator_.size(), tensors_, training_);
  try {
    io::prune_checkpoints(folder_, options_.settings.keep);
  } catch (const Error& error) {
    options_.warn(fmt::format("old checkpoints could not be removed: {}", error.what()));
  }
}

void Checkpointer::give_up() {
  failure_ = shared_error();
  worker_->forget_error();
  phase_ = Phase::idle;
  if (communicator_.rank() != 0) return;
  try {
    io::CheckpointWriter(folder_, step_).discard();
  } catch (const Error& error) {
    failure_ += fmt::format("; nor could what was written be removed: {}", error.what());
  }
  if (is_last_) return;
  options_.warn(
      fmt::format("the checkpoint of step {} could not be written: {}; the training goes on; {}",
                  step_, failure_,
                  last_good_ > 0 ? fmt::format("the last good checkpoint is step {}", last_good_)
                                 : "there is no checkpoint yet"));
}

// The error of the lowest rank that has one, on all ranks.
std::string Checkpointer::shared_error() {
  using Text = std::array<char, 1024>;
  Text own{};
  worker_->error().copy(own.data(), own.size() - 1);
  std::vector<Text> all(static_cast<std::size_t>(communicator_.size()));
  communicator_
      .all_gather(ops::MeshAxis::world, std::as_bytes(std::span(own)),
                  std::as_writable_bytes(std::span(all)))
      .wait();
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::string text = all[rank].data();
    if (text.empty()) continue;
    return all.size() > 1 ? fmt::format("rank {}: {}", rank, text) : text;
  }
  return "unknown reason";
}

// Wait until nothing is under way on any rank.
void Checkpointer::settle_all() {
  while (phase_ != Phase::idle) {
    worker_->wait_for(kAskEvery);
    StepVotes own;
    vote(own);
    std::array<double, 2> shared{own.checkpoint_busy ? 1.0 : 0.0,
                                 own.checkpoint_failed ? 1.0 : 0.0};
    communicator_.all_reduce_sum(ops::MeshAxis::world, std::span<double>(shared)).wait();
    advance({.checkpoint_busy = shared[0] > 0, .checkpoint_failed = shared[1] > 0});
  }
}

void Checkpointer::finish() {
  const trace::Span span("checkpoint", "wait");
  settle_all();
  if (failure_.empty()) return;
  throw RuntimeError(
      fmt::format("the checkpoint of step {}, the last of the run, could not be written: {}; {}",
                  step_, failure_,
                  last_good_ > 0 ? fmt::format("the last good checkpoint is step {}", last_good_)
                                 : "there is none"));
}

}  // namespace trib::pipeline
