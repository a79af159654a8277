#include "io/chunks/hdf5_array.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>

#include "io/chunks/thread_scratch.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Places remembered of a dataset: 3 MB of memory at most, beyond which they are looked up anew.
constexpr std::size_t kMostPlaces = std::size_t{1} << 16;
// Contiguous data is read and unpacked in parts of so many bytes, which caches of processors hold.
constexpr std::int64_t kPartBytes = std::int64_t{1} << 20;
// It is cheaper to read over a gap of so many bytes than to ask for what lies on either side.
constexpr std::int64_t kGapBytes = 4096;
constexpr std::int64_t kMostOverread = 4;  // as often as wanted

std::optional<DType> native_dtype(hid_t type) {
  const std::array<std::pair<hid_t, DType>, 10> natives{{{H5T_NATIVE_FLOAT, DType::f32},
                                                         {H5T_NATIVE_DOUBLE, DType::f64},
                                                         {H5T_NATIVE_INT8, DType::i8},
                                                         {H5T_NATIVE_INT16, DType::i16},
                                                         {H5T_NATIVE_INT32, DType::i32},
                                                         {H5T_NATIVE_INT64, DType::i64},
                                                         {H5T_NATIVE_UINT8, DType::u8},
                                                         {H5T_NATIVE_UINT16, DType::u16},
                                                         {H5T_NATIVE_UINT32, DType::u32},
                                                         {H5T_NATIVE_UINT64, DType::u64}}};
  for (const auto& [native, dtype] : natives) {
    if (H5Tequal(type, native) > 0) return dtype;
  }
  return {};
}

// Strides of a dense row-major array, in elements.
std::vector<std::int64_t> strides_of(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t a = shape.size(); a-- > 1;) strides[a - 1] = strides[a] * shape[a];
  return strides;
}

// Next of the positions [begin, end) in row-major order; false after the last.
bool advance(std::span<std::int64_t> at, std::span<const std::int64_t> begin,
             std::span<const std::int64_t> end) {
  for (std::size_t a = at.size(); a-- > 0;) {
    if (++at[a] < end[a]) return true;
    at[a] = begin[a];
  }
  return false;
}

// Range along an axis that both a part of the dataset and the wish hold, as the file counts and as
// the image does.
struct Overlap {
  std::int64_t first = 0, count = 1;  // element of the file that comes first in the image
  std::int64_t to = 0;
  std::int64_t direction = 0;
};

Overlap overlap(const AxisPart& wanted, std::int64_t begin, std::int64_t end) {
  const std::int64_t low = std::max(wanted.begin, begin);
  const std::int64_t high = std::min(wanted.begin + wanted.count, end);
  if (wanted.reversed) return {high - 1, high - low, wanted.begin + wanted.count - high, -1};
  return {low, high - low, low - wanted.begin, 1};
}

// Whether a dataset, perhaps found behind a link, lies in the file of this path.
bool lies_in(const Hdf5Handle& dataset, const std::string& path) {
  const ssize_t length = H5Fget_name(dataset.id(), nullptr, 0);
  if (length <= 0) return false;
  std::string name(static_cast<std::size_t>(length) + 1, '\0');
  H5Fget_name(dataset.id(), name.data(), name.size());
  name.pop_back();
  std::error_code failed;
  return name == path || std::filesystem::equivalent(name, path, failed);
}

}  // namespace

// Elements of a dataset in memory: a dense row-major box of it, or one element for all.
struct Hdf5Array::Part {
  const std::byte* data;
  std::span<const std::int64_t> begin;
  std::span<const std::int64_t> shape;
  bool is_fill = false;
};

// A wish, and where its values go.
struct Hdf5Array::Reading {
  const ArrayBox& box;
  const Packing& packing;
  std::span<const Affine> affine_c;
  const ValueBlock& out;
  std::vector<std::int64_t> begin, end;  // of the smallest box around it

  Reading(const ArrayBox& wanted, std::span<const ChannelRun> runs, const Packing& how,
          std::span<const Affine> affine, const ValueBlock& to)
      : box(wanted), packing(how), affine_c(affine), out(to), begin(wanted.index), end(begin) {
    for (std::int64_t& e : end) ++e;
    const auto take = [&](int axis, std::int64_t from, std::int64_t until) {
      if (axis < 0) return;
      begin[static_cast<std::size_t>(axis)] = from;
      end[static_cast<std::size_t>(axis)] = until;
    };
    take(box.y.axis, box.y.begin, box.y.begin + box.y.count);
    take(box.x.axis, box.x.begin, box.x.begin + box.x.count);
    take(box.axis_c, runs.front().begin, runs.back().begin + runs.back().count);
  }

