#include "pipeline/observe/trace.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace trib::pipeline::trace {
namespace {

using Clock = std::chrono::steady_clock;

struct Event {
  const char* category;  // null: a counter
  const std::string* name;
  double start;
  double value;  // duration, or the counter's value
};

// Long runs must not fill the memory: a track keeps its first events and counts the rest.
constexpr std::size_t kMaxEventsPerThread = 500'000, kMaxTransfers = 500'000;

struct Track {
  std::mutex mutex;  // uncontended but while the events are written
  // Of each name one copy: small blocks that live as long as the run, allocated among the samples
  // that come and go, would keep the memory between them from being used again.
  std::set<std::string, std::less<>> names;
  std::vector<Event> events;
  std::string name;
  std::size_t dropped = 0;
};

struct Transfer {
  double start, end;
  float queued;  // seconds between submission and start
  float waited;  // seconds that a thread was blocked by it
  ops::Collective collective;
  ops::MeshAxis axis;
  ops::Phase phase;
  std::int64_t bytes;
};

struct Transfers {
  std::mutex mutex;
  std::vector<Transfer> all;  // by their ends
  std::size_t dropped = 0;
};

struct Recorder {
  std::atomic<bool> enabled{false};
  int rank = 0;
  Clock::time_point start = Clock::now();
  std::mutex mutex;
  std::vector<std::shared_ptr<Track>> tracks;
  Transfers transfers;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

Track& this_track() {
  thread_local std::shared_ptr<Track> track;
  if (track == nullptr) {
    track = std::make_shared<Track>();
    Recorder& all = recorder();
    const std::lock_guard lock(all.mutex);
    track->name = fmt::format("worker {}", all.tracks.size());
    all.tracks.push_back(track);
  }
  return *track;
}

void record(const char* category, std::string_view name, double start, double value) {
  Track& track = this_track();
  const std::lock_guard lock(track.mutex);
  if (track.events.size() == kMaxEventsPerThread) {
    ++track.dropped;
    return;
  }
  auto known = track.names.find(name);
  if (known == track.names.end()) known = track.names.emplace(name).first;
  track.events.push_back({category, &*known, start, value});
}

double seconds_at(Clock::time_point time) {
  return std::chrono::duration<double>(time - recorder().start).count();
}

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump();
}

void print_thread_name(std::FILE* file, std::size_t tid, std::string name, std::size_t dropped) {
  if (dropped > 0) name += fmt::format(" ({} later events dropped)", dropped);
  fmt::print(file,
             ",\n"
             R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
             recorder().rank, tid, json_string(name));
}

// Viewers drop events that overlap another of their track without lying inside it. So each goes to
// the first track that is free when it starts; the tracks have the ids from `first_tid` on.
void print_transfers(std::FILE* file, std::size_t first_tid) {
  std::vector<Transfer> transfers;
  std::size_t dropped = 0;
  {
    Transfers& recorded = recorder().transfers;
    const std::lock_guard lock(recorded.mutex);
    transfers = recorded.all;
    dropped = recorded.dropped;
  }
  std::stable_sort(transfers.begin(), transfers.end(),
                   [](const Transfer& a, const Transfer& b) { return a.start < b.start; });
  std::vector<double> busy_until;
  for (const Transfer& transfer : transfers) {
    const auto is_free = [&](double end) { return end <= transfer.start; };
    auto track = std::find_if(busy_until.begin(), busy_until.end(), is_free);
    const std::size_t tid = first_tid + static_cast<std::size_t>(track - busy_until.begin());
    if (track == busy_until.end()) {
      const std::size_t number = busy_until.size() + 1;
      print_thread_name(file, tid,
                        number == 1 ? "communication" : fmt::format("communication {}", number),
                        number == 1 ? dropped : 0);
      track = busy_until.insert(track, 0);
    }
    *track = transfer.end;
    // To the nanosecond: rounded more, neighbours would overlap.
    fmt::print(file,
               ",\n"
               R"({{"ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"collective",)"
               R"("name":"{} {}","args":{{"bytes":{},"phase":"{}","queued_us":{:.1f},)"
               R"("waited_us":{:.1f}}}}})",
               recorder().rank, tid, transfer.start * 1e6, (transfer.end - transfer.start) * 1e6,
               name_of(transfer.collective), name_of(transfer.axis), transfer.bytes,
               name_of(transfer.phase), transfer.queued * 1e6F, transfer.waited * 1e6F);
  }
}

}  // namespace

