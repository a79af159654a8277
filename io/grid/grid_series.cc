#include "io/grid/grid_series.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "io/grid/cf_time.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Coordinates are often floats: closer than this, degrees are the same.
constexpr double kSameDegrees = 1e-4;

// First difference between two axes, empty if they are the same.
std::string difference(const char* axis, const std::vector<double>& a,
                       const std::vector<double>& b) {
  if (a.size() != b.size()) return fmt::format("{} against {} {}", a.size(), b.size(), axis);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::abs(a[i] - b[i]) > kSameDegrees) {
      return fmt::format("{} [{}] is {} against {}", axis, i, a[i], b[i]);
    }
  }
  return "";
}

class Joiner {
 public:
  Joiner(std::vector<GridHeader> files, const std::string& times, std::int64_t time_stride)
      : time_stride_(time_stride) {
    if (time_stride < 1) {
      throw ConfigError(fmt::format("time stride {}, expected at least 1", time_stride));
    }
    if (!times.empty()) range_ = parse_time_range(times);
    series_.files = std::move(files);
  }

  GridSeries join(const std::vector<std::string>& channels) {
    check_grids();
    choose_channels(channels);
    check_members();
    collect_times();
    for (std::size_t c = 0; c < series_.channels.size(); ++c) add_timeline(c);
    return std::move(series_);
  }

 private:
  const std::vector<GridHeader>& files() const { return series_.files; }

  std::string place() const {
    return files().size() == 1
               ? files()[0].path
               : fmt::format("{} and {} more files", files()[0].path, files().size() - 1);
  }

  void check_grids() const {
    const GridHeader& first = files()[0];
    for (const GridHeader& file : files()) {
      std::string what = difference("latitudes", first.grid.latitudes, file.grid.latitudes);
      if (what.empty()) {
        what = difference("longitudes", first.grid.longitudes, file.grid.longitudes);
      }
      if (!what.empty()) {
        throw DataError(
            fmt::format("{} and {} lie on different grids: {}", first.path, file.path, what));
      }
    }
  }

  // Offer the channels of all files in the order they are met, and choose among them.
  void choose_channels(const std::vector<std::string>& selection) {
    std::vector<GridChannel> offered;
    std::unordered_map<std::string, std::size_t> index;
    std::vector<std::vector<std::pair<std::size_t, ChannelPlace>>> found(files().size());
    for (std::size_t f = 0; f < files().size(); ++f) {
      const GridHeader& file = files()[f];
      for (std::size_t v = 0; v < file.variables.size(); ++v) {
        const GridVariable& variable = file.variables[v];
        const std::vector<double> surface{kUnknown};
        const auto& levels = variable.levels_hpa.empty() ? surface : variable.levels_hpa;
        for (std::size_t l = 0; l < levels.size(); ++l) {
          GridChannel c{
              {grid_channel_name(variable.name, levels[l]), variable.units, kUnknown, levels[l]},
              variable.name};
          const auto [entry, is_new] = index.try_emplace(c.channel.name, offered.size());
          const bool twice = std::ranges::any_of(
              found[f], [&](const auto& e) { return e.first == entry->second; });
          if (twice) {
            throw DataError(fmt::format("{}: holds {} twice (variable {})", file.path,
                                        c.channel.name, variable.variable.name));
          }
          found[f].push_back(
              {entry->second, {static_cast<std::int32_t>(v), static_cast<std::int32_t>(l)}});
          if (is_new) {
            offered.push_back(std::move(c));
          } else if (offered[entry->second].channel.units != c.channel.units) {
            throw DataError(fmt::format("{}: {} is in \"{}\", in other files in \"{}\"", file.path,
                                        c.channel.name, c.channel.units,
                                        offered[entry->second].channel.units));
          }
        }
      }
    }
    const auto chosen = select_grid_channels(offered, selection, place());
    std::vector<std::ptrdiff_t> position(offered.size(), -1);
    for (const std::size_t c : chosen) {
      position[c] = static_cast<std::ptrdiff_t>(series_.channels.size());
      series_.channels.push_back(offered[c].channel);
    }
    series_.places.assign(files().size(), std::vector<ChannelPlace>(chosen.size()));
    for (std::size_t f = 0; f < files().size(); ++f) {
      for (const auto& [c, where] : found[f]) {
        if (position[c] >= 0) series_.places[f][static_cast<std::size_t>(position[c])] = where;
      }
    }
  }

  bool holds(std::size_t f, std::size_t c) const { return series_.places[f][c].variable >= 0; }
  const GridVariable& variable(std::size_t f, std::size_t c) const {
    return files()[f].variables[static_cast<std::size_t>(series_.places[f][c].variable)];
  }

  // Whether a channel of a file belongs to a time: by its own axis or the file's scalar time.
  bool has_time(std::size_t f, std::size_t c) const {
    const GridHeader& file = files()[f];
    return variable(f, c).has(AxisRole::time) ||
           (file.time_kind == TimeKind::calendar && file.times.size() == 1);
  }

  void check_members() {
    const GridHeader* other = nullptr;
    for (std::size_t f = 0; f < files().size(); ++f) {
      for (std::size_t c = 0; c < series_.channels.size(); ++c) {
        if (!holds(f, c) || !variable(f, c).has(AxisRole::member)) continue;
        const GridHeader& file = files()[f];
        if (other != nullptr && other->num_members != file.num_members) {
          throw DataError(fmt::format("{} has {} ensemble members, {} has {}", other->path,
                                      other->num_members, file.path, file.num_members));
        }
        other = &file;
        series_.num_members = file.num_members;
      }
    }
  }