  // Unpack what lies in the part.
  void unpack_part(const Part& part, DType dtype, std::span<const ChannelRun> runs) const {
    const std::vector<std::int64_t> strides = strides_of(part.shape);
    const auto range = [&](const AxisPart& wanted) {
      if (wanted.axis < 0) return Overlap{};
      const auto a = static_cast<std::size_t>(wanted.axis);
      return overlap(wanted, part.begin[a], part.begin[a] + part.shape[a]);
    };
    const Overlap y = range(box.y), x = range(box.x);
    std::int64_t element = 0;
    for (std::size_t a = 0; a < strides.size(); ++a) {
      const auto axis = static_cast<int>(a);
      const std::int64_t index = axis == box.y.axis   ? y.first
                                 : axis == box.x.axis ? x.first
                                 : axis == box.axis_c ? part.begin[a]
                                                      : box.index[a];
      element += (index - part.begin[a]) * strides[a];
    }
    const auto stride = [&](int axis, std::int64_t direction) {
      return axis < 0 || part.is_fill ? 0 : direction * strides[static_cast<std::size_t>(axis)];
    };
    for (const ChannelRun& run : runs) {
      Overlap c{0, run.count, 0, 1};
      std::int64_t first = element;
      if (box.axis_c >= 0) {
        const auto a = static_cast<std::size_t>(box.axis_c);
        c = overlap({box.axis_c, run.begin, run.count}, part.begin[a],
                    part.begin[a] + part.shape[a]);
        if (c.count <= 0) continue;
        first += (c.first - part.begin[a]) * strides[a];
      }
      const std::int64_t to_c = run.to + c.to;
      if (part.is_fill) first = 0;
      const RawBlock raw{part.data + first * static_cast<std::int64_t>(size_of(dtype)),
                         dtype,
                         {c.count, y.count, x.count},
                         {stride(box.axis_c, 1), stride(box.y.axis, y.direction),
                          stride(box.x.axis, x.direction)}};
      unpack(raw, packing,
             affine_c.empty() ? affine_c
                              : affine_c.subspan(static_cast<std::size_t>(to_c),
                                                 static_cast<std::size_t>(c.count)),
             {out.first + to_c * out.stride_c + y.to * out.stride_y + x.to, out.stride_c,
              out.stride_y});
    }
  }
};

std::unique_ptr<Hdf5Array> Hdf5Array::take(std::shared_ptr<const StoredFile> file,
                                           const std::string& name, Hdf5Handle dataset) {
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
  if (!type.valid() || !space.valid() || !properties.valid()) return nullptr;
  const std::optional<DType> dtype = native_dtype(type.id());
  const int rank = H5Sget_simple_extent_ndims(space.id());
  if (!dtype || rank < 1 || !lies_in(dataset, file->path())) return nullptr;

  std::unique_ptr<Hdf5Array> array(new Hdf5Array);
  array->file_ = std::move(file);
  array->name_ = name;
  array->dtype_ = *dtype;
  std::vector<hsize_t> shape(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space.id(), shape.data(), nullptr);
  array->shape_.assign(shape.begin(), shape.end());
  array->dataset_ = std::move(dataset);
  if (!array->find_layout(properties.id()) || !array->find_filters(properties.id())) return nullptr;
  array->fill_.resize(size_of(*dtype));
  H5D_fill_value_t fill = H5D_FILL_VALUE_UNDEFINED;
  H5Pfill_value_defined(properties.id(), &fill);
  if (fill != H5D_FILL_VALUE_UNDEFINED &&
      H5Pget_fill_value(properties.id(), type.id(), array->fill_.data()) < 0) {
    return nullptr;
  }
  return array;
}

bool Hdf5Array::find_layout(std::int64_t properties) {
  // Sizes of damaged headers may lie beyond what can be counted.
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape_) {
    if (extent < 1 || __builtin_mul_overflow(elements, extent, &elements)) return false;
  }
  const auto element = static_cast<std::int64_t>(size_of(dtype_));
  if (elements > std::numeric_limits<std::int64_t>::max() / element) return false;
  switch (H5Pget_layout(properties)) {
    case H5D_CONTIGUOUS: {
      const haddr_t offset = H5Dget_offset(dataset_.id());
      if (offset == HADDR_UNDEF || H5Pget_external_count(properties) != 0) return false;
      if (!file_->holds(offset, static_cast<std::uint64_t>(elements * element))) return false;
      offset_ = offset;
      return true;
    }
    case H5D_CHUNKED: {
      unsigned options = 0;
      // Chunks that reach beyond the dataset may have been left as they are.
      if (H5Pget_chunk_opts(properties, &options) < 0 || options != 0) return false;
      std::vector<hsize_t> chunk(shape_.size());
      const int rank = static_cast<int>(chunk.size());
      if (H5Pget_chunk(properties, rank, chunk.data()) != rank) return false;
      chunk_shape_.assign(chunk.begin(), chunk.end());
      chunk_bytes_ = element;
      for (std::size_t a = 0; a < shape_.size(); ++a) {
        if (chunk_shape_[a] < 1 ||
            __builtin_mul_overflow(chunk_bytes_, chunk_shape_[a], &chunk_bytes_)) {
          return false;
        }
        chunk_counts_.push_back((shape_[a] - 1) / chunk_shape_[a] + 1);
      }
      return true;
    }
    default:
      return false;
  }
}

