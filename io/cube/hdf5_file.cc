#include "io/cube/hdf5_file.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>

#include "io/chunks/hdf5_places.h"
#include "io/file_kind.h"
#include "io/opening_file.h"
#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

hid_t native_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return H5T_NATIVE_FLOAT;
    case DType::f64:
      return H5T_NATIVE_DOUBLE;
    case DType::i8:
      return H5T_NATIVE_INT8;
    case DType::i16:
      return H5T_NATIVE_INT16;
    case DType::i32:
      return H5T_NATIVE_INT32;
    case DType::i64:
      return H5T_NATIVE_INT64;
    case DType::u8:
      return H5T_NATIVE_UINT8;
    case DType::u16:
      return H5T_NATIVE_UINT16;
    case DType::u32:
      return H5T_NATIVE_UINT32;
    case DType::u64:
      return H5T_NATIVE_UINT64;
    case DType::bf16:  // unknown to HDF5
      break;
  }
  return H5I_INVALID_HID;
}

// As h5py writes truth values: FALSE is 0, TRUE is 1.
bool is_bool(hid_t type) {
  if (H5Tget_size(type) != 1 || H5Tget_nmembers(type) != 2) return false;
  std::int8_t no = -1, yes = -1;
  return H5Tenum_valueof(type, "FALSE", &no) >= 0 && H5Tenum_valueof(type, "TRUE", &yes) >= 0 &&
         no == 0 && yes == 1;
}

// Type a stored type is read as, and its name.
std::pair<std::optional<DType>, std::string> dtype_of(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      return {size <= 4 ? DType::f32 : DType::f64, fmt::format("f{}", size * 8)};
    case H5T_INTEGER: {
      const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
      std::string name = fmt::format("{}{}", is_signed ? 'i' : 'u', size * 8);
      switch (size) {
        case 1:
          return {is_signed ? DType::i8 : DType::u8, name};
        case 2:
          return {is_signed ? DType::i16 : DType::u16, name};
        case 4:
          return {is_signed ? DType::i32 : DType::u32, name};
        case 8:
          return {is_signed ? DType::i64 : DType::u64, name};
        default:
          return {std::nullopt, name};
      }
    }
    case H5T_STRING:
      return {std::nullopt, "text"};
    case H5T_ENUM:
      return is_bool(type) ? std::pair{std::optional(DType::u8), std::string("bool")}
                           : std::pair{std::optional<DType>(), std::string("enum")};
    case H5T_COMPOUND:
      return {std::nullopt, "compound"};
    default:
      return {std::nullopt, "other"};
  }
}

std::vector<std::int64_t> extents_of(hid_t space) {
  const int rank = std::max(0, H5Sget_simple_extent_ndims(space));
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  return {extents.begin(), extents.end()};
}

std::string filters_of(hid_t properties) {
  std::vector<std::string> names;
  const int count = H5Pget_nfilters(properties);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, values[8] = {}, config = 0;
    std::size_t num_values = std::size(values);
    char name[64] = {};
    const H5Z_filter_t id = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags,
                                           &num_values, values, sizeof(name), name, &config);
    if (id == H5Z_FILTER_DEFLATE) {
      names.push_back(fmt::format("deflate {}", values[0]));
    } else {
      names.push_back(name[0] != '\0' ? name : fmt::format("filter {}", id));
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// What libhdf5 does not say of a dataset that it cannot read; empty if it has all filters.
std::string missing_filter(const Hdf5Handle& dataset) {
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
  const int count = H5Pget_nfilters(properties.id());
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t num_values = 0;
    char name[64] = {};
    const H5Z_filter_t id = H5Pget_filter2(properties.id(), static_cast<unsigned>(i), &flags,
                                           &num_values, nullptr, sizeof(name), name, &config);
    if (H5Zfilter_avail(id) > 0) continue;
    return fmt::format(
        "; it is stored through filter {} '{}', which libhdf5 lacks here: name the folder of its "
        "plugin in HDF5_PLUGIN_PATH, or rewrite the file where it can be read (h5repack -f GZIP=4 "
        "IN OUT)",
        id, name);
  }
  return "";
}

// A file that a virtual dataset takes data from and that is not there; empty if all are. libhdf5
// reads fill values for such.
std::string missing_source(const Hdf5Handle& dataset, const std::string& path) {
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
  std::size_t count = 0;
  if (H5Pget_layout(properties.id()) != H5D_VIRTUAL || std::getenv("HDF5_VDS_PREFIX") != nullptr ||
      H5Pget_virtual_count(properties.id(), &count) < 0) {
    return "";
  }
  for (std::size_t i = 0; i < count; ++i) {
    const ssize_t length = H5Pget_virtual_filename(properties.id(), i, nullptr, 0);
    if (length <= 0) continue;
    std::string name(static_cast<std::size_t>(length) + 1, '\0');
    H5Pget_virtual_filename(properties.id(), i, name.data(), name.size());
    name.pop_back();
    if (name == "." || name.find('%') != std::string::npos) continue;  // this file; a pattern
    const std::filesystem::path beside = std::filesystem::path(path).parent_path() / name;
    if (!std::filesystem::exists(name) && !std::filesystem::exists(beside)) return name;
  }
  return "";
}

}  // namespace

std::string Hdf5Dataset::name() const {
  return path.substr(path.rfind('/') + 1);
}

