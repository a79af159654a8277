#include "io/grid/grid_slab.h"

#include <algorithm>
#include <cmath>

#include "io/unpack.h"

namespace trib::io {

std::vector<ColumnRun> column_runs(std::int64_t x, std::int64_t width, std::int64_t shift,
                                   std::int64_t num_columns) {
  const std::int64_t first = (x + shift) % num_columns;
  const std::int64_t before_edge = std::min(width, num_columns - first);
  std::vector<ColumnRun> runs{{first, before_edge, 0}};
  if (before_edge < width) runs.push_back({0, width - before_edge, before_edge});
  return runs;
}

GridSlab::GridSlab(const NetcdfFile& file, const GridHeader& header, const GridVariable& variable,
                   const SlabRequest& request)
    : variable_(variable), height_(request.window.height), width_(request.window.width) {
  const Window& w = request.window;
  const auto num_rows = static_cast<std::int64_t>(header.grid.latitudes.size());
  const auto num_columns = static_cast<std::int64_t>(header.grid.longitudes.size());
  const std::int64_t y = header.reversed_latitude ? num_rows - w.y - w.height : w.y;
  const std::int64_t x = header.reversed_longitude ? num_columns - w.x - w.width : w.x;

  const std::size_t rank = variable.roles.size();
  std::vector<std::size_t> start(rank, 0), count(rank, 1);
  const auto select = [&](std::size_t axis, std::int64_t begin, std::int64_t length) {
    start[axis] = static_cast<std::size_t>(begin);
    count[axis] = static_cast<std::size_t>(length);
  };
  std::int64_t elements = 1;
  for (std::size_t axis = rank; axis-- > 0;) {
    switch (variable.roles[axis]) {
      case AxisRole::time:
        select(axis, request.time, 1);
        break;
      case AxisRole::member:
        select(axis, request.member, 1);
        break;
      case AxisRole::version:
        num_versions_ = header.num_versions;
        stride_version_ = elements;
        select(axis, 0, num_versions_);
        break;
      case AxisRole::level:
        stride_level_ = elements;
        select(axis, request.first_level, request.num_levels);
        break;
      case AxisRole::latitude:
        stride_y_ = elements;
        select(axis, y, w.height);
        break;
      case AxisRole::longitude:
        stride_x_ = elements;
        select(axis, x, w.width);
        break;
      case AxisRole::single:
        break;
    }
    elements *= static_cast<std::int64_t>(count[axis]);
  }
  if (header.reversed_latitude) {
    first_ += (w.height - 1) * stride_y_;
    stride_y_ = -stride_y_;
  }
  if (header.reversed_longitude) {
    first_ += (w.width - 1) * stride_x_;
    stride_x_ = -stride_x_;
  }
  raw_ = std::make_unique<Buffer>(
      static_cast<std::size_t>(elements) * size_of(*variable.variable.dtype), MemoryKind::ingest);
  file.read(variable.variable, start, count, raw_->data());
}

void GridSlab::unpack_level(std::int64_t n, const Affine& affine, float* out_yx) const {
  const Packing packing = variable_.packing.then(affine);
  const DType dtype = *variable_.variable.dtype;
  const auto block = [&](std::int64_t version) {
    const std::int64_t element = first_ + n * stride_level_ + version * stride_version_;
    return RawBlock{raw_->data() + element * static_cast<std::int64_t>(size_of(dtype)),
                    dtype,
                    {1, height_, width_},
                    {0, stride_y_, stride_x_}};
  };
  unpack(block(0), packing, out_yx);
  std::vector<float> other;
  for (std::int64_t version = 1; version < num_versions_; ++version) {
    other.resize(static_cast<std::size_t>(height_ * width_));
    unpack(block(version), packing, other.data());
    for (std::size_t i = 0; i < other.size(); ++i) {
      if (std::isnan(out_yx[i])) out_yx[i] = other[i];
    }
  }
}

}  // namespace trib::io
