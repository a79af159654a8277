#include "io/prepared/prepared_index.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tributary prepared";
constexpr int kVersion = 1;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 40;

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json number_or_null(double value) {
  return std::isnan(value) ? Json(nullptr) : Json(value);
}

double number_or_unknown(const Json& json) {
  return json.is_null() ? kUnknown : json.get<double>();
}

/// Run `parse` on a text; whatever is wrong with it becomes a DataError.
template <class Parse>
auto parsed(const std::string& text, const std::string& path, Parse&& parse) {
  try {
    return parse(Json::parse(text));
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: damaged: {}", path, error.what()));
  }
}

void require(bool holds, const std::string& path, const std::string& message) {
  if (!holds) throw DataError(fmt::format("{}: damaged: {}", path, message));
}

Json json_of(const std::vector<Channel>& channels) {
  Json list = Json::array();
  for (const Channel& channel : channels) {
    list.push_back({{"name", channel.name},
                    {"units", channel.units},
                    {"wavelength_nm", number_or_null(channel.wavelength_nm)},
                    {"level_hpa", number_or_null(channel.level_hpa)}});
  }
  return list;
}

std::vector<Channel> channels_of(const Json& list) {
  std::vector<Channel> channels;
  for (const Json& json : list) {
    channels.push_back({json.at("name").get<std::string>(), json.at("units").get<std::string>(),
                        number_or_unknown(json.at("wavelength_nm")),
                        number_or_unknown(json.at("level_hpa"))});
  }
  return channels;
}

Json head_json(const PreparedHead& head) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"split", head.split},
               {"dtype", head.layout.type == PreparedType::f32 ? "float32" : "float16"},
               {"compression", head.layout.is_compressed() ? "zstd" : "none"},
               {"zstd_level", head.layout.zstd_level},
               {"height", head.layout.extent.height},
               {"width", head.layout.extent.width},
               {"channels", json_of(head.layout.channels)},
               {"targets", json_of(head.layout.targets)}};
  json["grid"] = nullptr;
  if (head.grid != nullptr) {
    json["grid"] = {{"latitudes", head.grid->latitudes}, {"longitudes", head.grid->longitudes}};
  }
  json["normalized_by"] = nullptr;
  if (head.scaling) {
    json["normalized_by"] = {{"channels", head.scaling->channels},
                             {"mean", head.scaling->mean},
                             {"std", head.scaling->std}};
  }
  json["positions"] = head.positions;
  json["shard_samples"] = head.shard_samples;
  json["made_from"] = Json::parse(head.made_from);
  return json;
}

PreparedHead head_of(const Json& json, const std::string& path) {
  require(json.is_object() && json.value("format", "") == kFormat, path,
          "it does not describe prepared samples");
  if (json.at("version") != kVersion) {
    throw DataError(fmt::format("{}: prepared by version {} of the format, expected {}", path,
                                json.at("version").dump(), kVersion));
  }
  PreparedHead head;
  json.at("split").get_to(head.split);
  const auto dtype = json.at("dtype").get<std::string>();
  require(dtype == "float32" || dtype == "float16", path, fmt::format("dtype '{}'", dtype));
  PreparedLayout& layout = head.layout;
  layout.type = dtype == "float32" ? PreparedType::f32 : PreparedType::f16;
  const auto compression = json.at("compression").get<std::string>();
  require(compression == "none" || compression == "zstd", path,
          fmt::format("compression '{}'", compression));
  json.at("zstd_level").get_to(layout.zstd_level);
  require((compression == "zstd") == layout.is_compressed(), path,
          fmt::format("compression {} with zstd level {}", compression, layout.zstd_level));
  json.at("height").get_to(layout.extent.height);
  json.at("width").get_to(layout.extent.width);
  layout.channels = channels_of(json.at("channels"));
  layout.targets = channels_of(json.at("targets"));
  const auto [height, width] = layout.extent;
  require(height > 0 && width > 0 && height <= kMostPixels / width && layout.num_planes() > 0 &&
              layout.num_planes() <= kMostPixels / (height * width),
          path, fmt::format("{} planes of {} x {}", layout.num_planes(), height, width));
  if (const Json& grid = json.at("grid"); !grid.is_null()) {
    LatLonGrid made;
    grid.at("latitudes").get_to(made.latitudes);
    grid.at("longitudes").get_to(made.longitudes);
    require(std::ssize(made.latitudes) == height && std::ssize(made.longitudes) == width, path,
            fmt::format("a grid of {} x {} for images of {} x {}", made.latitudes.size(),
                        made.longitudes.size(), height, width));
    head.grid = std::make_shared<const LatLonGrid>(std::move(made));
  }
  if (const Json& scaling = json.at("normalized_by"); !scaling.is_null()) {
    head.scaling.emplace();
    scaling.at("channels").get_to(head.scaling->channels);
    scaling.at("mean").get_to(head.scaling->mean);
    scaling.at("std").get_to(head.scaling->std);
    require(head.scaling->channels.size() == head.scaling->mean.size() &&
                head.scaling->channels.size() == head.scaling->std.size(),
            path, "normalized_by has lists of different lengths");
  }
  json.at("positions").get_to(head.positions);
  json.at("shard_samples").get_to(head.shard_samples);
  require(head.positions > 0 && head.shard_samples > 0, path,
          fmt::format("{} positions in shards of {}", head.positions, head.shard_samples));
  head.made_from = json.at("made_from").dump();
  return head;
}