void enable(int rank) {
  recorder().rank = rank;
  recorder().enabled = true;
}

double seconds() {
  return seconds_at(Clock::now());
}

void name_thread(const std::string& name) {
  Track& track = this_track();
  const std::lock_guard lock(track.mutex);
  track.name = name;
}

void counter(std::string_view name, double value) {
  if (recorder().enabled) record(nullptr, name, seconds(), value);
}

void collective(const ops::OperationRecord& record) {
  if (!recorder().enabled) return;
  const std::chrono::duration<float> queued = record.started - record.submitted;
  const std::chrono::duration<float> waited = record.waited;
  Transfers& transfers = recorder().transfers;
  const std::lock_guard lock(transfers.mutex);
  if (transfers.all.size() == kMaxTransfers) {
    ++transfers.dropped;
    return;
  }
  transfers.all.push_back({.start = seconds_at(record.started),
                           .end = seconds_at(record.finished),
                           .queued = queued.count(),
                           .waited = waited.count(),
                           .collective = record.collective,
                           .axis = record.axis,
                           .phase = record.phase,
                           .bytes = record.bytes});
}

Span::Span(const char* category, std::string_view name) : category_(category), start_(-1) {
  if (!recorder().enabled) return;
  name_ = name;
  start_ = seconds();
}

Span::~Span() {
  if (start_ >= 0) record(category_, name_, start_, seconds() - start_);
}

namespace {

void print_events(const std::unique_ptr<std::FILE, int (*)(std::FILE*)>& file) {
  Recorder& all = recorder();
  const std::lock_guard lock(all.mutex);
  fmt::print(file.get(),
             R"({{"ph":"M","pid":{0},"name":"process_name","args":{{"name":"rank {0}"}}}})",
             all.rank);
  for (std::size_t tid = 0; tid < all.tracks.size(); ++tid) {
    Track& track = *all.tracks[tid];
    const std::lock_guard track_lock(track.mutex);
    if (track.events.empty()) continue;
    print_thread_name(file.get(), tid, track.name, track.dropped);
    for (const Event& event : track.events) {
      const double start_us = event.start * 1e6;
      if (event.category == nullptr) {
        fmt::print(file.get(),
                   ",\n"
                   R"({{"ph":"C","pid":{},"tid":{},"ts":{:.1f},"name":{},"args":{{"value":{}}}}})",
                   all.rank, tid, start_us, json_string(*event.name), event.value);
      } else {
        fmt::print(
            file.get(),
            ",\n"
            R"({{"ph":"X","pid":{},"tid":{},"ts":{:.1f},"dur":{:.1f},"cat":"{}","name":{}}})",
            all.rank, tid, start_us, event.value * 1e6, event.category, json_string(*event.name));
      }
    }
  }
  print_transfers(file.get(), all.tracks.size());
}

}  // namespace

void write_events(const std::string& path) {
  const auto fail = [&](int reason) {
    throw RuntimeError(fmt::format("{}: cannot be written: {}", path, std::strerror(reason)));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"),
                                                             std::fclose);
  if (file == nullptr) fail(errno);
  try {
    print_events(file);
  } catch (const std::system_error& error) {
    fail(error.code().value());
  }
  if (std::fflush(file.get()) != 0) fail(errno);
}

}  // namespace trib::pipeline::trace
