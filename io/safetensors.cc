#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "io/pending_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr const char* kMetadata = "__metadata__";
constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
constexpr std::int64_t kMaxTransfer = std::int64_t{1} << 30;

struct DTypeName {
  DType dtype;
  std::string_view name;
};
constexpr std::array<DTypeName, 11> kDTypeNames = {{{DType::f32, "F32"},
                                                    {DType::f64, "F64"},
                                                    {DType::i8, "I8"},
                                                    {DType::i16, "I16"},
                                                    {DType::i32, "I32"},
                                                    {DType::i64, "I64"},
                                                    {DType::u8, "U8"},
                                                    {DType::u16, "U16"},
                                                    {DType::u32, "U32"},
                                                    {DType::u64, "U64"},
                                                    {DType::bf16, "BF16"}}};

std::string_view file_name_of(DType dtype) {
  return std::find_if(kDTypeNames.begin(), kDTypeNames.end(),
                      [&](const DTypeName& entry) { return entry.dtype == dtype; })
      ->name;
}

std::optional<DType> parse_dtype(std::string_view name) {
  const auto found = std::find_if(kDTypeNames.begin(), kDTypeNames.end(),
                                  [&](const DTypeName& entry) { return entry.name == name; });
  if (found == kDTypeNames.end()) return {};
  return found->dtype;
}

std::string system_reason() {
  return std::strerror(errno);
}

/// Parse JSON, refusing keys that occur twice in one object (the parser would drop one).
Json parse_header(const std::string& text, const std::string& path) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw DataError(fmt::format("{}: the header names '{}' twice", path, key));
      }
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: the header is not JSON: {}", path, error.what()));
  }
}

/// One tensor of the header, with offsets from the start of the data. Throws a message.
SafetensorsFile::Entry parse_entry(const std::string& name, const Json& json,
                                   std::int64_t data_bytes) {
  const auto require = [&](bool condition, const std::string& message) {
    if (!condition) throw DataError(message);
  };
  require(json.is_object() && json.size() == 3 && json.contains("dtype") &&
              json.contains("shape") && json.contains("data_offsets"),
          "expected the keys dtype, shape and data_offsets");

  const Json& dtype_json = json.at("dtype");
  require(dtype_json.is_string(), "dtype is not a string");
  const auto dtype = parse_dtype(dtype_json.get_ref<const std::string&>());
  require(dtype.has_value(), fmt::format("dtype {} is not supported", dtype_json.dump()));

  const Json& extents = json.at("shape");
  require(extents.is_array() && extents.size() <= Shape::kMaxRank,
          fmt::format("shape is not a list of at most {} numbers", Shape::kMaxRank));
  Shape shape;
  auto bytes = static_cast<std::int64_t>(size_of(*dtype));
  bool overflow = false;
  for (const Json& extent : extents) {
    require(extent.is_number_unsigned() && extent.get<std::uint64_t>() <= INT64_MAX,
            "shape holds something else than lengths");
    shape.push_back(extent.get<std::int64_t>());
    overflow |= __builtin_mul_overflow(bytes, extent.get<std::int64_t>(), &bytes);
  }
  require(!overflow, "shape is larger than any file");

  const Json& offsets = json.at("data_offsets");
  require(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
              offsets[1].is_number_unsigned(),
          "data_offsets is not a pair of numbers");
  const auto begin = offsets[0].get<std::uint64_t>();
  const auto end = offsets[1].get<std::uint64_t>();
  require(begin <= end && end <= static_cast<std::uint64_t>(data_bytes),
          fmt::format("data_offsets {}..{} leave the {} bytes of data", begin, end, data_bytes));
  require(end - begin == static_cast<std::uint64_t>(bytes),
          fmt::format("data_offsets span {} bytes, but {} {} takes {}", end - begin,
                      file_name_of(*dtype), shape.to_string(), bytes));
  return {name, *dtype, shape, static_cast<std::int64_t>(begin), bytes};
}

