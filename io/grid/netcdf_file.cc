#include "io/grid/netcdf_file.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <netcdf.h>

#include "io/cube/hdf5_handles.h"
#include "io/file_kind.h"
#include "io/opening_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::optional<DType> dtype_of(nc_type type) {
  switch (type) {
    case NC_FLOAT:
      return DType::f32;
    case NC_DOUBLE:
      return DType::f64;
    case NC_BYTE:
      return DType::i8;
    case NC_SHORT:
      return DType::i16;
    case NC_INT:
      return DType::i32;
    case NC_INT64:
      return DType::i64;
    case NC_UBYTE:
      return DType::u8;
    case NC_USHORT:
      return DType::u16;
    case NC_UINT:
      return DType::u32;
    case NC_UINT64:
      return DType::u64;
    default:
      return std::nullopt;
  }
}

}  // namespace

NetcdfFile::NetcdfFile(const std::string& path) : path_(path) {
  const OpeningFile opening(path);
  check_netcdf_file(path);
  const Hdf5Session session;
  check(nc_open(path.c_str(), NC_NOWRITE, &id_), "cannot open");
  try {
    list_groups(id_, "");
  } catch (...) {
    nc_close(id_);
    throw;
  }
}

void NetcdfFile::list_groups(int group, const std::string& prefix) {
  groups_.push_back(group);
  list_dimensions(group);
  list_variables(group, prefix);
  int count = 0;
  check(nc_inq_grps(group, &count, nullptr), "cannot list groups");
  std::vector<int> children(static_cast<std::size_t>(count));
  check(nc_inq_grps(group, &count, children.data()), "cannot list groups");
  char name[NC_MAX_NAME + 1];
  for (const int child : children) {
    check(nc_inq_grpname(child, name), "cannot list groups");
    list_groups(child, prefix + name + "/");
  }
}

void NetcdfFile::list_dimensions(int group) {
  int count = 0;
  check(nc_inq_dimids(group, &count, nullptr, 0), "cannot list dimensions");
  std::vector<int> ids(static_cast<std::size_t>(count));
  check(nc_inq_dimids(group, &count, ids.data(), 0), "cannot list dimensions");
  char name[NC_MAX_NAME + 1];
  for (const int id : ids) {
    std::size_t length = 0;
    check(nc_inq_dim(group, id, name, &length), "cannot list dimensions");
    dimensions_.push_back({name, static_cast<std::int64_t>(length)});
    dimension_ids_.push_back(id);
  }
}

void NetcdfFile::list_variables(int group, const std::string& prefix) {
  int count = 0;
  check(nc_inq_nvars(group, &count), "cannot list variables");
  char name[NC_MAX_NAME + 1];
  for (int v = 0; v < count; ++v) {
    nc_type type = NC_NAT;
    int rank = 0;
    int ids[NC_MAX_VAR_DIMS];
    check(nc_inq_var(group, v, name, &type, &rank, ids, nullptr), "cannot list variables");
    NetcdfVariable variable{v, prefix + name, dtype_of(type), {}, groups_.size() - 1};
    for (int axis = 0; axis < rank; ++axis) {
      const auto found = std::ranges::find(dimension_ids_, ids[axis]);
      if (found == dimension_ids_.end()) {
        throw DataError(
            fmt::format("{}: variable {} has a dimension of another group", path_, variable.name));
      }
      variable.dimensions.push_back(static_cast<int>(found - dimension_ids_.begin()));
    }
    variables_.push_back(std::move(variable));
  }
}

NetcdfFile::~NetcdfFile() {
  close_in_session([&] { nc_close(id_); });
}

void NetcdfFile::check(int status, const std::string& what) const {
  if (status != NC_NOERR) {
    throw DataError(fmt::format("{}: {}: {}", path_, what, nc_strerror(status)));
  }
}

const NetcdfVariable* NetcdfFile::find(const std::string& name) const {
  const auto found = std::ranges::find(variables_, name, &NetcdfVariable::name);
  return found == variables_.end() ? nullptr : &*found;
}

std::string NetcdfFile::format() const {
  const Hdf5Session session;
  int format = 0;
  check(nc_inq_format(id_, &format), "cannot tell the format");
  switch (format) {
    case NC_FORMAT_CLASSIC:
      return "NetCDF classic";
    case NC_FORMAT_64BIT_OFFSET:
      return "NetCDF classic, 64-bit offset";
    case NC_FORMAT_64BIT_DATA:
      return "NetCDF classic, 64-bit data";
    case NC_FORMAT_NETCDF4_CLASSIC:
      return "NetCDF-4, classic model";
    default:
      return "NetCDF-4";
  }
}

