#include "pipeline/observe/trace.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
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
constexpr std::size_t kMaxEventsPerThread = 500'000;

struct Track {
  std::mutex mutex;  // uncontended but while the events are written
  // Of each name one copy: small blocks that live as long as the run, allocated among the samples
  // that come and go, would keep the memory between them from being used again.
  std::set<std::string, std::less<>> names;
  std::vector<Event> events;
  std::string name;
  std::size_t dropped = 0;
};

struct Recorder {
  std::atomic<bool> enabled{false};
  int rank = 0;
  Clock::time_point start = Clock::now();
  std::mutex mutex;
  std::vector<std::shared_ptr<Track>> tracks;
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

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump();
}

}  // namespace

void enable(int rank) {
  recorder().rank = rank;
  recorder().enabled = true;
}

double seconds() {
  return std::chrono::duration<double>(Clock::now() - recorder().start).count();
}

void name_thread(const std::string& name) {
  Track& track = this_track();
  const std::lock_guard lock(track.mutex);
  track.name = name;
}

void counter(std::string_view name, double value) {
  if (recorder().enabled) record(nullptr, name, seconds(), value);
}

Span::Span(const char* category, std::string_view name) : category_(category), start_(-1) {
  if (!recorder().enabled) return;
  name_ = name;
  start_ = seconds();
}

Span::~Span() {
  if (start_ >= 0) record(category_, name_, start_, seconds() - start_);
}

void write_events(const std::string& path) {
  Recorder& all = recorder();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"),
                                                             std::fclose);
  if (file == nullptr) throw RuntimeError(fmt::format("{}: cannot write the trace", path));
  const std::lock_guard lock(all.mutex);
  fmt::print(file.get(),
             R"({{"ph":"M","pid":{0},"name":"process_name","args":{{"name":"rank {0}"}}}})",
             all.rank);
  for (std::size_t tid = 0; tid < all.tracks.size(); ++tid) {
    Track& track = *all.tracks[tid];
    const std::lock_guard track_lock(track.mutex);
    if (track.events.empty()) continue;
    std::string name = track.name;
    if (track.dropped > 0) name += fmt::format(" ({} later events dropped)", track.dropped);
    fmt::print(file.get(),
               ",\n"
               R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
               all.rank, tid, json_string(name));
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
}

}  // namespace trib::pipeline::trace
