#include "pipeline/prepare/prepared_split.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/pending_file.h"
#include "io/prepared/shard_writer.h"
#include "ops/base/error.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/stages/statistics_file.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kDifferencesShown = 5;

/// Lines for the values in which two JSON texts differ.
std::string differences(const std::string& expected, const std::string& found) {
  const Json a = Json::parse(expected).flatten(), b = Json::parse(found).flatten();
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items()) keys.insert(key);
  for (const auto& [key, value] : b.items()) keys.insert(key);
  std::vector<std::string> lines;
  const auto text = [](const Json& json, const std::string& key) {
    return json.contains(key) ? json.at(key).dump() : std::string("nothing");
  };
  for (const std::string& key : keys) {
    const std::string asked = text(a, key), there = text(b, key);
    if (asked != there)
      lines.push_back(fmt::format("{}: found {}, expected {}", key, there, asked));
  }
  const std::size_t more = lines.size() > kDifferencesShown ? lines.size() - kDifferencesShown : 0;
  lines.resize(lines.size() - more);
  return fmt::format("{}{}", fmt::join(lines, "; "),
                     more > 0 ? fmt::format("; and {} more", more) : "");
}

/// Hands samples to a shard in the order of their positions, as they become ready.
class InOrder {
 public:
  InOrder(io::ShardWriter& writer, const Range& positions)
      : writer_(writer), next_(positions.begin) {}

  void add(std::int64_t position, io::EncodedSample sample) {
    const std::lock_guard lock(mutex_);
    ready_[position].sample = std::move(sample);
    write_ready();
  }
  void skip(io::SkippedRecord skipped) {
    const std::lock_guard lock(mutex_);
    ready_[skipped.position].skipped = std::move(skipped);
    write_ready();
  }

 private:
  struct Entry {
    std::optional<io::EncodedSample> sample;
    std::optional<io::SkippedRecord> skipped;
  };

  void write_ready() {
    for (auto at = ready_.begin(); at != ready_.end() && at->first == next_;
         at = ready_.erase(at), ++next_) {
      if (at->second.sample) writer_.append(std::move(*at->second.sample));
      if (at->second.skipped) writer_.skip(std::move(*at->second.skipped));
    }
  }

  io::ShardWriter& writer_;
  std::mutex mutex_;
  std::int64_t next_;
  std::map<std::int64_t, Entry> ready_;
};

}  // namespace

// Reads come by the position of their first sample, but that of the last may lie in a later range.
std::vector<ReadTask> TaskStream::take(const Range& positions) {
  std::vector<ReadTask> taken, before = std::move(rest_);
  rest_.clear();
  for (ReadTask& task : before) deal(std::move(task), positions, taken);
  while (true) {
    std::optional<ReadTask> task = sampler_.next();
    if (!task) break;
    const bool is_later =
        static_cast<std::int64_t>(task->requests.front().position) >= positions.end;
    deal(std::move(*task), positions, taken);
    if (is_later) break;
  }
  return taken;
}

void TaskStream::deal(ReadTask task, const Range& positions, std::vector<ReadTask>& taken) {
  ReadTask now, later;
  for (const SampleRequest& request : task.requests) {
    const auto position = static_cast<std::int64_t>(request.position);
    if (position < positions.begin) continue;
    (position < positions.end ? now : later).requests.push_back(request);
  }
  if (!now.requests.empty()) taken.push_back(std::move(now));
  if (!later.requests.empty()) rest_.push_back(std::move(later));
}

PreparedSplit::PreparedSplit(std::string folder, Split split, io::PreparedHead head,
                             SamplerOptions sampler)
    : folder_(std::move(folder)),
      split_(split),
      head_(std::move(head)),
      sampler_(std::move(sampler)) {}

void PreparedSplit::open() const {
  create_folder(folder_);
  const std::string path = folder_ + "/" + io::kPreparationName;
  const std::string own = head_.to_json();
  if (!fs::exists(path)) io::write_file(path, own);
  const std::string found = io::read_text_file(path);
  if (found == own) return;
  io::PreparedHead::from_json(found, path);  // refuses damage
  throw ConfigError(fmt::format(
      "{}: something else is being prepared there; take another folder, or remove this one: {}",
      folder_, differences(own, found)));
}

bool PreparedSplit::has(std::int64_t shard) const {
  try {
    return io::find_shard(folder_, shard, head_.layout).has_value();
  } catch (const DataError& error) {
    fmt::print(stderr, "warning: shard {} is written again: {}\n", shard, error.what());
    return false;
  }
}

void PreparedSplit::write(const std::vector<std::int64_t>& shards, const IngestGraph& graph,
                          const Ingest& ingest,
                          const std::function<void(std::int64_t)>& progress) const {
  TaskStream tasks(sampler_);
  for (const std::int64_t shard : shards) {
    write_shard(shard, tasks.take(head_.shard_positions(shard)), graph, ingest, progress);
  }
}