Hdf5File::Hdf5File(const std::string& path) : path_(path) {
  const OpeningFile opening(path);
  if (const FileKind kind = file_kind(path); kind != FileKind::hdf5) {
    throw DataError(fmt::format("{}: is {}, expected HDF5", path, io::describe(kind)));
  }
  const Hdf5Session session;
  file_ = open_hdf5_file(path);
  if (!file_.valid()) fail("cannot open");

  struct Link {
    std::string name;
    bool elsewhere;
  };
  std::vector<Link> links;
  const auto visit = [](hid_t, const char* name, const H5L_info_t* info, void* data) -> herr_t {
    const bool elsewhere = info->type == H5L_TYPE_EXTERNAL;
    if (info->type == H5L_TYPE_HARD || elsewhere) {
      static_cast<std::vector<Link>*>(data)->push_back({name, elsewhere});
    }
    return 0;
  };
  if (H5Lvisit(file_.id(), H5_INDEX_NAME, H5_ITER_INC, visit, &links) < 0) {
    fail("cannot list the contents");
  }
  for (const Link& link : links) {
    const Hdf5Handle object(H5Oopen(file_.id(), link.name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid()) {
      if (link.elsewhere) continue;  // what it names is not there
      fail(fmt::format("cannot open /{}", link.name));
    }
    if (H5Iget_type(object.id()) != H5I_DATASET) continue;
    datasets_.push_back(describe("/" + link.name, object));
  }
}

Hdf5Dataset Hdf5File::describe(const std::string& dataset_path, const Hdf5Handle& dataset) const {
  Hdf5Dataset out;
  out.path = dataset_path;
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
  if (!type.valid() || !space.valid() || !properties.valid()) fail(dataset_path);
  std::tie(out.dtype, out.stored_type) = dtype_of(type.id());
  out.shape = extents_of(space.id());
  if (H5Pget_layout(properties.id()) == H5D_CHUNKED) {
    std::vector<hsize_t> chunks(out.shape.size());
    H5Pget_chunk(properties.id(), static_cast<int>(chunks.size()), chunks.data());
    out.chunks.assign(chunks.begin(), chunks.end());
  }
  out.filters = filters_of(properties.id());
  return out;
}

void Hdf5File::fail(const std::string& what) const {
  throw DataError(fmt::format("{}: {}: {}", path_, what, Hdf5Session::error_text()));
}

const Hdf5Dataset* Hdf5File::find(const std::string& dataset_path) const {
  const std::string absolute = dataset_path.starts_with('/') ? dataset_path : "/" + dataset_path;
  const auto found = std::ranges::find(datasets_, absolute, &Hdf5Dataset::path);
  return found == datasets_.end() ? nullptr : &*found;
}

Hdf5Handle Hdf5File::open(const Hdf5Dataset& dataset, std::size_t cache_bytes) const {
  const Hdf5Session session;
  constexpr std::size_t kSlots = 521;  // of the hash table; a prime, as HDF5 advises
  const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.id(), kSlots, cache_bytes, H5D_CHUNK_CACHE_W0_DEFAULT);
  Hdf5Handle handle(H5Dopen2(file_.id(), dataset.path.c_str(), access.id()), H5Dclose);
  if (!handle.valid()) fail(fmt::format("cannot open {}", dataset.path));
  if (const std::string source = missing_source(handle, path_); !source.empty()) {
    throw DataError(
        fmt::format("{}: {} takes data from {}, which is not there", path_, dataset.path, source));
  }
  return handle;
}

std::vector<double> Hdf5File::values(const Hdf5Dataset& dataset) const {
  const Hdf5Session session;
  const std::int64_t count = std::accumulate(dataset.shape.begin(), dataset.shape.end(),
                                             std::int64_t{1}, std::multiplies<>());
  if (dataset.stored_type == "text") {
    const std::vector<double> numbers = to_numbers(texts(dataset));
    if (static_cast<std::int64_t>(numbers.size()) == count) return numbers;
    throw DataError(fmt::format("{}: the texts of {} are no numbers", path_, dataset.path));
  }
  std::vector<double> values(static_cast<std::size_t>(count));
  const Hdf5Handle handle = open(dataset, 0);
  if (H5Dread(handle.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
    fail(fmt::format("cannot read {}", dataset.path));
  }
  return values;
}

void Hdf5File::read(const Hdf5Dataset& dataset, const Hdf5Handle& handle,
                    std::span<const Range> box, std::size_t axis, std::span<const Range> ranges,
                    void* out) const {
  const Hdf5Session session;
  std::vector<hsize_t> start, count;
  for (const auto& [begin, end] : box) {
    start.push_back(static_cast<hsize_t>(begin));
    count.push_back(static_cast<hsize_t>(end - begin));
  }
  const Hdf5Handle space(H5Dget_space(handle.id()), H5Sclose);
  // Elements of a union of hyperslabs come in the order of the file, so that the union is a dense
  // box in memory.
  hsize_t total = 0;
  H5S_seloper_t operation = H5S_SELECT_SET;
  for (const auto& [begin, end] : ranges) {
    start[axis] = static_cast<hsize_t>(begin);
    count[axis] = static_cast<hsize_t>(end - begin);
    if (H5Sselect_hyperslab(space.id(), operation, start.data(), nullptr, count.data(), nullptr) <
        0) {
      fail(fmt::format("cannot select in {}", dataset.path));
    }
    operation = H5S_SELECT_OR;
    total += count[axis];
  }
  count[axis] = total;
  const Hdf5Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr),
                          H5Sclose);
  if (H5Dread(handle.id(), native_type(*dataset.dtype), memory.id(), space.id(), H5P_DEFAULT, out) <
      0) {
    const std::string reason = Hdf5Session::error_text();
    throw DataError(fmt::format("{}: cannot read {} at {}: {}{}", path_, dataset.path, box, reason,
                                missing_filter(handle)));
  }
}

}  // namespace trib::io
