#include "io/grid/grid_source.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "io/file_kind.h"
#include "io/file_pool.h"
#include "io/grid/grib_file.h"
#include "io/grid/grid_arrays.h"
#include "io/grid/grid_series.h"
#include "io/grid/grid_slab.h"
#include "io/kept_channels.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Caches of the variables of an open file that only libnetcdf can read: each holds the chunks that
// one image touches, as long as there is room.
std::vector<std::size_t> chunk_caches(const std::vector<const GridVariable*>& used) {
  std::size_t most_bytes = std::size_t{16} << 20;
  std::vector<std::size_t> caches;
  for (const GridVariable* v : used) {
    const auto wanted = static_cast<std::size_t>(v->chunk_bytes);
    caches.push_back(wanted <= most_bytes ? wanted : 0);
    most_bytes -= caches.back();
  }
  return caches;
}

// A file of the pool with its chunk caches, which are charged to the ledger.
class OpenGridFile {
 public:
  OpenGridFile(const std::string& path, const std::vector<const GridVariable*>& used)
      : file_(path) {
    const std::vector<std::size_t> caches = chunk_caches(used);
    for (std::size_t v = 0; v < used.size(); ++v) {
      file_.set_chunk_cache(used[v]->variable, caches[v]);
      charged_ += static_cast<std::int64_t>(caches[v]);
    }
    memory_ledger::charge(MemoryKind::ingest, charged_);
  }
  ~OpenGridFile() { memory_ledger::release(MemoryKind::ingest, charged_); }
  OpenGridFile(const OpenGridFile&) = delete;
  OpenGridFile& operator=(const OpenGridFile&) = delete;

  const NetcdfFile& file() const { return file_; }

 private:
  NetcdfFile file_;
  std::int64_t charged_ = 0;
};

class GridFiles final : public GridSource {
 public:
  GridFiles(GridSeries series, const GridOptions& options)
      : series_(std::move(series)),
        grid_(std::make_shared<const LatLonGrid>(series_.grid)),
        first_timeline_(series_.timeline_of_channel[0]),
        allow_empty_fields_(options.allow_empty_fields),
        max_open_files_(std::max<std::size_t>(1, options.max_open_files)),
        arrays_(series_.files, max_open_files_, options.cache_bytes),
        used_(variables_used()),
        pool_(max_open_files_,
              [this](const std::string& path) {
                return std::make_unique<OpenGridFile>(path, used_.at(path));
              }),
        gribs_(max_open_files_) {
    for (std::int64_t m = 0; m < series_.num_members; ++m) {
      times_.insert(times_.end(), series_.times.begin(), series_.times.end());
    }
    groups_ = groups();
  }

  const std::vector<Channel>& channels() const override { return series_.channels; }
  void keep_channels(std::span<const std::int64_t> channels) override {
    check_kept_channels(channels, series_.channels.size());
    series_.channels = elements_at(channels, series_.channels);
    series_.timeline_of_channel = elements_at(channels, series_.timeline_of_channel);
    series_.is_static = elements_at(channels, series_.is_static);
    for (std::vector<ChannelPlace>& of_file : series_.places) {
      of_file = elements_at(channels, of_file);
    }
    used_ = variables_used();
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(times_.size()); }
  Extent extent(std::int64_t) const override {
    return {static_cast<std::int64_t>(grid_->latitudes.size()),
            static_cast<std::int64_t>(grid_->longitudes.size())};
  }
  std::shared_ptr<const LatLonGrid> grid() const override { return grid_; }
  const std::vector<double>& times() const override { return times_; }
  Calendar calendar() const override { return series_.calendar; }
  const std::string& gaps() const override { return series_.gaps; }
  bool is_static(std::size_t channel) const override { return series_.is_static[channel]; }
  std::int64_t num_members() const override { return series_.num_members; }
  std::int64_t bytes_decoded() const override { return bytes_decoded_; }
  std::int64_t cache_bytes() const override {
    std::vector<std::size_t> of_files;
    for (const auto& [path, variables] : used_) {
      const std::vector<std::size_t> caches = chunk_caches(variables);
      of_files.push_back(std::accumulate(caches.begin(), caches.end(), std::size_t{0}));
    }
    return arrays_.cache_bytes(read_as_arrays()) +
           largest_open(std::move(of_files), max_open_files_);
  }
  std::int64_t group(std::int64_t index) const override {
    check_index(index);
    const bool are_kept = !groups_.empty() && image_chunk_bytes() <= arrays_.capacity();
    return are_kept ? groups_[static_cast<std::size_t>(index)] : index;
  }
  void limit_cache(std::int64_t bytes) override {
    const std::int64_t others = cache_bytes() - arrays_.cache_bytes(read_as_arrays());
    arrays_.limit_cache(bytes - others);
  }

