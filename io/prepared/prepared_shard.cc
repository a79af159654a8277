#include "io/prepared/prepared_shard.h"

#include <array>
#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include "io/prepared/half.h"
#include "io/prepared/npy.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

/// Convert `count` stored values in one pass.
void convert(const std::byte* stored, PreparedType type, std::int64_t count, const Affine& affine,
             float* out) {
  const double scale = affine.scale, offset = affine.offset;
  if (type == PreparedType::f32) {
    const auto* values = reinterpret_cast<const float*>(stored);
    if (affine == Affine{}) {
      std::memcpy(out, values, static_cast<std::size_t>(count) * sizeof *out);
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<float>(static_cast<double>(values[i]) * scale + offset);
    }
    return;
  }
  const auto* halves = reinterpret_cast<const std::uint16_t*>(stored);
  if (affine == Affine{}) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = float_of(halves[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(float_of(halves[i])) * scale + offset);
  }
}

/// Convert the window of a stored plane.
void convert_plane(const PreparedLayout& layout, const std::byte* stored, const Window& window,
                   const Affine& affine, float* out) {
  const std::int64_t width = layout.extent.width;
  if (window.width == width) {
    convert(stored + window.y * width * layout.value_bytes(), layout.type, window.height * width,
            affine, out);
    return;
  }
  for (std::int64_t y = 0; y < window.height; ++y) {
    const std::int64_t at = (window.y + y) * width + window.x;
    convert(stored + at * layout.value_bytes(), layout.type, window.width, affine,
            out + y * window.width);
  }
}

Affine affine_of(const PixelTarget& target, std::int64_t number) {
  return target.affine.empty() ? Affine{} : target.affine[static_cast<std::size_t>(number)];
}

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

PreparedShard::PreparedShard(const std::string& folder, std::int64_t shard,
                             const PreparedLayout& layout, const ShardEntry& entry)
    : folder_(folder), layout_(layout) {
  const std::string record_path = folder + "/" + shard_file_name("shard", shard, ".json");
  const std::string text = read_text_file(record_path);
  if (const std::string found = xxh3_text(text.data(), text.size()); found != entry.xxh3) {
    throw DataError(fmt::format("{}: its checksum is {}, and the index expects {}", record_path,
                                found, entry.xxh3));
  }
  record_ = ShardRecord::from_json(text, record_path, layout);
  const std::int64_t samples = std::ssize(record_.samples);
  const std::int64_t planes = layout.num_planes();

  const std::string sums = read_text_file(path(record_.sums));
  const std::array<std::int64_t, 2> shape{samples, planes};
  const std::string header = npy_header("<u8", shape);
  const std::size_t sum_bytes = static_cast<std::size_t>(samples * planes) * sizeof sums_[0];
  if (const std::string found = xxh3_text(sums.data(), sums.size());
      found != record_.sums.xxh3 || sums.size() != header.size() + sum_bytes) {
    throw DataError(fmt::format("{}: its checksum is {} over {} bytes, expected {} over {}",
                                path(record_.sums), found, sums.size(), record_.sums.xxh3,
                                header.size() + sum_bytes));
  }
  sums_.resize(static_cast<std::size_t>(samples * planes));
  if (sum_bytes > 0) std::memcpy(sums_.data(), sums.data() + header.size(), sum_bytes);

  if (layout.num_channels() > 0) open(x_, record_.x, layout.channels, 0);
  if (layout.num_targets() > 0) {
    open(target_, record_.target, layout.targets, layout.num_channels());
  }
}

void PreparedShard::open(Array& array, const ShardFile& file, const std::vector<Channel>& channels,
                         std::int64_t first_sum) {
  const std::int64_t samples = std::ssize(record_.samples);
  const std::int64_t planes = std::ssize(channels);
  array.file = &file;
  array.channels = &channels;
  array.first_sum = first_sum;
  std::int64_t expected = kNpyHeaderBytes + samples * planes * layout_.plane_bytes();
  if (layout_.is_compressed()) {
    expected = kNpyFrameBytes;
    for (const std::int64_t bytes : file.frames) {
      array.offsets.push_back(expected);
      if (bytes <= 0 || bytes > file.bytes) {
        throw DataError(
            fmt::format("{}: a frame of {} bytes in a file of {}", path(file), bytes, file.bytes));
      }
      expected += bytes;
    }
  }
  if (file.bytes != expected) {
    throw DataError(fmt::format("{}: {} samples of {} planes take {} bytes, and its record says {}",
                                path(file), samples, planes, expected, file.bytes));
  }
  array.mapped = std::make_unique<MappedFile>(path(file), expected);
  const std::array<std::int64_t, 4> shape{samples, planes, layout_.extent.height,
                                          layout_.extent.width};
  const std::string header = npy_header(layout_.type == PreparedType::f32 ? "<f4" : "<f2", shape);
  const std::byte* found =
      array.mapped->data() + (layout_.is_compressed() ? kNpyFrameBytes - kNpyHeaderBytes : 0);
  if (std::memcmp(found, header.data(), header.size()) != 0) {
    throw DataError(fmt::format("{}: its header is not that of {} samples of {} planes", path(file),
                                samples, planes));
  }
  array.checked = std::make_unique<std::atomic<std::uint8_t>[]>(static_cast<std::size_t>(samples));
}