std::string NetcdfFile::text(const NetcdfVariable& variable, const char* attribute) const {
  const Hdf5Session session;
  nc_type type = NC_NAT;
  std::size_t length = 0;
  if (nc_inq_att(group_of(variable), variable.id, attribute, &type, &length) != NC_NOERR ||
      length == 0)
    return "";
  if (type == NC_CHAR) {
    std::string text(length, '\0');
    check(nc_get_att_text(group_of(variable), variable.id, attribute, text.data()), variable.name);
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
  }
  if (type == NC_STRING) {
    std::vector<char*> strings(length, nullptr);
    check(nc_get_att_string(group_of(variable), variable.id, attribute, strings.data()),
          variable.name);
    std::string text = strings[0] != nullptr ? strings[0] : "";
    nc_free_string(length, strings.data());
    return text;
  }
  return "";
}

std::vector<double> NetcdfFile::numbers(const NetcdfVariable& variable,
                                        const char* attribute) const {
  const Hdf5Session session;
  nc_type type = NC_NAT;
  std::size_t length = 0;
  if (nc_inq_att(group_of(variable), variable.id, attribute, &type, &length) != NC_NOERR ||
      !dtype_of(type)) {
    return {};
  }
  std::vector<double> numbers(length);
  check(nc_get_att_double(group_of(variable), variable.id, attribute, numbers.data()),
        variable.name);
  return numbers;
}

std::optional<DType> NetcdfFile::type_of(const NetcdfVariable& variable,
                                         const char* attribute) const {
  const Hdf5Session session;
  nc_type type = NC_NAT;
  std::size_t length = 0;
  if (nc_inq_att(group_of(variable), variable.id, attribute, &type, &length) != NC_NOERR) {
    return std::nullopt;
  }
  return dtype_of(type);
}

std::vector<std::int64_t> NetcdfFile::chunks(const NetcdfVariable& variable) const {
  const Hdf5Session session;
  int storage = NC_CONTIGUOUS;
  std::vector<std::size_t> extents(std::max<std::size_t>(1, variable.dimensions.size()));
  check(nc_inq_var_chunking(group_of(variable), variable.id, &storage, extents.data()),
        variable.name);
  if (storage != NC_CHUNKED) return {};
  return {extents.begin(), extents.end()};
}

std::string NetcdfFile::filters(const NetcdfVariable& variable) const {
  const Hdf5Session session;
  int shuffle = 0, deflate = 0, level = 0;
  // Classic files have no filters: the call fails there.
  if (nc_inq_var_deflate(group_of(variable), variable.id, &shuffle, &deflate, &level) != NC_NOERR)
    return "";
  std::string text = shuffle != 0 ? "shuffle" : "";
  if (deflate != 0) text += fmt::format("{}deflate {}", text.empty() ? "" : ", ", level);
  return text;
}

void NetcdfFile::set_chunk_cache(const NetcdfVariable& variable, std::size_t bytes) {
  const Hdf5Session session;
  constexpr std::size_t kSlots = 521;  // of the hash table; a prime, as HDF5 advises
  const int status = nc_set_var_chunk_cache(group_of(variable), variable.id, bytes, kSlots, 0.75F);
  if (status != NC_ENOTNC4) check(status, variable.name + ": cannot set the chunk cache");
}

std::vector<double> NetcdfFile::values(const NetcdfVariable& variable) const {
  const Hdf5Session session;
  std::size_t count = 1;
  for (const int d : variable.dimensions) {
    count *= static_cast<std::size_t>(dimensions_[static_cast<std::size_t>(d)].length);
  }
  std::vector<double> values(count);
  check(nc_get_var_double(group_of(variable), variable.id, values.data()),
        "variable " + variable.name);
  return values;
}

void NetcdfFile::read(const NetcdfVariable& variable, const std::vector<std::size_t>& start,
                      const std::vector<std::size_t>& count, void* out) const {
  const Hdf5Session session;
  check(nc_get_vara(group_of(variable), variable.id, start.data(), count.data(), out),
        fmt::format("cannot read variable {} at [{}]", variable.name, fmt::join(start, ", ")));
}

}  // namespace trib::io
