#include "io/grid/grid_arrays.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>
#include <hdf5.h>

#include "io/file_kind.h"
#include "io/file_pool.h"
#include "io/opening_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Name of a variable's dataset: libnetcdf gives another to one that is called like a dimension
// without being its coordinate.
std::string dataset_name(const Hdf5Handle& file, const std::string& variable) {
  const std::size_t slash = variable.rfind('/');
  std::string other = variable;
  other.insert(slash == std::string::npos ? 0 : slash + 1, "_nc4_non_coord_");
  return H5Lexists(file.id(), other.c_str(), H5P_DEFAULT) > 0 ? other : variable;
}

// A variable as an array, null if only libnetcdf can read it. To be called within an Hdf5Session.
std::unique_ptr<Hdf5Array> open_variable(const Hdf5Handle& file,
                                         const std::shared_ptr<const StoredFile>& bytes,
                                         const GridVariable& variable) {
  const std::string name = dataset_name(file, variable.variable.name);
  Hdf5Handle dataset(H5Dopen2(file.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.valid()) return nullptr;
  auto array = Hdf5Array::take(bytes, variable.variable.name, std::move(dataset));
  if (array == nullptr || array->shape().size() != variable.roles.size() ||
      !array->read_as(*variable.variable.dtype)) {
    return nullptr;
  }
  return array;
}

}  // namespace

struct GridArrays::Known {
  bool is_readable = false;
  std::vector<std::int64_t> shape, chunk_shape;
  std::int64_t chunk_bytes = 0, bytes_in_chunks = 0;
};

// The arrays of the files used last.
struct GridArrays::Open {
  using Arrays = std::vector<std::shared_ptr<const Hdf5Array>>;  // of the variables of a file
  FilePool<Arrays> pool;
};

GridArrays::GridArrays(std::span<const GridHeader> headers, std::size_t max_open_files,
                       std::int64_t cache_bytes)
    : headers_(headers), cache_(std::make_unique<ChunkCache>(cache_bytes)) {
  for (const GridHeader& header : headers) {
    std::vector<Known>& of_file = known_.emplace_back(header.variables.size());
    const OpeningFile opening(header.path);
    if (file_kind(header.path) != FileKind::hdf5) continue;
    const auto bytes = std::make_shared<const StoredFile>(header.path);
    const Hdf5Session session;
    const Hdf5Handle file = open_hdf5_file(header.path);
    if (!file.valid()) continue;
    for (std::size_t v = 0; v < of_file.size(); ++v) {
      const auto array = open_variable(file, bytes, header.variables[v]);
      if (array == nullptr) continue;
      of_file[v] = {array->shape() == header.variables[v].shape, array->shape(),
                    array->chunk_shape(), array->chunk_bytes(), array->bytes_in_chunks()};
    }
  }
  open_.reset(new Open{{max_open_files, [this](const std::string& path) {
                          const auto header = std::ranges::find(headers_, path, &GridHeader::path);
                          const auto bytes = std::make_shared<const StoredFile>(path);
                          auto arrays = std::make_unique<Open::Arrays>();
                          const Hdf5Session session;
                          const Hdf5Handle file = open_hdf5_file(path);
                          if (!file.valid()) {
                            throw DataError(fmt::format("{}: cannot open: {}", path,
                                                        Hdf5Session::error_text()));
                          }
                          for (const GridVariable& variable : header->variables) {
                            arrays->push_back(open_variable(file, bytes, variable));
                          }
                          return arrays;
                        }}});
}

GridArrays::~GridArrays() = default;

bool GridArrays::holds(std::size_t file, std::size_t variable) const {
  return known_[file][variable].is_readable;
}

std::shared_ptr<const Hdf5Array> GridArrays::array(std::size_t file, std::size_t variable) const {
  auto array = open_->pool.with(headers_[file].path,
                                [&](const Open::Arrays& arrays) { return arrays[variable]; });
  if (array == nullptr || array->shape() != known_[file][variable].shape) {
    throw DataError(fmt::format("{}: {} has changed since it was opened", headers_[file].path,
                                headers_[file].variables[variable].variable.name));
  }
  return array;
}

