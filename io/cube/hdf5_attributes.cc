#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <hdf5.h>
#include <strings.h>

#include "io/cube/hdf5_file.h"
#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1}
                                   << 28;  // of an attribute; more is a damaged header

std::size_t num_points(hid_t space) {
  return static_cast<std::size_t>(std::max<hssize_t>(0, H5Sget_simple_extent_npoints(space)));
}

// Strings of an attribute or dataset of text, read through `read`.
std::vector<std::string> read_strings(hid_t type, hid_t space,
                                      const std::function<herr_t(hid_t, void*)>& read) {
  const std::size_t count = num_points(space);
  if (count == 0 || H5Tget_class(type) != H5T_STRING) return {};
  std::vector<std::string> strings;
  const Hdf5Handle memory(H5Tcopy(type), H5Tclose);
  if (H5Tis_variable_str(type) > 0) {
    if (count > kMostBytes / sizeof(char*)) return {};
    std::vector<char*> pointers(count, nullptr);
    if (read(memory.id(), pointers.data()) < 0) return {};
    for (const char* p : pointers) strings.emplace_back(p != nullptr ? p : "");
    H5Dvlen_reclaim(memory.id(), space, H5P_DEFAULT, pointers.data());
    return strings;
  }
  const std::size_t length = H5Tget_size(type);
  if (length == 0 || count > kMostBytes / length) return {};
  std::string block(length * count, '\0');
  if (read(memory.id(), block.data()) < 0) return {};
  for (std::size_t i = 0; i < count; ++i) {
    std::string text = block.substr(i * length, length);
    text.resize(std::min(length, text.find('\0')));
    while (text.ends_with(' ')) text.pop_back();
    strings.push_back(std::move(text));
  }
  return strings;
}

// Last part of the name of the object a reference points to, empty if it points to none.
std::string referenced_name(hid_t file, const hobj_ref_t& reference) {
  const Hdf5Handle object(H5Rdereference2(file, H5P_DEFAULT, H5R_OBJECT, &reference), H5Oclose);
  if (!object.valid()) return "";
  const ssize_t length = H5Iget_name(object.id(), nullptr, 0);
  if (length <= 0) return "";
  std::string path(static_cast<std::size_t>(length) + 1, '\0');
  H5Iget_name(object.id(), path.data(), path.size());
  path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Hdf5Handle Hdf5File::open_attribute(const std::string& object, const std::string& attribute) const {
  const Hdf5Handle holder(H5Oopen(file_.id(), object.c_str(), H5P_DEFAULT), H5Oclose);
  if (!holder.valid()) return {};
  struct Search {
    const std::string& wanted;
    std::string found;
  } search{attribute, ""};
  const auto visit = [](hid_t, const char* name, const H5A_info_t*, void* data) -> herr_t {
    auto& s = *static_cast<Search*>(data);
    if (strcasecmp(name, s.wanted.c_str()) != 0) return 0;
    s.found = name;
    return 1;
  };
  if (H5Aiterate2(holder.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &search) <= 0) return {};
  return {H5Aopen(holder.id(), search.found.c_str(), H5P_DEFAULT), H5Aclose};
}

std::vector<std::string> Hdf5File::attributes(const std::string& object) const {
  const Hdf5Session session;
  const Hdf5Handle holder(H5Oopen(file_.id(), object.c_str(), H5P_DEFAULT), H5Oclose);
  std::vector<std::string> names;
  if (!holder.valid()) return names;
  const auto visit = [](hid_t, const char* name, const H5A_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->push_back(name);
    return 0;
  };
  if (H5Aiterate2(holder.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0) {
    fail(fmt::format("cannot list the attributes of {}", object));
  }
  return names;
}

std::vector<double> Hdf5File::numbers(const std::string& object,
                                      const std::string& attribute) const {
  const Hdf5Session session;
  const Hdf5Handle handle = open_attribute(object, attribute);
  if (!handle.valid()) return {};
  const Hdf5Handle type(H5Aget_type(handle.id()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(handle.id()), H5Sclose);
  const H5T_class_t kind = H5Tget_class(type.id());
  if (kind == H5T_STRING) return to_numbers(texts(object, attribute));
  if (kind != H5T_INTEGER && kind != H5T_FLOAT && kind != H5T_ENUM) return {};
  const std::size_t count = num_points(space.id());
  if (count > kMostBytes / sizeof(double)) {
    throw DataError(
        fmt::format("{}: attribute {} of {} claims {} numbers", path_, attribute, object, count));
  }
  std::vector<double> numbers(count);
  if (!numbers.empty() && H5Aread(handle.id(), H5T_NATIVE_DOUBLE, numbers.data()) < 0) {
    fail(fmt::format("attribute {} of {}", attribute, object));
  }
  return numbers;
}

std::vector<std::string> Hdf5File::texts(const std::string& object,
                                         const std::string& attribute) const {
  const Hdf5Session session;
  const Hdf5Handle handle = open_attribute(object, attribute);
  if (!handle.valid()) return {};
  const Hdf5Handle type(H5Aget_type(handle.id()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(handle.id()), H5Sclose);
  return read_strings(type.id(), space.id(),
                      [&](hid_t memory, void* out) { return H5Aread(handle.id(), memory, out); });
}

std::string Hdf5File::text(const std::string& object, const std::string& attribute) const {
  const std::vector<std::string> all = texts(object, attribute);
  return all.empty() ? "" : all.front();
}

std::vector<std::string> Hdf5File::texts(const Hdf5Dataset& dataset) const {
  const Hdf5Session session;
  const Hdf5Handle handle = open(dataset, 0);
  const Hdf5Handle type(H5Dget_type(handle.id()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(handle.id()), H5Sclose);
  return read_strings(type.id(), space.id(), [&](hid_t memory, void* out) {
    return H5Dread(handle.id(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
  });
}

std::string Hdf5File::text(const Hdf5Dataset& dataset) const {
  const std::vector<std::string> all = texts(dataset);
  return all.empty() ? "" : all.front();
}

std::vector<std::string> Hdf5File::scale_names(const Hdf5Dataset& dataset) const {
  const Hdf5Session session;
  std::vector<std::string> names(dataset.shape.size());
  const Hdf5Handle handle = open_attribute(dataset.path, "DIMENSION_LIST");
  if (!handle.valid()) return names;
  const Hdf5Handle type(H5Aget_type(handle.id()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(handle.id()), H5Sclose);
  if (H5Tget_class(type.id()) != H5T_VLEN || num_points(space.id()) != names.size()) return names;
  const Hdf5Handle memory(H5Tvlen_create(H5T_STD_REF_OBJ), H5Tclose);
  std::vector<hvl_t> scales(names.size());
  if (H5Aread(handle.id(), memory.id(), scales.data()) < 0) return names;
  for (std::size_t axis = 0; axis < names.size(); ++axis) {
    if (scales[axis].len == 0) continue;
    names[axis] = referenced_name(file_.id(), *static_cast<const hobj_ref_t*>(scales[axis].p));
  }
  H5Dvlen_reclaim(memory.id(), space.id(), H5P_DEFAULT, scales.data());
  return names;
}

}  // namespace trib::io