  Provenance provenance(std::int64_t index) const override {
    check_index(index);
    const auto time = static_cast<std::size_t>(index % num_times());
    const Extent e = extent(index);
    Provenance p;
    const TimeSlot& slot = series_.timelines[first_timeline_][time];
    p.file = series_.files[static_cast<std::size_t>(slot.file)].path;
    p.window = {0, 0, e.height, e.width};
    p.time = gregorian_time(series_.calendar, times_[static_cast<std::size_t>(index)]);
    return p;
  }

  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override;

 private:
  // Where one channel of an image is.
  struct Piece {
    std::size_t channel;
    TimeSlot slot;
    ChannelPlace place;
  };

  std::int64_t num_times() const { return static_cast<std::int64_t>(series_.times.size()); }
  const TimeSlot& slot_of(std::size_t channel, std::size_t time) const {
    return series_.timelines[series_.timeline_of_channel[channel]][time];
  }

  bool is_used(std::size_t file, std::size_t variable) const {
    return std::ranges::any_of(series_.places[file], [&](const ChannelPlace& p) {
      return p.variable == static_cast<std::int32_t>(variable);
    });
  }
  std::vector<std::pair<std::size_t, std::size_t>> read_as_arrays() const {
    std::vector<std::pair<std::size_t, std::size_t>> found;
    for (std::size_t f = 0; f < series_.files.size(); ++f) {
      for (std::size_t v = 0; v < series_.files[f].variables.size(); ++v) {
        if (arrays_.holds(f, v) && is_used(f, v)) found.push_back({f, v});
      }
    }
    return found;
  }
  // Bytes of the chunks that the first image touches, of variables of which they hold more.
  std::int64_t image_chunk_bytes() const {
    std::int64_t bytes = 0;
    std::set<std::pair<std::int32_t, std::int32_t>> seen;
    for (std::size_t c = 0; c < series_.channels.size(); ++c) {
      const std::int32_t file = slot_of(c, 0).file;
      const auto f = static_cast<std::size_t>(file);
      const std::int32_t variable = series_.places[f][c].variable;
      const auto v = static_cast<std::size_t>(variable);
      if (!arrays_.holds(f, v) || !seen.insert({file, variable}).second) continue;
      bytes += series_.files[f].variables[v].chunk_bytes;
    }
    return bytes;
  }
  // What libnetcdf has to read, by path.
  std::unordered_map<std::string, std::vector<const GridVariable*>> variables_used() const {
    std::unordered_map<std::string, std::vector<const GridVariable*>> used;
    for (std::size_t f = 0; f < series_.files.size(); ++f) {
      auto& list = used[series_.files[f].path];
      for (const ChannelPlace& p : series_.places[f]) {
        if (p.variable < 0) continue;
        const auto index = static_cast<std::size_t>(p.variable);
        if (arrays_.holds(f, index)) continue;
        const GridVariable* v = &series_.files[f].variables[index];
        if (std::ranges::find(list, v) == list.end()) list.push_back(v);
      }
    }
    return used;
  }

  void check_index(std::int64_t index) const {
    if (index < 0 || index >= size()) {
      throw RuntimeError(fmt::format("grid image {} of {}", index, size()));
    }
  }
  // Pieces of an image in the order of files, variables and levels.
  std::vector<Piece> pieces_of(std::size_t time) const;
  std::vector<std::int64_t> groups() const;
  void read_arrays(std::span<const Piece> pieces, std::int64_t member, const Window& window,
                   const PixelTarget& target) const;
  void read_run(std::span<const Piece> run, std::int64_t member, const Window& window,
                const PixelTarget& target) const;
  void check_not_empty(const Piece& piece, std::int64_t index, std::span<const float> field) const;

  GridSeries series_;
  std::shared_ptr<const LatLonGrid> grid_;
  std::size_t first_timeline_;  // of the first channel before some were kept: it names the images
  bool allow_empty_fields_;
  std::vector<double> times_;  // of images
  std::size_t max_open_files_;
  GridArrays arrays_;
  std::vector<std::int64_t> groups_;  // of images, empty if each is its own
  std::unordered_map<std::string, std::vector<const GridVariable*>> used_;  // by path
  mutable FilePool<OpenGridFile> pool_;
  mutable GdalPool gribs_;
  mutable std::atomic<std::int64_t> bytes_decoded_{0};
};