bool Hdf5Array::find_filters(std::int64_t properties) {
  const int count = H5Pget_nfilters(properties);
  std::vector<ChunkFilter> filters;
  for (int i = 0; i < count; ++i) {
    std::array<unsigned, 8> values{};
    std::size_t num_values = values.size();
    unsigned flags = 0, config = 0;
    const H5Z_filter_t id = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags,
                                           &num_values, values.data(), 0, nullptr, &config);
    const std::optional<ChunkFilter> filter =
        hdf5_filter(id, {values.data(), std::min(num_values, values.size())});
    if (!filter) return false;
    filters.push_back(*filter);
  }
  if (!ChunkCodec::supports(filters)) return false;
  codec_ = ChunkCodec(std::move(filters));
  return true;
}

bool Hdf5Array::read_as(DType dtype) {
  const auto is_float = [](DType d) { return d == DType::f32 || d == DType::f64; };
  if (dtype == dtype_) return true;
  if (size_of(dtype) != size_of(dtype_) || is_float(dtype) || is_float(dtype_)) return false;
  dtype_ = dtype;
  return true;
}

std::int64_t Hdf5Array::bytes_in_chunks() const {
  if (!is_chunked()) return 0;
  std::int64_t bytes = chunk_bytes_;
  for (const std::int64_t count : chunk_counts_) {
    if (__builtin_mul_overflow(bytes, count, &bytes)) {
      return std::numeric_limits<std::int64_t>::max();
    }
  }
  return bytes;
}

void Hdf5Array::read(const ArrayBox& box, const Packing& packing, std::span<const Affine> affine_c,
                     ChunkCache& cache, ChunkKey key, const ValueBlock& out) const {
  if (box.runs.empty()) return;
  const Reading whole(box, box.runs, packing, affine_c, out);
  if (is_chunked()) return read_chunks(whole, cache, key);
  // Runs that lie close together are read as one.
  std::int64_t wanted = 0;
  for (const ChannelRun& run : box.runs) wanted += run.count;
  const std::int64_t around = box.runs.back().begin + box.runs.back().count - box.runs[0].begin;
  if (around <= kMostOverread * wanted) return read_contiguous(whole, box.runs);
  for (const ChannelRun& run : box.runs) {
    read_contiguous(Reading(box, {&run, 1}, packing, affine_c, out), {&run, 1});
  }
}

void Hdf5Array::read_chunks(const Reading& reading, ChunkCache& cache, ChunkKey key) const {
  const std::size_t rank = shape_.size();
  std::vector<std::int64_t> begin(rank), end(rank), first(rank);
  for (std::size_t a = 0; a < rank; ++a) {
    begin[a] = reading.begin[a] / chunk_shape_[a];
    end[a] = (reading.end[a] - 1) / chunk_shape_[a] + 1;
  }
  const std::vector<std::int64_t> number_strides = strides_of(chunk_counts_);
  std::vector<std::int64_t> at = begin;
  do {
    key.chunk = 0;
    for (std::size_t a = 0; a < rank; ++a) {
      first[a] = at[a] * chunk_shape_[a];
      key.chunk += static_cast<std::uint64_t>(at[a] * number_strides[a]);
    }
    std::span<const ChannelRun> runs = reading.box.runs;
    if (reading.box.axis_c >= 0) {
      const auto a = static_cast<std::size_t>(reading.box.axis_c);
      const bool wanted = std::ranges::any_of(runs, [&](const ChannelRun& run) {
        return run.begin < first[a] + chunk_shape_[a] && first[a] < run.begin + run.count;
      });
      if (!wanted) continue;
    }
    const Chunk decoded = chunk(cache, key, first);
    const bool is_fill = decoded->size() == 0;
    reading.unpack_part({is_fill ? fill_.data() : decoded->data(), first, chunk_shape_, is_fill},
                        dtype_, runs);
  } while (advance(at, begin, end));
}