// As many reads go on at a time as the ingest's memory allows; a sample leaves it when those before
// it are written.
void PreparedSplit::write_shard(std::int64_t shard, std::vector<ReadTask> tasks,
                                const IngestGraph& graph, const Ingest& ingest,
                                const std::function<void(std::int64_t)>& progress) const {
  const Plan& plan = graph.plan();
  const io::PreparedLayout& layout = head_.layout;
  const Range positions = head_.shard_positions(shard);
  io::ShardWriter writer(folder_, shard, layout, positions.size());
  InOrder in_order(writer, positions);
  const Shape x_shape{layout.num_channels(), layout.extent.height, layout.extent.width};
  const Shape target_shape{layout.num_targets(), layout.extent.height, layout.extent.width};

  const auto write = [&](const Packet& packet) {
    for (const Sample& sample : packet.samples) {
      expect_shape(sample.x_cyx, sample.provenance.file, x_shape);
      if (layout.num_targets() > 0) {
        expect_shape(sample.target_vyx, sample.provenance.file, target_shape);
      }
      const Tensor x = sample.x_cyx.contiguous(MemoryKind::ingest);
      const Tensor target = sample.target_vyx.contiguous(MemoryKind::ingest);
      const auto position = static_cast<std::int64_t>(sample.request.position);
      in_order.add(position,
                   io::encode_sample(layout, {position, sample.lead_hours, sample.provenance},
                                     x.data<float>(),
                                     layout.num_targets() > 0 ? target.data<float>() : nullptr));
    }
    if (!packet.skipped.empty()) {
      const std::string item = plan.describe(split_, packet.requests.front());
      const std::vector<Ingest::Skipped> all = ingest.skipped();
      const auto known = std::find_if(all.rbegin(), all.rend(),
                                      [&](const auto& skipped) { return skipped.item == item; });
      const std::string error = known == all.rend() ? "" : known->error;
      for (const std::uint64_t position : packet.skipped) {
        in_order.skip({static_cast<std::int64_t>(position), item, error});
      }
    }
    progress(std::ssize(packet.samples) + std::ssize(packet.skipped));
  };

  for (std::size_t begin = 0, end; begin < tasks.size(); begin = end) {
    std::int64_t bytes = 0;
    for (end = begin; end < tasks.size(); ++end) {
      bytes += plan.task_bytes(tasks[end]);
      if (bytes > plan.ingest().bytes && end > begin) break;
    }
    const auto at = [&](std::size_t i) {
      return std::make_move_iterator(tasks.begin() + static_cast<std::ptrdiff_t>(i));
    };
    ingest.load_all(split_, {at(begin), at(end)}, write);
  }
  writer.commit();
}

std::vector<std::int64_t> PreparedSplit::finish() const {
  io::PreparedIndex index{head_, {}};
  std::vector<std::int64_t> missing;
  std::vector<Moments> moments(static_cast<std::size_t>(head_.layout.num_planes()));
  std::set<std::string> files;
  StatisticsFile statistics;
  for (std::int64_t shard = 0; shard < head_.num_shards(); ++shard) {
    std::optional<io::ShardEntry> entry;
    try {
      entry = io::find_shard(folder_, shard, head_.layout);
    } catch (const DataError&) {  // written again by the next run
    }
    if (!entry) {
      missing.push_back(shard);
      continue;
    }
    index.shards.push_back(*entry);
    const std::string path = folder_ + "/" + io::shard_file_name("shard", shard, ".json");
    const io::ShardRecord record =
        io::ShardRecord::from_json(io::read_text_file(path), path, head_.layout);
    for (std::size_t p = 0; p < moments.size(); ++p) moments[p].merge(record.moments[p]);
    for (const io::SampleRecord& sample : record.samples) files.insert(sample.provenance.file);
    statistics.origin.skipped += std::ssize(record.skipped);
  }
  if (!missing.empty()) return missing;

  const Json made_from = Json::parse(head_.made_from);
  statistics.knows_grid = true;
  statistics.grid = GridMark::of(head_.grid);
  statistics.origin.graph = made_from.value("graph", "");
  statistics.origin.node = made_from.value("node", "");
  statistics.origin.split = head_.split;
  statistics.origin.samples = index.samples();
  statistics.origin.num_files = std::ssize(files);
  for (const std::string& file : files) {
    if (statistics.origin.files.size() == kFilesNamed) break;
    statistics.origin.files.push_back(file);
  }
  std::set<std::string> known;
  for (std::size_t p = 0; p < moments.size(); ++p) {
    const auto channels = head_.layout.channels.size();
    const io::Channel& channel =
        p < channels ? head_.layout.channels[p] : head_.layout.targets[p - channels];
    if (known.insert(channel.name).second) {
      statistics.channels.push_back(ChannelSummary::of(channel, moments[p]));
    }
  }
  write_statistics(folder_ + "/statistics.json", statistics);
  io::write_file(folder_ + "/" + io::kIndexName, index.to_json());
  // What killed runs have left; nobody writes here any more.
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() == ".part") fs::remove(entry.path());
  }
  return {};
}

}  // namespace trib::pipeline