std::vector<GridFiles::Piece> GridFiles::pieces_of(std::size_t time) const {
  std::vector<Piece> pieces;
  for (std::size_t c = 0; c < series_.channels.size(); ++c) {
    const TimeSlot& slot = slot_of(c, time);
    pieces.push_back({c, slot, series_.places[static_cast<std::size_t>(slot.file)][c]});
  }
  std::ranges::sort(pieces, [](const Piece& a, const Piece& b) {
    return std::tie(a.slot.file, a.place.variable, a.place.level) <
           std::tie(b.slot.file, b.place.variable, b.place.level);
  });
  return pieces;
}

Provenance GridFiles::read_into(std::int64_t index, const std::optional<Window>& window,
                                const PixelTarget& target) const {
  Provenance from = provenance(index);
  const Window whole = from.window;
  const Window w = checked_window(index, window);
  from.window = w;

  const std::vector<Piece> pieces = pieces_of(static_cast<std::size_t>(index % num_times()));
  const std::int64_t member = index / num_times();
  for (std::size_t begin = 0, end; begin < pieces.size(); begin = end) {
    const Piece& first = pieces[begin];
    const bool as_array = arrays_.holds(static_cast<std::size_t>(first.slot.file),
                                        static_cast<std::size_t>(first.place.variable));
    end = begin + 1;
    while (end < pieces.size() && pieces[end].slot.file == first.slot.file &&
           pieces[end].place.variable == first.place.variable &&
           (as_array || pieces[end].place.level == pieces[end - 1].place.level + 1)) {
      ++end;
    }
    const std::span<const Piece> run{pieces.data() + begin, end - begin};
    if (as_array) {
      read_arrays(run, member, w, target);
    } else {
      read_run(run, member, w, target);
    }
  }
  if (!allow_empty_fields_ && w == whole) {
    const auto plane = static_cast<std::size_t>(w.height * w.width);
    for (const Piece& p : pieces) {
      check_not_empty(p, index, {target.data_cyx + p.channel * plane, plane});
    }
  }
  return from;
}

// Images whose fields of the channel with most times a chunk lie in the same chunks.
std::vector<std::int64_t> GridFiles::groups() const {
  const auto together = [&](std::size_t channel, std::size_t time) {
    const TimeSlot& slot = slot_of(channel, time);
    const auto file = static_cast<std::size_t>(slot.file);
    const ChannelPlace& place = series_.places[file][channel];
    return arrays_.together(file, static_cast<std::size_t>(place.variable));
  };
  std::size_t leading = 0;
  for (std::size_t c = 1; c < series_.channels.size(); ++c) {
    if (together(c, 0).times > together(leading, 0).times) leading = c;
  }
  std::vector<std::int64_t> groups;
  std::map<std::array<std::int64_t, 3>, std::int64_t> known;
  bool any = false;
  for (std::int64_t member = 0; member < series_.num_members; ++member) {
    for (std::size_t t = 0; t < series_.times.size(); ++t) {
      const TimeSlot& slot = slot_of(leading, t);
      const auto [times, members] = together(leading, t);
      const auto next = static_cast<std::int64_t>(known.size());
      const auto [group, is_new] =
          known.try_emplace({slot.file, slot.time / times, member / members}, next);
      any = any || !is_new;
      groups.push_back(group->second);
    }
  }
  return any ? groups : std::vector<std::int64_t>{};
}

void GridFiles::read_arrays(std::span<const Piece> pieces, std::int64_t member,
                            const Window& window, const PixelTarget& target) const {
  const Piece& first = pieces.front();
  FieldRequest request;
  request.file = static_cast<std::size_t>(first.slot.file);
  request.variable = static_cast<std::size_t>(first.place.variable);
  request.time = first.slot.time;
  request.member = member;
  for (const Piece& p : pieces) {
    request.levels.push_back({p.place.level, static_cast<std::int64_t>(p.channel)});
  }
  const std::int64_t plane = window.height * window.width;
  const std::int64_t shift = series_.column_shifts[request.file];
  const auto num_columns = static_cast<std::int64_t>(grid_->longitudes.size());
  for (const ColumnRun& columns : column_runs(window.x, window.width, shift, num_columns)) {
    request.window = {window.y, columns.x, window.height, columns.width};
    arrays_.read(request, target.affine, {target.data_cyx + columns.to, plane, window.width});
  }
  const GridHeader& header = series_.files[request.file];
  const GridVariable& variable = header.variables[request.variable];
  const std::int64_t versions = variable.has(AxisRole::version) ? header.num_versions : 1;
  bytes_decoded_ += std::ssize(pieces) * plane * versions *
                    static_cast<std::int64_t>(size_of(*variable.variable.dtype));
}

