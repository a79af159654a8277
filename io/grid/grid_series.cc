#include "io/grid/grid_series.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "io/grid/cf_time.h"
#include "io/grid/longitudes.h"
#include "io/grid/time_gaps.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

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
  Joiner(std::vector<GridHeader> files, const GridOptions& options) : options_(options) {
    if (options.time_stride < 1) {
      throw ConfigError(fmt::format("time stride {}, expected at least 1", options.time_stride));
    }
    series_.files = std::move(files);
  }

  GridSeries join() {
    join_grids();
    choose_channels(options_.channels);
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

  // The grid is that of the first file, with the longitudes asked for; other files may count
  // longitudes from another meridian.
  void join_grids() {
    const GridHeader& first = files()[0];
    series_.grid = first.grid;
    series_.grid.longitudes = longitudes_in(options_.longitudes, first.grid.longitudes, first.path);
    for (const GridHeader& file : files()) {
      const auto shift = column_shift(series_.grid.longitudes, file.grid.longitudes);
      std::string what = difference("latitudes", first.grid.latitudes, file.grid.latitudes);
      if (what.empty() && !shift) {
        what = difference("longitudes", first.grid.longitudes, file.grid.longitudes);
      }
      if (!what.empty()) {
        throw DataError(
            fmt::format("{} and {} lie on different grids: {}", first.path, file.path, what));
      }
      series_.column_shifts.push_back(*shift);
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
        const std::vector<GridLevel> surface{{kUnknown, ""}};
        const auto& levels = variable.levels.empty() ? surface : variable.levels;
        for (std::size_t l = 0; l < levels.size(); ++l) {
          const auto& [hpa, label] = levels[l];
          GridChannel c{{grid_channel_name(variable.name, label), variable.units, kUnknown, hpa},
                        variable.name,
                        label};
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
    return !file.is_static && (variable(f, c).has(AxisRole::time) ||
                               (file.time_kind == TimeKind::calendar && file.times.size() == 1));
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
        if (timed_file_ != nullptr && timed_file_->calendar != file.calendar) {
          throw DataError(fmt::format("{} has the calendar {}, {} has {}: they cannot be joined",
                                      timed_file_->path, name_of(timed_file_->calendar), file.path,
                                      name_of(file.calendar)));
        }
        timed_file_ = &file;
        for (std::size_t t = 0; t < file.times.size(); ++t) all_.push_back(key(file, t));
        break;
      }
    }
    std::ranges::sort(all_);
    all_.erase(std::ranges::unique(all_).begin(), all_.end());
    const bool has_dates = timed_file_ != nullptr && timed_file_->time_kind == TimeKind::calendar;
    if (!options_.times.empty() && !has_dates) {
      throw DataError(fmt::format("{}: has no dates to select times from", place()));
    }
    if (timed_file_ == nullptr) {
      all_ = {0};
      series_.times = {kUnknown};
      return;
    }
    if (all_.empty()) throw DataError(fmt::format("{}: its axis of time is empty", place()));
    series_.calendar = timed_file_->calendar;
    const std::vector<std::vector<double>> parts = parts_chosen();
    if (has_dates) series_.gaps = describe_gaps(parts, series_.calendar);
    if (options_.gaps == OnGaps::fail && !series_.gaps.empty()) {
      throw DataError(fmt::format("{}: {}", place(), series_.gaps));
    }
    all_.clear();
    for (const std::vector<double>& times : parts) {
      for (std::size_t t = 0; t < times.size();
           t += static_cast<std::size_t>(options_.time_stride)) {
        all_.push_back(times[t]);
        series_.times.push_back(has_dates ? times[t] : kUnknown);
      }
    }
  }

  // The times in each range asked for, in the order of time.
  std::vector<std::vector<double>> parts_chosen() const {
    if (options_.times.empty()) return {all_};
    std::vector<TimeRange> ranges;
    for (const std::string& text : options_.times) {
      ranges.push_back(parse_time_range(text, series_.calendar));
    }
    std::ranges::sort(ranges, {}, &TimeRange::first);
    std::vector<std::vector<double>> parts;
    for (std::size_t r = 0; r < ranges.size(); ++r) {
      if (r > 0 && ranges[r].first <= ranges[r - 1].last) {
        throw ConfigError(
            fmt::format("times: two of the ranges {} overlap", fmt::join(options_.times, ", ")));
      }
      std::vector<double> part;
      std::ranges::copy_if(all_, std::back_inserter(part),
                           [&](double time) { return ranges[r].contains(time); });
      if (part.empty()) {
        throw DataError(fmt::format("{}: no time in {}; there are {} from {} to {}", place(),
                                    range_text(ranges[r]), all_.size(), describe_key(all_.front()),
                                    describe_key(all_.back())));
      }
      parts.push_back(std::move(part));
    }
    return parts;
  }

  std::string range_text(const TimeRange& range) const {
    return fmt::format("{}..{}", std::isfinite(range.first) ? describe_key(range.first) : "",
                       std::isfinite(range.last) ? describe_key(std::floor(range.last)) : "");
  }

  // What orders the images: the date, or the position in a climatology.
  static double key(const GridHeader& file, std::size_t t) {
    return file.time_kind == TimeKind::calendar ? file.times[t] : static_cast<double>(t);
  }
  std::string describe_key(double key) const {
    return timed_file_->time_kind == TimeKind::calendar
               ? format_time(key, timed_file_->calendar)
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
        if (constant && (file.is_static || file.times.empty())) {
          throw DataError(fmt::format("{} and {} both hold {} and no time to tell them apart",
                                      files()[*constant].path, file.path, name));
        }
        if (!constant) constant = f;
        continue;
      }
      for (std::size_t t = 0; t < file.times.size(); ++t) {
        const TimeSlot slot{static_cast<std::int32_t>(f), static_cast<std::int32_t>(t)};
        const auto [entry, is_new] = by_time.try_emplace(key(file, t), slot);
        if (is_new || options_.duplicates == OnDuplicates::first) continue;
        throw DataError(fmt::format(
            "overlap: {} at {} is both in {} and in {}; with duplicates: first that of the first "
            "file is taken",
            name, describe_key(key(file, t)),
            files()[static_cast<std::size_t>(entry->second.file)].path, file.path));
      }
    }
    series_.is_static.push_back(by_time.empty() && constant && files()[*constant].is_static);
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
  const GridOptions& options_;
  const GridHeader* timed_file_ = nullptr;
  std::vector<double> all_;  // keys of the times kept
};

}  // namespace

GridSeries join_grid_files(std::vector<GridHeader> files, const GridOptions& options) {
  return Joiner(std::move(files), options).join();
}

}  // namespace trib::io