Json json_of(const ShardFile& file) {
  if (file.name.empty()) return nullptr;
  Json json = {{"name", file.name}, {"bytes", file.bytes}, {"xxh3", file.xxh3}};
  if (!file.frames.empty()) json["frames"] = file.frames;
  return json;
}

ShardFile file_of(const Json& json, std::int64_t samples, bool is_compressed,
                  const std::string& path) {
  ShardFile file;
  if (json.is_null()) return file;
  json.at("name").get_to(file.name);
  json.at("bytes").get_to(file.bytes);
  json.at("xxh3").get_to(file.xxh3);
  require(file.name.find('/') == std::string::npos && !file.name.empty(), path,
          fmt::format("a file named '{}'", file.name));
  if (!is_compressed || samples == 0) return file;
  json.at("frames").get_to(file.frames);
  require(std::ssize(file.frames) == samples, path,
          fmt::format("{} frames of {} samples", file.frames.size(), samples));
  return file;
}

/// Samples as columns: short, and quick to parse.
Json table_of(const std::vector<SampleRecord>& samples) {
  Json files = Json::array(), references = Json::array();
  Json position = Json::array(), file = Json::array(), window = Json::array(), time = Json::array(),
       label = Json::array(), lead = Json::array(), reference = Json::array();
  std::unordered_map<std::string, std::size_t> file_numbers;
  std::map<std::pair<std::string, std::array<double, 6>>, std::size_t> reference_numbers;
  for (const SampleRecord& sample : samples) {
    const Provenance& from = sample.provenance;
    const auto [known_file, is_new_file] = file_numbers.emplace(from.file, files.size());
    if (is_new_file) files.push_back(from.file);
    position.push_back(sample.position);
    file.push_back(known_file->second);
    window.push_back({from.window.y, from.window.x, from.window.height, from.window.width});
    time.push_back(number_or_null(from.time));
    label.push_back(from.label);
    lead.push_back(sample.lead_hours);
    if (from.geo == nullptr) {
      reference.push_back(-1);
      continue;
    }
    const auto [known, is_new] = reference_numbers.emplace(
        std::pair(from.geo->crs_wkt, from.geo->transform), references.size());
    if (is_new) {
      references.push_back({{"crs_wkt", from.geo->crs_wkt}, {"transform", from.geo->transform}});
    }
    reference.push_back(known->second);
  }
  return {{"files", files},           {"georeferences", references},
          {"position", position},     {"file", file},
          {"window", window},         {"time", time},
          {"label", label},           {"lead_hours", lead},
          {"georeference", reference}};
}

std::vector<SampleRecord> samples_of(const Json& table, const std::string& path) {
  const auto files = table.at("files").get<std::vector<std::string>>();
  std::vector<std::shared_ptr<const GeoReference>> references;
  for (const Json& json : table.at("georeferences")) {
    references.push_back(std::make_shared<const GeoReference>(GeoReference{
        json.at("crs_wkt").get<std::string>(), json.at("transform").get<std::array<double, 6>>()}));
  }
  const std::size_t count = table.at("position").size();
  for (const char* column : {"file", "window", "time", "label", "lead_hours", "georeference"}) {
    require(table.at(column).size() == count, path,
            fmt::format("column '{}' has {} entries for {} samples", column,
                        table.at(column).size(), count));
  }
  std::vector<SampleRecord> samples(count);
  for (std::size_t i = 0; i < count; ++i) {
    SampleRecord& sample = samples[i];
    table.at("position")[i].get_to(sample.position);
    table.at("lead_hours")[i].get_to(sample.lead_hours);
    Provenance& from = sample.provenance;
    from.file = files.at(table.at("file")[i].get<std::size_t>());
    const auto window = table.at("window")[i].get<std::array<std::int64_t, 4>>();
    from.window = {window[0], window[1], window[2], window[3]};
    from.time = number_or_unknown(table.at("time")[i]);
    table.at("label")[i].get_to(from.label);
    const auto reference = table.at("georeference")[i].get<std::int64_t>();
    if (reference >= 0) from.geo = references.at(static_cast<std::size_t>(reference));
  }
  return samples;
}

}  // namespace

std::string PreparedHead::to_json() const {
  return dump(head_json(*this), 2);
}