  // The times of the series: all that some selected channel has and the range takes.
  void collect_times() {
    for (std::size_t f = 0; f < files().size(); ++f) {
      const GridHeader& file = files()[f];
      for (std::size_t c = 0; c < series_.channels.size(); ++c) {
        if (!holds(f, c) || !has_time(f, c)) continue;
        if (timed_file_ != nullptr && timed_file_->time_kind != file.time_kind) {
          throw DataError(fmt::format(
              "{} is a climatology, {} has dates: they cannot be joined",
              (file.time_kind == TimeKind::climatology ? file.path : timed_file_->path),
              (file.time_kind == TimeKind::climatology ? timed_file_->path : file.path)));
        }
        timed_file_ = &file;
        for (std::size_t t = 0; t < file.times.size(); ++t) all_.push_back(key(file, t));
        break;
      }
    }
    std::ranges::sort(all_);
    all_.erase(std::ranges::unique(all_).begin(), all_.end());
    const bool has_dates = timed_file_ != nullptr && timed_file_->time_kind == TimeKind::calendar;
    if (range_ && !has_dates) {
      throw DataError(fmt::format("{}: has no dates to select times from", place()));
    }
    if (timed_file_ == nullptr) {
      all_ = {0};
      series_.times = {kUnknown};
      return;
    }
    std::vector<double> kept;
    for (const double time : all_) {
      if (!range_ || range_->contains(time)) kept.push_back(time);
    }
    if (kept.empty()) {
      throw DataError(fmt::format("{}: no time between {} and {}; there are {} from {} to {}",
                                  place(), format_time(range_->first), format_time(range_->last),
                                  all_.size(), format_time(all_.front()),
                                  format_time(all_.back())));
    }
    all_.clear();
    for (std::size_t t = 0; t < kept.size(); t += static_cast<std::size_t>(time_stride_)) {
      all_.push_back(kept[t]);
      series_.times.push_back(has_dates ? kept[t] : kUnknown);
    }
  }

  // What orders the images: the date, or the position in a climatology.
  static double key(const GridHeader& file, std::size_t t) {
    return file.time_kind == TimeKind::calendar ? file.times[t] : static_cast<double>(t);
  }
  std::string describe_key(double key) const {
    return timed_file_->time_kind == TimeKind::calendar
               ? format_time(key)
               : fmt::format("position {} of the climatology", key);
  }

  // Find the file and position of a channel at each time.
  void add_timeline(std::size_t c) {
    const std::string& name = series_.channels[c].name;
    std::vector<TimeSlot> slots;
    std::unordered_map<double, TimeSlot> by_time;
    std::optional<std::size_t> constant;
    for (std::size_t f = 0; f < files().size(); ++f) {
      if (!holds(f, c)) continue;
      const GridHeader& file = files()[f];
      if (!has_time(f, c)) {
        // Beside a series the same constant comes with every file.
        if (constant && file.times.empty()) {
          throw DataError(fmt::format("{} and {} both hold {} and no time to tell them apart",
                                      files()[*constant].path, file.path, name));
        }
        if (!constant) constant = f;
        continue;
      }
      for (std::size_t t = 0; t < file.times.size(); ++t) {
        const TimeSlot slot{static_cast<std::int32_t>(f), static_cast<std::int32_t>(t)};
        const auto [entry, is_new] = by_time.try_emplace(key(file, t), slot);
        if (is_new) continue;
        throw DataError(fmt::format(
            "overlap: {} at {} is both in {} and in {}", name, describe_key(key(file, t)),
            files()[static_cast<std::size_t>(entry->second.file)].path, file.path));
      }
    }
    if (by_time.empty() && constant) {
      slots.assign(all_.size(), TimeSlot{static_cast<std::int32_t>(*constant), 0});
    } else {
      std::size_t num_missing = 0;
      double first_missing = 0;
      for (const double time : all_) {
        const auto found = by_time.find(time);
        if (found != by_time.end()) {
          slots.push_back(found->second);
        } else if (num_missing++ == 0) {
          first_missing = time;
        }
      }
      if (num_missing > 0) {
        throw DataError(
            fmt::format("{}: gap: {} is missing at {} of {} times, first at {}, which "
                        "other channels have",
                        place(), name, num_missing, all_.size(), describe_key(first_missing)));
      }
    }
    auto& timelines = series_.timelines;
    const auto same = std::ranges::find(timelines, slots);
    series_.timeline_of_channel.push_back(static_cast<std::size_t>(same - timelines.begin()));
    if (same == timelines.end()) timelines.push_back(std::move(slots));
  }

  GridSeries series_;
  std::int64_t time_stride_;
  std::optional<TimeRange> range_;
  const GridHeader* timed_file_ = nullptr;
  std::vector<double> all_;  // keys of the times kept
};

}  // namespace

GridSeries join_grid_files(std::vector<GridHeader> files, const std::vector<std::string>& channels,
                           const std::string& times, std::int64_t time_stride) {
  return Joiner(std::move(files), times, time_stride).join(channels);
}

}  // namespace trib::io