void PreparedShard::check_plane(const Array& array, std::int64_t sample, std::int64_t plane,
                                const std::byte* stored) const {
  const std::uint64_t found = XXH3_64bits(stored, static_cast<std::size_t>(layout_.plane_bytes()));
  const std::uint64_t expected =
      sums_[static_cast<std::size_t>(sample * layout_.num_planes() + array.first_sum + plane)];
  if (found == expected) return;
  throw DataError(
      fmt::format("{}: sample {}: channel '{}' is damaged: its checksum is {:016x}, "
                  "expected {:016x}",
                  path(*array.file), sample,
                  (*array.channels)[static_cast<std::size_t>(plane)].name, found, expected));
}

void PreparedShard::read(const Array& array, const PlaneRequest& request) const {
  if (request.kept->empty()) return;
  if (layout_.is_compressed()) {
    read_compressed(array, request);
  } else {
    read_plain(array, request);
  }
}

void PreparedShard::read_plain(const Array& array, const PlaneRequest& request) const {
  const std::int64_t plane_bytes = layout_.plane_bytes();
  const std::int64_t sample_offset =
      kNpyHeaderBytes + request.sample * std::ssize(*array.channels) * plane_bytes;
  const std::byte* const planes = array.mapped->data() + sample_offset;
  std::atomic<std::uint8_t>& checked = array.checked[static_cast<std::size_t>(request.sample)];
  const bool is_new = checked.load(std::memory_order_relaxed) == 0;
  const std::int64_t pixels = request.window.height * request.window.width;
  const bool is_copied = layout_.type == PreparedType::f32 && request.target.affine.empty() &&
                         pixels == layout_.plane_values();
  std::int64_t number = 0;
  for (const Range& run : *request.kept) {
    if (is_new) {
      array.mapped->will_need(sample_offset + run.begin * plane_bytes, run.size() * plane_bytes);
    } else if (is_copied) {
      std::memcpy(request.target.data_cyx + number * pixels, planes + run.begin * plane_bytes,
                  static_cast<std::size_t>(run.size() * plane_bytes));
      number += run.size();
      continue;
    }
    for (std::int64_t plane = run.begin; plane < run.end; ++plane, ++number) {
      const std::byte* stored = planes + plane * plane_bytes;
      if (is_new) check_plane(array, request.sample, plane, stored);
      convert_plane(layout_, stored, request.window, affine_of(request.target, number),
                    request.target.data_cyx + number * pixels);
    }
  }
  if (is_new) checked.store(1, std::memory_order_relaxed);
}

void PreparedShard::decompress(const Array& array, std::int64_t sample, std::byte* out) const {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  const auto at = static_cast<std::size_t>(sample);
  const std::size_t expected =
      static_cast<std::size_t>(std::ssize(*array.channels) * layout_.plane_bytes());
  const std::size_t size =
      ZSTD_decompressDCtx(context.get(), out, expected, array.mapped->data() + array.offsets[at],
                          static_cast<std::size_t>(array.file->frames[at]));
  if (ZSTD_isError(size) != 0 || size != expected) {
    throw DataError(fmt::format("{}: sample {} is damaged: {}", path(*array.file), sample,
                                ZSTD_isError(size) != 0
                                    ? fmt::format("zstd: {}", ZSTD_getErrorName(size))
                                    : fmt::format("{} bytes, expected {}", size, expected)));
  }
}

// A frame holds all planes of a sample. Where all are wanted as they are, they are decompressed to
// where they belong.
void PreparedShard::read_compressed(const Array& array, const PlaneRequest& request) const {
  const std::int64_t num_planes = std::ssize(*array.channels);
  const std::int64_t plane_bytes = layout_.plane_bytes();
  const std::int64_t pixels = request.window.height * request.window.width;
  const bool is_whole = layout_.type == PreparedType::f32 && pixels == layout_.plane_values() &&
                        *request.kept == std::vector<Range>{{0, num_planes}};
  thread_local std::vector<std::byte> scratch;
  if (!is_whole) scratch.resize(static_cast<std::size_t>(num_planes * plane_bytes));
  std::byte* const planes =
      is_whole ? reinterpret_cast<std::byte*>(request.target.data_cyx) : scratch.data();
  decompress(array, request.sample, planes);

  std::atomic<std::uint8_t>& checked = array.checked[static_cast<std::size_t>(request.sample)];
  const bool is_new = checked.load(std::memory_order_relaxed) == 0;
  std::int64_t number = 0;
  for (const Range& run : *request.kept) {
    for (std::int64_t plane = run.begin; plane < run.end; ++plane, ++number) {
      const std::byte* stored = planes + plane * plane_bytes;
      if (is_new) check_plane(array, request.sample, plane, stored);
      const Affine affine = affine_of(request.target, number);
      if (is_whole && affine == Affine{}) continue;
      convert_plane(layout_, stored, request.window, affine,
                    request.target.data_cyx + number * pixels);
    }
  }
  if (is_new) checked.store(1, std::memory_order_relaxed);
}

}  // namespace trib::io
