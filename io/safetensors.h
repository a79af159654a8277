// The safetensors format: named tensors in one file, readable by every deep-learning framework.
//
// A file is the length of its header (u64, little-endian), the header (JSON: name -> dtype, shape,
// data_offsets) and the elements, without gaps.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ops/base/tensor.h"

namespace trib::io {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using SafetensorsMetadata = std::map<std::string, std::string>;

/// Write tensors under `path`. The file appears whole or not at all: it is written under another
/// name, flushed to disk and renamed. The header lists the tensors in the order given; elements of
/// wider types come first, so that all are aligned. Throws RuntimeError naming the file and the
/// system's reason, ConfigError for a name that is used twice or is "__metadata__".
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsMetadata& metadata = {});

/// An open safetensors file. Opening checks the whole header against the size of the file before
/// anything is allocated for it. All functions may be called from several threads.
class SafetensorsFile {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
    std::int64_t offset;  ///< of the first element, in bytes from the start of the file
    std::int64_t bytes;
  };

  /// Open a file and read its header. Throws DataError naming the file, the tensor and the damage.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  /// Tensors in the order of the header.
  const std::vector<Entry>& entries() const { return entries_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }
  bool contains(const std::string& name) const { return by_name_.contains(name); }
  /// Throws DataError if there is no such tensor.
  const Entry& entry(const std::string& name) const;

  /// Read one tensor. Throws DataError.
  Tensor read(const std::string& name, MemoryKind kind = MemoryKind::workspace) const;
  /// Read one tensor into a contiguous tensor of the same type and shape. Throws DataError.
  void read_into(const std::string& name, Tensor& destination) const;
  std::vector<NamedTensor> read_all(MemoryKind kind = MemoryKind::workspace) const;

 private:
  void read_header(std::int64_t file_bytes);
  void read_bytes(std::byte* destination, std::int64_t count, std::int64_t offset,
                  std::string_view what) const;

  std::string path_;
  int descriptor_ = -1;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> by_name_;
  SafetensorsMetadata metadata_;
};

}  // namespace trib::io
