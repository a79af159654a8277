#include "io/grid/regrid_weights_file.h"

#include <cstring>
#include <filesystem>
#include <mutex>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "io/safetensors.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// To be raised whenever the same grids get other weights.
constexpr int kVersion = 1;
constexpr const char* kFormat = "tributary regrid weights";

const char* name_of(ops::RegridMethod method) {
  switch (method) {
    case ops::RegridMethod::bilinear:
      return "bilinear";
    case ops::RegridMethod::nearest:
      return "nearest";
    case ops::RegridMethod::conservative:
      return "conservative";
  }
  throw RuntimeError("unknown method of regridding");
}

template <class T>
void append(std::vector<std::byte>& bytes, std::span<const T> values) {
  const auto more = std::as_bytes(values);
  bytes.insert(bytes.end(), more.begin(), more.end());
}

std::string hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

template <class T>
Tensor tensor_of(const std::vector<T>& values, DType dtype) {
  Tensor tensor = Tensor::empty({std::ssize(values)}, dtype, MemoryKind::workspace);
  if (!values.empty()) std::memcpy(tensor.bytes(), values.data(), values.size() * sizeof(T));
  return tensor;
}

template <class T>
std::vector<T> vector_of(const SafetensorsFile& file, const std::string& name, DType dtype) {
  const Tensor tensor = file.read(name);
  if (tensor.dtype() != dtype || tensor.shape().rank() != 1) {
    throw DataError(fmt::format("{}: {} has another type or shape", file.path(), name));
  }
  std::vector<T> values(static_cast<std::size_t>(tensor.numel()));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes(), values.size() * sizeof(T));
  return values;
}

constexpr const char* kMapNames[] = {"points", "latitude", "longitude"};

std::vector<const ops::SparseMap*> maps_of(const ops::RegridWeights& weights) {
  return {&weights.points, &weights.latitude, &weights.longitude};
}

/// Hash of all numbers of the weights.
std::string checksum(const ops::RegridWeights& weights) {
  std::vector<std::byte> bytes;
  const std::int64_t sizes[] = {weights.source_size, weights.target_size,
                                weights.is_separable ? 1 : 0};
  append(bytes, std::span<const std::int64_t>(sizes));
  for (const ops::SparseMap* map : maps_of(weights)) {
    append(bytes, std::span<const std::int64_t>(&map->source_size, 1));
    append(bytes, std::span(map->row_begin));
    append(bytes, std::span(map->columns));
    append(bytes, std::span(map->weights));
    append(bytes, std::span(map->coverage));
  }
  return hex(XXH3_128bits(bytes.data(), bytes.size()));
}

void write_weights(const std::string& path, const std::string& name,
                   const ops::RegridWeights& weights) {
  std::vector<NamedTensor> tensors;
  std::vector<std::int64_t> sizes{weights.source_size, weights.target_size,
                                  weights.is_separable ? 1 : 0};
  for (std::size_t m = 0; m < 3; ++m) {
    const ops::SparseMap& map = *maps_of(weights)[m];
    const std::string prefix = kMapNames[m];
    sizes.push_back(map.source_size);
    tensors.push_back({prefix + ".row_begin", tensor_of(map.row_begin, DType::i64)});
    tensors.push_back({prefix + ".columns", tensor_of(map.columns, DType::i32)});
    tensors.push_back({prefix + ".weights", tensor_of(map.weights, DType::f64)});
    tensors.push_back({prefix + ".coverage", tensor_of(map.coverage, DType::f64)});
  }
  tensors.push_back({"sizes", tensor_of(sizes, DType::i64)});
  write_safetensors(path, tensors,
                    {{"format", kFormat}, {"name", name}, {"checksum", checksum(weights)}});
}

/// Throws DataError for anything but the weights of this name.
ops::RegridWeights read_weights(const std::string& path, const std::string& name) {
  const SafetensorsFile file(path);
  const auto metadata = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (metadata("format") != kFormat || metadata("name") != name) {
    throw DataError(fmt::format("{}: does not hold the weights {}", path, name));
  }
  const auto sizes = vector_of<std::int64_t>(file, "sizes", DType::i64);
  if (sizes.size() != 6) throw DataError(fmt::format("{}: has no sizes", path));
  ops::RegridWeights weights;
  weights.source_size = sizes[0];
  weights.target_size = sizes[1];
  weights.is_separable = sizes[2] != 0;
  for (std::size_t m = 0; m < 3; ++m) {
    const std::string prefix = kMapNames[m];
    ops::SparseMap map;
    map.source_size = sizes[3 + m];
    map.row_begin = vector_of<std::int64_t>(file, prefix + ".row_begin", DType::i64);
    map.columns = vector_of<std::int32_t>(file, prefix + ".columns", DType::i32);
    map.weights = vector_of<double>(file, prefix + ".weights", DType::f64);
    map.coverage = vector_of<double>(file, prefix + ".coverage", DType::f64);
    (m == 0 ? weights.points : m == 1 ? weights.latitude : weights.longitude) = std::move(map);
  }
  if (checksum(weights) != metadata("checksum")) {
    throw DataError(fmt::format("{}: its checksum does not fit", path));
  }
  return weights;
}

}  // namespace

std::string regrid_weights_name(const ops::RegularGrid& source, const ops::RegularGrid& target,
                                ops::RegridMethod method, bool allow_outside) {
  std::vector<std::byte> bytes;
  const std::int64_t head[] = {kVersion, static_cast<std::int64_t>(method), allow_outside ? 1 : 0};
  append(bytes, std::span<const std::int64_t>(head));
  for (const ops::RegularGrid* grid : {&source, &target}) {
    for (const auto* axis :
         {&grid->latitudes, &grid->longitudes, &grid->latitude_edges, &grid->longitude_edges}) {
      const std::int64_t count = std::ssize(*axis);
      append(bytes, std::span<const std::int64_t>(&count, 1));
      append(bytes, std::span<const double>(*axis));
    }
  }
  return fmt::format("{}-{}x{}-{}x{}-{}", name_of(method), source.latitudes.size(),
                     source.longitudes.size(), target.latitudes.size(), target.longitudes.size(),
                     hex(XXH3_128bits(bytes.data(), bytes.size())));
}

ops::RegridWeights kept_regrid_weights(const ops::RegularGrid& source,
                                       const ops::RegularGrid& target, ops::RegridMethod method,
                                       bool allow_outside, const std::string& folder) {
  if (folder.empty()) return ops::regrid_weights(source, target, method, allow_outside);
  // Processes write under names of their own, threads of one do not.
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  const std::string name = regrid_weights_name(source, target, method, allow_outside);
  const std::string path = fmt::format("{}/{}.safetensors", folder, name);
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    try {
      return read_weights(path, name);
    } catch (const DataError&) {
      // Computed and written anew below.
    }
  }
  const ops::RegridWeights weights = ops::regrid_weights(source, target, method, allow_outside);
  std::filesystem::create_directories(folder, error);
  if (error) throw RuntimeError(fmt::format("{}: {}", folder, error.message()));
  write_weights(path, name, weights);
  return weights;
}

}  // namespace trib::io
