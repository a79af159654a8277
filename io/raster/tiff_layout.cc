// TIFF 6.0 (Adobe, 1992), BigTIFF (libtiff), predictor 3 of Adobe's Photoshop TIFF technical notes.
#include "io/raster/tiff_layout.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <map>
#include <span>

#include "io/chunks/stored_file.h"

namespace trib::io {
namespace {

constexpr std::uint64_t kMaxEntries = 4096;  // of a directory
constexpr std::int64_t kMaxSide = std::int64_t{1} << 31;
constexpr std::int64_t kMaxBands = 1 << 16;
constexpr std::int64_t kMaxBlockBytes = std::int64_t{64} << 20;

enum Tag : std::uint16_t {
  kImageWidth = 256,
  kImageLength = 257,
  kBitsPerSample = 258,
  kCompression = 259,
  kPhotometric = 262,
  kFillOrder = 266,
  kStripOffsets = 273,
  kOrientation = 274,
  kSamplesPerPixel = 277,
  kRowsPerStrip = 278,
  kStripByteCounts = 279,
  kPlanarConfiguration = 284,
  kPredictor = 317,
  kTileWidth = 322,
  kTileLength = 323,
  kTileOffsets = 324,
  kTileByteCounts = 325,
  kSampleFormat = 339,
};

/// Whether an entry's array may be taken: numbers without sign.
std::size_t element_bytes(std::uint16_t type) {
  switch (type) {
    case 1:  // BYTE
      return 1;
    case 3:  // SHORT
      return 2;
    case 4:  // LONG
      return 4;
    case 16:  // LONG8
      return 8;
    default:
      return 0;
  }
}

/// The first directory of a file.
class Directory {
 public:
  explicit Directory(const StoredFile& file) : file_(file) {}

  /// False if the file is no TIFF or its directory is cut off or contradicts itself.
  bool read() {
    std::array<std::byte, 16> header{};
    if (!fetch(0, std::span(header).first(8))) return false;
    if (header[0] == std::byte{'I'} && header[1] == std::byte{'I'}) {
      big_endian_ = false;
    } else if (header[0] == std::byte{'M'} && header[1] == std::byte{'M'}) {
      big_endian_ = true;
    } else {
      return false;
    }
    const std::uint64_t version = number(&header[2], 2);
    if (version == 42) return read_entries(number(&header[4], 4));
    big_ = true;
    return version == 43 && fetch(0, header) && number(&header[4], 2) == 8 &&
           number(&header[6], 2) == 0 && read_entries(number(&header[8], 8));
  }

  bool big_endian() const { return big_endian_; }
  bool has(Tag tag) const { return entries_.contains(tag); }

  /// All elements of an entry, none if it is not there, has another type or does not lie in the
  /// file.
  std::optional<std::vector<std::uint64_t>> values(Tag tag, std::uint64_t max_count) const {
    const auto found = entries_.find(tag);
    if (found == entries_.end()) return {};
    const Entry& entry = found->second;
    const std::size_t width = element_bytes(entry.type);
    if (width == 0 || entry.count == 0 || entry.count > max_count) return {};
    const std::uint64_t bytes = entry.count * width;
    std::vector<std::byte> raw;
    const std::byte* first = entry.field.data();
    if (bytes > field_bytes()) {
      const std::uint64_t place = number(first, field_bytes());
      if (!file_.holds(place, bytes)) return {};
      raw.resize(bytes);
      if (!fetch(place, raw)) return {};
      first = raw.data();
    }
    std::vector<std::uint64_t> values(entry.count);
    for (std::uint64_t i = 0; i < entry.count; ++i) values[i] = number(first + i * width, width);
    return values;
  }

  /// The value of an entry of one element, or of several that are equal; `otherwise` if there is no
  /// such entry; none if it cannot be read.
  std::optional<std::uint64_t> value(Tag tag, std::optional<std::uint64_t> otherwise = {}) const {
    if (!has(tag)) return otherwise;
    const auto all = values(tag, kMaxBands);
    if (!all || std::any_of(all->begin(), all->end(), [&](auto v) { return v != all->front(); })) {
      return {};
    }
    return all->front();
  }

