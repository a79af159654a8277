#include "pipeline/prepare/statistics_pass.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "ops/base/error.h"
#include "pipeline/graph/value_json.h"

namespace trib::pipeline {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tributary statistics part";
constexpr std::int64_t kMaxBlocks = 512;
constexpr std::int64_t kTaskBytes = std::int64_t{128} << 20;  // of the samples of one read

// All samples of the training split in the order of the files, or the first ones of a training.
std::vector<SampleRequest> selected_samples(const Plan& plan, std::int64_t wanted) {
  SamplerOptions options = plan.sampler_options(Split::train);
  std::vector<SampleRequest> requests;
  if (wanted == 0) {
    for (std::size_t source = 0; source < options.pieces.size(); ++source) {
      const auto& pieces = options.pieces[source];
      for (std::size_t item = 0; item < pieces.size(); ++item) {
        for (std::int32_t piece = 0; piece < pieces[item]; ++piece) {
          requests.push_back({requests.size(), 0, static_cast<int>(source),
                              static_cast<std::int64_t>(item), piece});
        }
      }
    }
    return requests;
  }
  options.ranks = 1;
  options.rank = 0;
  options.batch_size = wanted;
  options.shuffle_window = 0;
  options.epochs = 1;
  Sampler sampler(std::move(options));
  while (std::optional<ReadTask> task = sampler.next()) {
    for (const SampleRequest& request : task->requests) {
      if (request.position < static_cast<std::uint64_t>(wanted)) requests.push_back(request);
    }
  }
  std::sort(requests.begin(), requests.end(), [](const SampleRequest& a, const SampleRequest& b) {
    return std::tuple(a.source, a.item, a.piece) < std::tuple(b.source, b.item, b.piece);
  });
  return requests;
}

using Block = std::vector<ReadTask>;

// Pieces of an item are read together as far as memory allows, and stay in one block.
std::vector<Block> blocks_of(const std::vector<SampleRequest>& requests,
                             std::int64_t sample_bytes) {
  const auto count = static_cast<std::int64_t>(requests.size());
  const std::int64_t block_samples = (count + kMaxBlocks - 1) / kMaxBlocks;
  const std::int64_t task_samples =
      std::max<std::int64_t>(1, kTaskBytes / std::max<std::int64_t>(sample_bytes, 1));
  std::vector<Block> blocks;
  std::int64_t in_block = block_samples;
  const SampleRequest* last = nullptr;
  for (const SampleRequest& request : requests) {
    const bool is_new_item =
        last == nullptr || request.source != last->source || request.item != last->item;
    if (is_new_item && in_block >= block_samples) {
      blocks.emplace_back();
      in_block = 0;
    }
    Block& block = blocks.back();
    if (is_new_item || std::ssize(block.back().requests) >= task_samples) block.emplace_back();
    block.back().requests.push_back(request);
    ++in_block;
    last = &request;
  }
  return blocks;
}

std::string hash_of(const std::vector<SampleRequest>& requests) {
  std::vector<std::int64_t> words;
  for (const SampleRequest& r : requests) {
    words.insert(words.end(), {r.source, r.item, r.piece});
  }
  return fmt::format("{:016x}", XXH3_64bits(words.data(), words.size() * sizeof words[0]));
}

// Where the values of each statistic are in a sample.
struct Place {
  Tensor Sample::*image;
  std::int64_t plane;
};

std::vector<Place> places_of(const StreamInfo& info, const std::vector<io::Channel>& measured) {
  std::vector<Place> places;
  for (std::size_t c = 0; c < measured.size(); ++c) {
    if (c < info.channels.size()) {
      places.push_back({&Sample::x_cyx, static_cast<std::int64_t>(c)});
      continue;
    }
    const std::vector<std::string> targets = info.target_names();
    const auto at = std::find(targets.begin(), targets.end(), measured[c].name);
    places.push_back({&Sample::target_vyx, at - targets.begin()});
  }
  return places;
}

Json json_of(const Moments& m) {
  return {m.total, m.count, m.mean, m.m2, m.min, m.max};
}

Moments moments_from(const Json& json) {
  const auto v = json.get<std::array<double, 6>>();
  return {v[0], v[1], v[2], v[3], v[4], v[5]};
}

double least(double a, double b) {
  return std::isnan(a) || b < a ? b : a;
}
double greatest(double a, double b) {
  return std::isnan(a) || b > a ? b : a;
}

// What has been seen of a block.
struct Measured {
  std::size_t tasks = 0;  // still to come
  std::vector<Moments> moments;
  std::set<std::string> files;
  double first_time = io::kUnknown, last_time = io::kUnknown;