PreparedHead PreparedHead::from_json(const std::string& text, const std::string& path) {
  return parsed(text, path, [&](const Json& json) { return head_of(json, path); });
}

std::string ShardRecord::to_json() const {
  Json of_planes = Json::array();
  for (const Moments& m : moments) {
    of_planes.push_back({m.total, m.count, m.mean, m.m2, m.min, m.max});
  }
  Json left_out = Json::array();
  for (const SkippedRecord& one : skipped) {
    left_out.push_back({{"position", one.position}, {"item", one.item}, {"error", one.error}});
  }
  return dump({{"shard", shard},
               {"num_samples", samples.size()},
               {"x", json_of(x)},
               {"target", json_of(target)},
               {"sums", json_of(sums)},
               {"skipped", left_out},
               {"moments", of_planes},
               {"samples", table_of(samples)}},
              -1);
}

ShardRecord ShardRecord::from_json(const std::string& text, const std::string& path,
                                   const PreparedLayout& layout) {
  try {
    return parsed(text, path, [&](const Json& json) {
      ShardRecord record;
      json.at("shard").get_to(record.shard);
      record.samples = samples_of(json.at("samples"), path);
      const std::int64_t count = std::ssize(record.samples);
      require(json.at("num_samples") == count, path,
              fmt::format("{} samples, and says {}", count, json.at("num_samples").dump()));
      record.x = file_of(json.at("x"), count, layout.is_compressed(), path);
      record.target = file_of(json.at("target"), count, layout.is_compressed(), path);
      record.sums = file_of(json.at("sums"), count, false, path);
      require(record.x.name.empty() == layout.channels.empty() &&
                  record.target.name.empty() == layout.targets.empty() && !record.sums.name.empty(),
              path, "its files are not those of the set");
      for (const Json& one : json.at("skipped")) {
        record.skipped.push_back({one.at("position").get<std::int64_t>(),
                                  one.at("item").get<std::string>(),
                                  one.at("error").get<std::string>()});
      }
      for (const Json& m : json.at("moments")) {
        const auto v = m.get<std::array<double, 6>>();
        record.moments.push_back({v[0], v[1], v[2], v[3], v[4], v[5]});
      }
      require(std::ssize(record.moments) == layout.num_planes(), path,
              fmt::format("moments of {} planes, expected {}", record.moments.size(),
                          layout.num_planes()));
      return record;
    });
  } catch (const std::out_of_range& error) {
    throw DataError(fmt::format("{}: damaged: {}", path, error.what()));
  }
}

std::int64_t PreparedIndex::samples() const {
  std::int64_t count = 0;
  for (const ShardEntry& shard : shards) count += shard.samples;
  return count;
}

std::string PreparedIndex::to_json() const {
  Json json = head_json(head);
  json["samples"] = samples();
  json["shards"] = Json::array();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    json["shards"].push_back(
        {{"record", shard_file_name("shard", static_cast<std::int64_t>(i), ".json")},
         {"samples", shards[i].samples},
         {"bytes", shards[i].bytes},
         {"xxh3", shards[i].xxh3}});
  }
  return dump(json, 2);
}

PreparedIndex PreparedIndex::from_json(const std::string& text, const std::string& path) {
  return parsed(text, path, [&](const Json& json) {
    PreparedIndex index;
    index.head = head_of(json, path);
    for (const Json& shard : json.at("shards")) {
      index.shards.push_back({shard.at("samples").get<std::int64_t>(),
                              shard.at("bytes").get<std::int64_t>(),
                              shard.at("xxh3").get<std::string>()});
      require(index.shards.back().samples >= 0 &&
                  index.shards.back().samples <= index.head.shard_samples,
              path, fmt::format("a shard of {} samples", index.shards.back().samples));
    }
    require(std::ssize(index.shards) == index.head.num_shards(), path,
            fmt::format("{} shards, expected {}", index.shards.size(), index.head.num_shards()));
    require(json.at("samples") == index.samples(), path,
            fmt::format("{} samples in its shards, and says {}", index.samples(),
                        json.at("samples").dump()));
    return index;
  });
}

std::string shard_file_name(const std::string& what, std::int64_t shard,
                            const std::string& ending) {
  return fmt::format("{}-{:05}{}", what, shard, ending);
}

std::string xxh3_text(const void* data, std::size_t bytes) {
  return fmt::format("{:016x}", XXH3_64bits(data, bytes));
}

std::string xxh3_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw DataError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> piece(std::size_t{1} << 20);
  while (file) {
    file.read(piece.data(), std::ssize(piece));
    XXH3_64bits_update(state.get(), piece.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw DataError(fmt::format("{}: cannot be read to its end", path));
  return fmt::format("{:016x}", XXH3_64bits_digest(state.get()));
}

std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) throw DataError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  return std::move(text).str();
}

}  // namespace trib::io