 private:
  struct Entry {
    std::uint16_t type = 0;
    std::uint64_t count = 0;
    std::array<std::byte, 8> field{};
  };

  std::size_t field_bytes() const { return big_ ? 8 : 4; }

  bool fetch(std::uint64_t place, std::span<std::byte> out) const {
    if (!file_.holds(place, out.size())) return false;
    file_.read(place, out);
    return true;
  }

  std::uint64_t number(const std::byte* bytes, std::size_t width) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      value = value << 8 | std::to_integer<std::uint64_t>(bytes[big_endian_ ? i : width - 1 - i]);
    }
    return value;
  }

  bool read_entries(std::uint64_t place) {
    const std::size_t count_bytes = big_ ? 8 : 2;
    std::array<std::byte, 8> head{};
    if (!fetch(place, std::span(head).first(count_bytes))) return false;
    const std::uint64_t count = number(head.data(), count_bytes);
    if (count == 0 || count > kMaxEntries) return false;
    const std::size_t entry_bytes = big_ ? 20 : 12;
    std::vector<std::byte> raw(count * entry_bytes);
    if (!fetch(place + count_bytes, raw)) return false;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::byte* at = raw.data() + i * entry_bytes;
      Entry entry;
      entry.type = static_cast<std::uint16_t>(number(at + 2, 2));
      entry.count = number(at + 4, field_bytes());
      std::memcpy(entry.field.data(), at + 4 + field_bytes(), field_bytes());
      // Which of two GDAL takes is its own affair.
      if (!entries_.emplace(static_cast<std::uint16_t>(number(at, 2)), entry).second) return false;
    }
    return true;
  }

  const StoredFile& file_;
  bool big_endian_ = false;
  bool big_ = false;
  std::map<std::uint16_t, Entry> entries_;
};

std::optional<DType> dtype_of(std::uint64_t format, std::uint64_t bits) {
  constexpr std::uint64_t kUnsigned = 1, kSigned = 2, kFloat = 3;
  if (format == kUnsigned) {
    if (bits == 8) return DType::u8;
    if (bits == 16) return DType::u16;
    if (bits == 32) return DType::u32;
    if (bits == 64) return DType::u64;
  }
  if (format == kSigned) {
    if (bits == 8) return DType::i8;
    if (bits == 16) return DType::i16;
    if (bits == 32) return DType::i32;
    if (bits == 64) return DType::i64;
  }
  if (format == kFloat) {
    if (bits == 32) return DType::f32;
    if (bits == 64) return DType::f64;
  }
  return {};
}

std::optional<TiffLayout::Compression> compression_of(std::uint64_t code) {
  switch (code) {
    case 1:
      return TiffLayout::Compression::none;
    case 5:
      return TiffLayout::Compression::lzw;
    case 8:
    case 32946:
      return TiffLayout::Compression::deflate;
    case 50000:
      return TiffLayout::Compression::zstd;
    default:
      return {};
  }
}

bool is_within(std::int64_t value, std::int64_t max) {
  return value > 0 && value <= max;
}