  void add(const Packet& packet, const std::vector<Place>& places) {
    moments.resize(places.size());
    for (const Sample& sample : packet.samples) {
      for (std::size_t c = 0; c < places.size(); ++c) {
        const Tensor& image = sample.*places[c].image;
        const std::int64_t pixels = image.dim(1) * image.dim(2);
        moments[c].merge(moments_of(image.data<float>() + places[c].plane * pixels, pixels));
      }
      files.insert(sample.provenance.file);
      if (std::isnan(sample.provenance.time)) continue;
      first_time = least(first_time, sample.provenance.time);
      last_time = greatest(last_time, sample.provenance.time);
    }
  }
};

}  // namespace

StatisticsPart measure_statistics(const IngestGraph& graph, const Ingest& ingest,
                                  const StatisticsOptions& options) {
  const Plan& plan = graph.plan();
  const StreamInfo info = graph.ends().front();
  const std::vector<SampleRequest> requests = selected_samples(plan, options.samples);
  std::vector<Block> blocks = blocks_of(requests, plan.ingest().sample_bytes);

  StatisticsPart part;
  part.channels = measured_channels(info);
  part.grid = GridMark::of(info.grid);
  part.samples = std::ssize(requests);
  part.blocks = std::ssize(blocks);
  part.selection = hash_of(requests);
  const std::vector<Place> places = places_of(info, part.channels);

  std::vector<std::int64_t> own;
  std::vector<Block> tasks;
  for (std::int64_t b = 0; b < part.blocks; ++b) {
    if (!options.part.contains(b, options.ranks, options.rank)) continue;
    own.push_back(b);
    tasks.push_back(std::move(blocks[static_cast<std::size_t>(b)]));
  }
  std::vector<Measured> measured(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) measured[i].tasks = tasks[i].size();
  std::mutex mutex;
  std::int64_t done = 0;
  ingest.load_lists(Split::train, std::move(tasks), [&](std::size_t i, const Packet& packet) {
    Measured& block = measured[i];
    block.add(packet, places);
    if (--block.tasks > 0) return;
    const std::lock_guard lock(mutex);
    part.moments.emplace(own[i], std::move(block.moments));
    part.files.merge(block.files);
    if (!std::isnan(block.first_time)) part.first_time = least(part.first_time, block.first_time);
    if (!std::isnan(block.last_time)) part.last_time = greatest(part.last_time, block.last_time);
    block = {};
    if (options.progress) options.progress(++done, std::ssize(own));
  });
  for (const Ingest::Skipped& skipped : ingest.skipped()) part.skipped.insert(skipped.item);
  return part;
}

std::string StatisticsPart::to_json() const {
  Json names = Json::array();
  for (const io::Channel& channel : channels) names.push_back({channel.name, channel.units});
  Json by_block = Json::object();
  for (const auto& [block, of_channels] : moments) {
    Json list = Json::array();
    for (const Moments& one : of_channels) list.push_back(json_of(one));
    by_block[std::to_string(block)] = std::move(list);
  }
  const auto time = [](double t) { return std::isnan(t) ? Json(nullptr) : Json(t); };
  return json_text({{"format", kFormat},
                    {"graph", graph},
                    {"node", node},
                    {"channels", names},
                    {"grid",
                     {{"latitudes", grid.latitudes},
                      {"longitudes", grid.longitudes},
                      {"first", grid.first},
                      {"last", grid.last},
                      {"hash", grid.hash}}},
                    {"samples", samples},
                    {"blocks", blocks},
                    {"selection", selection},
                    {"files", files},
                    {"skipped", skipped},
                    {"first_time", time(first_time)},
                    {"last_time", time(last_time)},
                    {"moments", by_block}});
}