void GridFiles::read_run(std::span<const Piece> run, std::int64_t member, const Window& window,
                         const PixelTarget& target) const {
  const Piece& first = run.front();
  const GridHeader& header = series_.files[static_cast<std::size_t>(first.slot.file)];
  const GridVariable& variable = header.variables[static_cast<std::size_t>(first.place.variable)];
  const std::int64_t shift = series_.column_shifts[static_cast<std::size_t>(first.slot.file)];
  const auto num_columns = static_cast<std::int64_t>(grid_->longitudes.size());
  std::vector<float> part;
  for (const ColumnRun& columns : column_runs(window.x, window.width, shift, num_columns)) {
    const Window from{window.y, columns.x, window.height, columns.width};
    std::optional<GridSlab> slab;
    if (header.gdal_path.empty()) {
      pool_.with(header.path, [&](const OpenGridFile& open) {
        slab.emplace(open.file(), header, variable,
                     SlabRequest{first.slot.time, member, first.place.level,
                                 static_cast<std::int64_t>(run.size()), from});
      });
      bytes_decoded_ += slab->num_bytes();
    }
    for (std::size_t i = 0; i < run.size(); ++i) {
      const std::size_t channel = run[i].channel;
      const Affine affine = target.affine.empty() ? Affine{} : target.affine[channel];
      float* const plane =
          target.data_cyx + static_cast<std::int64_t>(channel) * window.height * window.width;
      // Runs that go around the edge of the file are put together from their parts.
      const bool is_part = columns.width < window.width;
      if (is_part) part.resize(static_cast<std::size_t>(from.height * from.width));
      float* const out = is_part ? part.data() : plane;
      if (slab) {
        slab->unpack_level(static_cast<std::int64_t>(i), affine, out);
      } else {
        read_grib_field(gribs_, header, variable,
                        {first.slot.time, member, run[i].place.level, 1, from}, affine, out);
        bytes_decoded_ += from.height * from.width * static_cast<std::int64_t>(sizeof(double));
      }
      for (std::int64_t y = 0; is_part && y < from.height; ++y) {
        std::copy_n(part.data() + y * from.width, from.width,
                    plane + y * window.width + columns.to);
      }
    }
  }
}

void GridFiles::check_not_empty(const Piece& piece, std::int64_t index,
                                std::span<const float> field) const {
  if (std::ranges::any_of(field, [](float v) { return !std::isnan(v); })) return;
  throw DataError(
      fmt::format("{}: every value of {} at {} is missing",
                  series_.files[static_cast<std::size_t>(piece.slot.file)].path,
                  series_.channels[piece.channel].name,
                  format_time(times_[static_cast<std::size_t>(index)], series_.calendar)));
}

// Files in the order of the patterns, those of one pattern by name.
std::vector<std::string> expand_in_order(const std::vector<std::string>& patterns) {
  std::vector<std::string> files;
  std::unordered_set<std::string> seen;
  for (const std::string& pattern : patterns) {
    for (const std::string& file : expand_files({pattern})) {
      if (seen.insert(file).second) files.push_back(file);
    }
  }
  return files;
}

}  // namespace

std::unique_ptr<GridSource> open_grid(const GridOptions& options) {
  std::vector<GridHeader> headers;
  const auto add = [&](const std::vector<std::string>& files, bool is_static) {
    for (const std::string& path : expand_in_order(files)) {
      std::vector<GridHeader> found;
      if (file_kind(path) == FileKind::grib) {
        found = read_grib_headers(path);
      } else {
        found.push_back(read_grid_header(NetcdfFile(path)));
      }
      for (GridHeader& header : found) {
        header.is_static = is_static;
        headers.push_back(std::move(header));
      }
    }
  };
  add(options.files, false);
  if (headers.empty()) throw ConfigError("grid: no files given");
  add(options.static_files, true);
  return std::make_unique<GridFiles>(join_grid_files(std::move(headers), options), options);
}

}  // namespace trib::io