/// Samples: their type, number, order and coding.
bool read_samples(const Directory& directory, TiffLayout& layout) {
  const auto photometric = directory.value(kPhotometric);
  constexpr std::uint64_t kPalette = 3;  // and below: white or black is zero, RGB
  if (!photometric || *photometric > kPalette) return false;
  if (directory.value(kFillOrder, 1) != 1u || directory.value(kOrientation, 1) != 1u) return false;

  const auto bands = directory.value(kSamplesPerPixel, 1);
  const auto bits = directory.value(kBitsPerSample, 1);
  const auto format = directory.value(kSampleFormat, 1);
  const auto planar = directory.value(kPlanarConfiguration, 1);
  const auto compression = directory.value(kCompression, 1);
  const auto predictor = directory.value(kPredictor, 1);
  if (!bands || !bits || !format || !planar || !compression || !predictor) return false;
  if (*bands == 0 || *bands > kMaxBands || *planar < 1 || *planar > 2) return false;
  layout.bands = static_cast<std::int64_t>(*bands);
  layout.planar = *planar == 2 && layout.bands > 1;
  layout.big_endian = directory.big_endian();

  const auto dtype = dtype_of(*format, *bits);
  const auto coding = compression_of(*compression);
  if (!dtype || !coding || *predictor < 1 || *predictor > 3) return false;
  layout.dtype = *dtype;
  layout.compression = *coding;
  // Samples that are not compressed are not predicted either, whatever the file says.
  if (layout.compression == TiffLayout::Compression::none) return true;
  layout.predictor = static_cast<TiffLayout::Predictor>(*predictor - 1);
  return layout.predictor != TiffLayout::Predictor::floating_point || *format == 3;
}

/// Blocks: their size, number and places.
bool read_blocks(const Directory& directory, TiffLayout& layout) {
  const auto width = directory.value(kImageWidth);
  const auto height = directory.value(kImageLength);
  if (!width || !height || *width >= kMaxSide || *height >= kMaxSide) return false;
  layout.image = {static_cast<std::int64_t>(*height), static_cast<std::int64_t>(*width)};
  layout.tiled = directory.has(kTileWidth);
  if (layout.tiled) {
    const auto block_width = directory.value(kTileWidth);
    const auto block_height = directory.value(kTileLength);
    if (!block_width || !block_height || *block_width >= kMaxSide || *block_height >= kMaxSide) {
      return false;
    }
    layout.block = {static_cast<std::int64_t>(*block_height),
                    static_cast<std::int64_t>(*block_width)};
  } else {
    const auto rows = directory.value(kRowsPerStrip, *height);
    if (!rows) return false;
    layout.block = {static_cast<std::int64_t>(std::min(*rows, *height)), layout.image.width};
  }
  if (!is_within(layout.image.height, kMaxSide) || !is_within(layout.image.width, kMaxSide) ||
      !is_within(layout.block.height, kMaxSide) || !is_within(layout.block.width, kMaxSide)) {
    return false;
  }
  // Below 2^31 * 2^16 * 2^3, and a block of rows like that only if they are few.
  if (layout.row_bytes() > kMaxBlockBytes / layout.block.height &&
      layout.compression != TiffLayout::Compression::none) {
    return false;
  }
  if (layout.row_bytes() > kMaxBlockBytes) return false;
  const std::int64_t per_band = layout.blocks_down() * layout.blocks_across();  // below 2^62
  constexpr std::int64_t kMaxBlocks = std::int64_t{1} << 40;                    // of a sane header
  if (per_band > kMaxBlocks) return false;
  const auto count = static_cast<std::uint64_t>(per_band * (layout.planar ? layout.bands : 1));
  auto offsets = directory.values(layout.tiled ? kTileOffsets : kStripOffsets, count);
  auto sizes = directory.values(layout.tiled ? kTileByteCounts : kStripByteCounts, count);
  if (!offsets || !sizes || offsets->size() != count || sizes->size() != count) return false;
  layout.offsets = std::move(*offsets);
  layout.sizes = std::move(*sizes);
  return true;
}

}  // namespace

std::int64_t TiffLayout::rows_of(std::int64_t block_row) const {
  return tiled ? block.height : std::min(block.height, image.height - block_row * block.height);
}

std::optional<TiffLayout> read_tiff_layout(const StoredFile& file) {
  static_assert(std::endian::native == std::endian::little);
  Directory directory(file);
  TiffLayout layout;
  if (!directory.read() || !read_samples(directory, layout) || !read_blocks(directory, layout)) {
    return {};
  }
  return layout;
}

}  // namespace trib::io