StatisticsPart StatisticsPart::from_json(const std::string& text, const std::string& from) {
  StatisticsPart part;
  try {
    const Json json = Json::parse(text);
    if (json.value("format", "") != kFormat) {
      throw DataError(fmt::format("{}: is no part of statistics", from));
    }
    json.at("graph").get_to(part.graph);
    json.at("node").get_to(part.node);
    for (const Json& channel : json.at("channels")) {
      part.channels.push_back({channel.at(0).get<std::string>(), channel.at(1).get<std::string>()});
    }
    const Json& grid = json.at("grid");
    grid.at("latitudes").get_to(part.grid.latitudes);
    grid.at("longitudes").get_to(part.grid.longitudes);
    grid.at("first").get_to(part.grid.first);
    grid.at("last").get_to(part.grid.last);
    grid.at("hash").get_to(part.grid.hash);
    json.at("samples").get_to(part.samples);
    json.at("blocks").get_to(part.blocks);
    json.at("selection").get_to(part.selection);
    json.at("files").get_to(part.files);
    json.at("skipped").get_to(part.skipped);
    const auto time = [](const Json& t) { return t.is_null() ? io::kUnknown : t.get<double>(); };
    part.first_time = time(json.at("first_time"));
    part.last_time = time(json.at("last_time"));
    for (const auto& [block, list] : json.at("moments").items()) {
      std::vector<Moments>& of_channels = part.moments[std::stoll(block)];
      for (const Json& one : list) of_channels.push_back(moments_from(one));
      if (of_channels.size() != part.channels.size()) {
        throw DataError(fmt::format("{}: block {} has {} channels of {}", from, block,
                                    of_channels.size(), part.channels.size()));
      }
    }
  } catch (const std::exception& error) {
    if (dynamic_cast<const Error*>(&error) != nullptr) throw;
    throw DataError(fmt::format("{}: not a part of statistics: {}", from, error.what()));
  }
  return part;
}

void StatisticsPart::merge(const StatisticsPart& other, const std::string& from) {
  const auto require_same = [&](const char* what, const auto& expected, const auto& found) {
    if (expected == found) return;
    throw ConfigError(fmt::format("{}: is a part of other statistics: {} {}, expected {}", from,
                                  what, found, expected));
  };
  const auto names = [](const StatisticsPart& part) {
    std::string text;
    for (const io::Channel& c : part.channels) text += fmt::format(" {} [{}]", c.name, c.units);
    return text;
  };
  require_same("node", node, other.node);
  require_same("channels", names(*this), names(other));
  require_same("grid", grid.text() + grid.hash, other.grid.text() + other.grid.hash);
  require_same("samples", samples, other.samples);
  require_same("choice of samples", selection, other.selection);
  require_same("blocks", blocks, other.blocks);
  moments.insert(other.moments.begin(), other.moments.end());
  files.insert(other.files.begin(), other.files.end());
  skipped.insert(other.skipped.begin(), other.skipped.end());
  if (!std::isnan(other.first_time)) first_time = least(first_time, other.first_time);
  if (!std::isnan(other.last_time)) last_time = greatest(last_time, other.last_time);
}

StatisticsFile StatisticsPart::finished() const {
  if (std::ssize(moments) != blocks) {
    throw ConfigError(
        fmt::format("{} of {} blocks are measured; merge all parts", moments.size(), blocks));
  }
  StatisticsFile file;
  file.knows_grid = true;
  file.grid = grid;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    Moments all;
    for (const auto& [block, of_channels] : moments) all.merge(of_channels[c]);
    if (all.count == 0) {
      throw DataError(fmt::format(
          "channel '{}' has no value in {} samples{}", channels[c].name, samples,
          skipped.empty() ? "" : fmt::format(", of which {} images were skipped", skipped.size())));
    }
    file.channels.push_back(ChannelSummary::of(channels[c], all));
  }
  file.origin.graph = graph;
  file.origin.node = node;
  file.origin.samples = samples;
  file.origin.skipped = std::ssize(skipped);
  file.origin.num_files = std::ssize(files);
  for (const std::string& name : files) {
    if (file.origin.files.size() == kFilesNamed) break;
    file.origin.files.push_back(name);
  }
  file.origin.first_time = first_time;
  file.origin.last_time = last_time;
  return file;
}

}  // namespace trib::pipeline