/// Check that the tensors cover the data, each byte once.
void check_cover(const std::vector<SafetensorsFile::Entry>& entries, std::int64_t data_bytes,
                 const std::string& path) {
  std::vector<const SafetensorsFile::Entry*> by_offset;
  for (const auto& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) {
    return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
  });
  std::int64_t covered = 0;
  for (const auto* entry : by_offset) {
    if (entry->offset != covered) {
      throw DataError(fmt::format(
          "{}: tensor '{}' starts at byte {} of the data, {} ends at {}", path, entry->name,
          entry->offset,
          entry->offset < covered ? "but the one before it" : "after a gap: the one before it",
          covered));
    }
    covered += entry->bytes;
  }
  if (covered != data_bytes) {
    throw DataError(fmt::format("{}: the tensors take {} bytes of data, but the file holds {}",
                                path, covered, data_bytes));
  }
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsMetadata& metadata) {
  std::vector<std::size_t> data_order(tensors.size());
  std::iota(data_order.begin(), data_order.end(), std::size_t{0});
  std::stable_sort(data_order.begin(), data_order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(tensors[a].tensor.dtype()) > size_of(tensors[b].tensor.dtype());
  });
  std::vector<std::size_t> offsets(tensors.size());
  std::size_t offset = 0;
  for (const std::size_t i : data_order) {
    offsets[i] = offset;
    offset += tensors[i].tensor.nbytes();
  }

  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::set<std::string_view> names{kMetadata};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    if (!names.insert(name).second) {
      throw ConfigError(
          fmt::format("{}: the name '{}' cannot be given to a tensor again", path, name));
    }
    if (!tensor.defined()) {
      throw RuntimeError(fmt::format("{}: tensor '{}' is not defined", path, name));
    }
    Json entry = Json::object();
    entry["dtype"] = file_name_of(tensor.dtype());
    entry["shape"] = std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end());
    entry["data_offsets"] = {offsets[i], offsets[i] + tensor.nbytes()};
    header[name] = std::move(entry);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data starts aligned
  if (std::ssize(text) > kMaxHeaderBytes) {
    throw RuntimeError(fmt::format("{}: {} tensors need a header of {} bytes, the limit is {}",
                                   path, tensors.size(), text.size(), kMaxHeaderBytes));
  }

  PendingFile file(path);
  const auto length = static_cast<std::uint64_t>(text.size());
  file.reserve(sizeof length + text.size() + offset);
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const std::size_t i : data_order) {
    const Tensor contiguous = tensors[i].tensor.contiguous();
    file.write(contiguous.bytes(), contiguous.nbytes());
  }
  file.commit();
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const std::string reason = system_reason();
    if (descriptor_ >= 0) ::close(descriptor_);
    throw DataError(fmt::format("{}: cannot be opened: {}", path, reason));
  }
  try {
    read_header(status.st_size);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  ::close(descriptor_);
}

void SafetensorsFile::read_header(std::int64_t file_bytes) {
  if (file_bytes < kLengthBytes) {
    throw DataError(
        fmt::format("{}: {} bytes are too few for a safetensors file", path_, file_bytes));
  }
  std::uint64_t length = 0;
  read_bytes(reinterpret_cast<std::byte*>(&length), kLengthBytes, 0, "the header's length");
  if (length > static_cast<std::uint64_t>(std::min(file_bytes - kLengthBytes, kMaxHeaderBytes))) {
    throw DataError(fmt::format("{}: a header of {} bytes does not fit into a file of {}", path_,
                                length, file_bytes));
  }
  std::string text(length, '\0');
  read_bytes(reinterpret_cast<std::byte*>(text.data()), std::ssize(text), kLengthBytes,
             "the header");
  const Json header = parse_header(text, path_);
  if (!header.is_object()) throw DataError(fmt::format("{}: the header is no JSON object", path_));

  const std::int64_t data_start = kLengthBytes + std::ssize(text);
  const std::int64_t data_bytes = file_bytes - data_start;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata) {
      if (!json.is_object()) throw DataError(fmt::format("{}: {} is no object", path_, kMetadata));
      for (const auto& [key, value] : json.items()) {
        if (!value.is_string()) {
          throw DataError(fmt::format("{}: {} '{}' is no string", path_, kMetadata, key));
        }
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    try {
      entries_.push_back(parse_entry(name, json, data_bytes));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: tensor '{}': {}", path_, name, error.what()));
    }
    by_name_[name] = entries_.size() - 1;
  }
  check_cover(entries_, data_bytes, path_);
  for (Entry& entry : entries_) entry.offset += data_start;
}

void SafetensorsFile::read_bytes(std::byte* destination, std::int64_t count, std::int64_t offset,
                                 std::string_view what) const {
  while (count > 0) {
    const auto piece = static_cast<std::size_t>(std::min(count, kMaxTransfer));
    const ssize_t got = ::pread(descriptor_, destination, piece, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw DataError(fmt::format("{}: {} cannot be read: {}", path_, what,
                                  got == 0 ? "the file ends too early" : system_reason()));
    }
    destination += got;
    offset += got;
    count -= got;
  }
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    throw DataError(
        fmt::format("{}: holds no tensor '{}'; it holds {} others", path_, name, entries_.size()));
  }
  return entries_[found->second];
}

Tensor SafetensorsFile::read(const std::string& name, MemoryKind kind) const {
  const Entry& wanted = entry(name);
  Tensor tensor = Tensor::empty(wanted.shape, wanted.dtype, kind);
  read_bytes(tensor.bytes(), wanted.bytes, wanted.offset, fmt::format("tensor '{}'", name));
  return tensor;
}

void SafetensorsFile::read_into(const std::string& name, Tensor& destination) const {
  const Entry& wanted = entry(name);
  if (wanted.dtype != destination.dtype() || wanted.shape != destination.shape()) {
    throw DataError(fmt::format("{}: tensor '{}' is {} {}, expected {} {}", path_, name,
                                name_of(wanted.dtype), wanted.shape.to_string(),
                                name_of(destination.dtype()), destination.shape().to_string()));
  }
  if (!destination.is_contiguous()) {
    throw ShapeError(fmt::format("tensor '{}' can only be read into contiguous memory", name));
  }
  read_bytes(destination.bytes(), wanted.bytes, wanted.offset, fmt::format("tensor '{}'", name));
}

std::vector<NamedTensor> SafetensorsFile::read_all(MemoryKind kind) const {
  std::vector<NamedTensor> tensors;
  tensors.reserve(entries_.size());
  for (const Entry& wanted : entries_) tensors.push_back({wanted.name, read(wanted.name, kind)});
  return tensors;
}

}  // namespace trib::io