void GridArrays::read(const FieldRequest& request, std::span<const Affine> affine_c,
                      const ValueBlock& out) const {
  const GridHeader& header = headers_[request.file];
  const GridVariable& variable = header.variables[request.variable];
  const Window& w = request.window;
  const auto num_rows = static_cast<std::int64_t>(header.grid.latitudes.size());
  const auto num_columns = static_cast<std::int64_t>(header.grid.longitudes.size());
  ArrayBox box;
  box.index.assign(variable.roles.size(), 0);
  std::size_t version_axis = variable.roles.size();
  for (std::size_t a = 0; a < variable.roles.size(); ++a) {
    const int axis = static_cast<int>(a);
    switch (variable.roles[a]) {
      case AxisRole::time:
        box.index[a] = request.time;
        break;
      case AxisRole::member:
        box.index[a] = request.member;
        break;
      case AxisRole::version:
        version_axis = a;
        break;
      case AxisRole::level:
        box.axis_c = axis;
        break;
      case AxisRole::latitude:
        box.y = {axis, header.reversed_latitude ? num_rows - w.y - w.height : w.y, w.height,
                 header.reversed_latitude};
        break;
      case AxisRole::longitude:
        box.x = {axis, header.reversed_longitude ? num_columns - w.x - w.width : w.x, w.width,
                 header.reversed_longitude};
        break;
      case AxisRole::single:
        break;
    }
  }
  for (const auto& [level, channel] : request.levels) {
    if (!box.runs.empty()) {
      ChannelRun& last = box.runs.back();
      if (level == last.begin + last.count && channel == last.to + last.count) {
        ++last.count;
        continue;
      }
    }
    box.runs.push_back({level, 1, channel});
  }
  const std::shared_ptr<const Hdf5Array> source = array(request.file, request.variable);
  const ChunkKey key{static_cast<std::uint32_t>(request.file),
                     static_cast<std::uint32_t>(request.variable), 0};
  source->read(box, variable.packing, affine_c, *cache_, key, out);
  if (version_axis == variable.roles.size()) return;

  // Later versions stand where the ones before have nothing.
  const std::int64_t plane = w.height * w.width;
  std::vector<Affine> affine;
  for (std::size_t r = 0, to = 0; r < box.runs.size(); to += box.runs[r++].count) {
    for (std::int64_t c = 0; c < box.runs[r].count && !affine_c.empty(); ++c) {
      affine.push_back(affine_c[static_cast<std::size_t>(box.runs[r].to + c)]);
    }
    box.runs[r].to = static_cast<std::int64_t>(to);
  }
  Buffer other(request.levels.size() * static_cast<std::size_t>(plane) * sizeof(float),
               MemoryKind::ingest);
  const auto* values = reinterpret_cast<const float*>(other.data());
  for (std::int64_t version = 1; version < header.num_versions; ++version) {
    box.index[version_axis] = version;
    source->read(box, variable.packing, affine, *cache_, key,
                 {reinterpret_cast<float*>(other.data()), plane, w.width});
    for (std::size_t l = 0; l < request.levels.size(); ++l) {
      for (std::int64_t y = 0; y < w.height; ++y) {
        const float* from = values + static_cast<std::int64_t>(l) * plane + y * w.width;
        float* to = out.first + request.levels[l].channel * out.stride_c + y * out.stride_y;
        for (std::int64_t x = 0; x < w.width; ++x) {
          if (std::isnan(to[x])) to[x] = from[x];
        }
      }
    }
  }
}

std::int64_t GridArrays::cache_bytes(
    std::span<const std::pair<std::size_t, std::size_t>> used) const {
  const std::int64_t capacity = cache_->capacity();
  std::int64_t bytes = 0;
  for (const auto& [file, variable] : used) {
    const Known& known = known_[file][variable];
    if (!known.is_readable || known.chunk_bytes > capacity) continue;
    if (known.bytes_in_chunks >= capacity - bytes) return capacity;
    bytes += known.bytes_in_chunks;
  }
  return bytes;
}

void GridArrays::limit_cache(std::int64_t bytes) {
  cache_->limit(bytes);
}

GridArrays::Together GridArrays::together(std::size_t file, std::size_t variable) const {
  const Known& known = known_[file][variable];
  if (!known.is_readable || known.chunk_shape.empty()) return {};
  const std::vector<AxisRole>& roles = headers_[file].variables[variable].roles;
  Together together;
  for (std::size_t a = 0; a < roles.size(); ++a) {
    const std::int64_t chunk = std::min(known.chunk_shape[a], known.shape[a]);
    if (roles[a] == AxisRole::time) together.times = chunk;
    if (roles[a] == AxisRole::member) together.members = chunk;
  }
  return together;
}

}  // namespace trib::io