Chunk Hdf5Array::chunk(ChunkCache& cache, const ChunkKey& key,
                       std::span<const std::int64_t> first) const {
  return cache.get(key, [&]() -> Chunk {
    try {
      return decode(place(key.chunk, first));
    } catch (const DataError& e) {
      throw DataError(fmt::format("{}: {}: chunk at [{}]: {}", file_->path(), name_,
                                  fmt::join(first, ", "), e.what()));
    }
  });
}

Chunk Hdf5Array::decode(const ChunkPlace& place) const {
  const auto size = static_cast<std::size_t>(chunk_bytes_);
  if (place.bytes == 0) return std::make_shared<const Buffer>(0, MemoryKind::ingest);
  if (!file_->holds(place.offset, place.bytes)) {
    throw DataError(fmt::format("{} bytes at {} lie beyond the end of the file at {}", place.bytes,
                                place.offset, file_->size()));
  }
  if (codec_.stored_plainly(place.skipped) && place.bytes == size) {
    auto plain = std::make_unique<Buffer>(size, MemoryKind::ingest);
    file_->read(place.offset, {plain->data(), size});
    return plain;
  }
  ThreadScratch stored(place.bytes);
  file_->read(place.offset, stored.bytes());
  return codec_.decode(stored.bytes(), place.skipped, size);
}

ChunkPlace Hdf5Array::place(std::uint64_t number, std::span<const std::int64_t> first) const {
  {
    const std::scoped_lock lock(places_mutex_);
    if (const auto found = places_.find(number); found != places_.end()) return found->second;
  }
  const std::vector<std::uint64_t> start(first.begin(), first.end());
  std::optional<ChunkPlace> place;
  {
    const Hdf5Session session;
    place = find_chunk(dataset_, start);
    if (!place) throw DataError("cannot be found: " + Hdf5Session::error_text());
  }
  const std::scoped_lock lock(places_mutex_);
  if (places_.size() < kMostPlaces) places_.emplace(number, *place);
  return *place;
}

void Hdf5Array::read_contiguous(const Reading& reading, std::span<const ChannelRun> runs) const {
  const std::size_t rank = shape_.size();
  const auto element = static_cast<std::int64_t>(size_of(dtype_));
  const std::vector<std::int64_t> strides = strides_of(shape_);
  std::vector<std::int64_t> begin = reading.begin, end = reading.end;
  const auto count = [&](std::size_t a) { return end[a] - begin[a]; };
  std::int64_t wanted = 1;
  for (std::size_t a = 0; a < rank; ++a) wanted *= count(a);

  const auto rows_before = [&](std::size_t axis) {
    std::int64_t rows = 1;
    for (std::size_t a = 0; a < axis; ++a) rows *= count(a);
    return rows;
  };
  // Rows are read whole where what lies between the parts wanted is short.
  std::int64_t widened = wanted;
  for (std::size_t a = rank; a-- > 1;) {
    if (count(a) == shape_[a]) continue;
    const std::int64_t gap = (shape_[a] - count(a)) * strides[a] * element;
    widened = widened / count(a) * shape_[a];
    if (rows_before(a) == 1 || gap > kGapBytes || widened > kMostOverread * wanted) break;
    begin[a] = 0;
    end[a] = shape_[a];
  }

  // Parts along the first axis of which there is more than one.
  std::size_t split = 0;
  while (split + 1 < rank && count(split) == 1) ++split;
  std::int64_t step_bytes = element;
  for (std::size_t a = split + 1; a < rank; ++a) step_bytes *= count(a);
  const std::int64_t step = std::max<std::int64_t>(1, kPartBytes / step_bytes);
  const std::int64_t last = end[split];
  ThreadScratch scratch(static_cast<std::size_t>(std::min(step, count(split)) * step_bytes));
  std::byte* const raw = scratch.bytes().data();
  for (; begin[split] < last; begin[split] = end[split]) {
    end[split] = std::min(begin[split] + step, last);
    // Elements that are neighbours in the file: of all axes behind `inner`, and those along it.
    std::size_t inner = rank - 1;
    while (inner > 0 && count(inner) == shape_[inner]) --inner;
    const std::int64_t run_bytes = count(inner) * strides[inner] * element;
    std::vector<std::int64_t> at = begin;
    std::byte* to = raw;
    do {
      std::int64_t first = 0;
      for (std::size_t a = 0; a < rank; ++a) first += at[a] * strides[a];
      file_->read(offset_ + static_cast<std::uint64_t>(first * element),
                  {to, static_cast<std::size_t>(run_bytes)});
      to += run_bytes;
    } while (advance({at.data(), inner}, {begin.data(), inner}, {end.data(), inner}));
    std::vector<std::int64_t> shape(rank);
    for (std::size_t a = 0; a < rank; ++a) shape[a] = count(a);
    reading.unpack_part({raw, begin, shape}, dtype_, runs);
  }
}

}  // namespace trib::io
