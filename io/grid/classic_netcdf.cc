#include "io/grid/classic_netcdf.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

// Reads the big-endian fields of the header one after another.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    char magic[4] = {};
    take(magic, 4);
    version_ = magic[3];
    if (version_ != 1 && version_ != 2 && version_ != 5) {
      fail(fmt::format("unknown version {}", version_));
    }
  }

  std::uint64_t u32() { return number(4); }
  /// NON_NEG of the specification: counts and sizes.
  std::uint64_t count() { return number(version_ == 5 ? 8 : 4); }
  std::uint64_t offset() { return number(version_ == 1 ? 4 : 8); }
  std::uint64_t unknown_count() const { return version_ == 5 ? ~0ULL : 0xFFFFFFFFULL; }

  /// Number of entries of a list, which starts with its tag, or with zeros if absent.
  std::uint64_t list(std::uint64_t expected_tag) {
    const std::uint64_t tag = u32();
    const std::uint64_t entries = count();
    if (tag != expected_tag && (tag != 0 || entries != 0)) {
      fail(fmt::format("list tag {}, expected {}", tag, expected_tag));
    }
    return entries;
  }

  std::string name() {
    const std::uint64_t length = count();
    if (length > 65536) fail(fmt::format("name of {} bytes", length));
    std::string text(length, '\0');
    take(text.data(), length);
    skip((4 - length % 4) % 4);
    return text;
  }

  std::uint64_t element_size() {
    static constexpr std::uint64_t kSizes[] = {0, 1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8};
    const std::uint64_t type = u32();
    if (type == 0 || type >= std::size(kSizes)) fail(fmt::format("type {}", type));
    return kSizes[type];
  }

  void skip_attributes() {
    for (std::uint64_t n = list(12); n > 0; --n) {
      name();
      const std::uint64_t size = element_size();
      skip((count() * size + 3) / 4 * 4);
    }
  }

 private:
  std::uint64_t number(int bytes) {
    unsigned char raw[8];
    take(reinterpret_cast<char*>(raw), static_cast<std::uint64_t>(bytes));
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | raw[i];
    return value;
  }
  void take(char* to, std::uint64_t bytes) {
    if (!file_.read(to, static_cast<std::streamsize>(bytes))) fail("ends within the header");
  }
  void skip(std::uint64_t bytes) {
    file_.seekg(static_cast<std::streamoff>(bytes), std::ios::cur);
    if (!file_) fail("ends within the header");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: damaged NetCDF header: {}", path_, what));
  }

  std::string path_;
  std::ifstream file_;
  int version_ = 0;
};

struct Entry {
  std::string name;
  std::uint64_t begin = 0, bytes = 0;  // of one record for record variables
  bool is_record = false;
};

}  // namespace

ClassicExtent classic_extent(const std::string& path) {
  HeaderReader header(path);
  const std::uint64_t num_records = header.count();
  std::vector<std::uint64_t> dimensions;
  for (std::uint64_t n = header.list(10); n > 0; --n) {
    header.name();
    dimensions.push_back(header.count());
  }
  header.skip_attributes();

  std::vector<Entry> variables;
  for (std::uint64_t n = header.list(11); n > 0; --n) {
    Entry entry;
    entry.name = header.name();
    std::uint64_t elements = 1;
    for (std::uint64_t d = header.count(); d > 0; --d) {
      const std::uint64_t id = header.count();
      if (id >= dimensions.size()) {
        throw DataError(fmt::format("{}: damaged NetCDF header: variable {} has dimension {} of {}",
                                    path, entry.name, id, dimensions.size()));
      }
      if (dimensions[id] == 0) {
        entry.is_record = true;  // the unlimited dimension
      } else {
        elements *= dimensions[id];
      }
    }
    header.skip_attributes();
    entry.bytes = elements * header.element_size();
    header.count();  // vsize: redundant, and wrong for variables beyond 4 GiB
    entry.begin = header.offset();
    variables.push_back(std::move(entry));
  }

  // Records hold each record variable, padded to four bytes unless it is the only one.
  std::uint64_t record_bytes = 0;
  const auto num_record_variables = std::ranges::count_if(variables, &Entry::is_record);
  for (const Entry& v : variables) {
    if (!v.is_record) continue;
    record_bytes += num_record_variables == 1 ? v.bytes : (v.bytes + 3) / 4 * 4;
  }
  ClassicExtent extent;
  for (const Entry& v : variables) {
    std::uint64_t end = v.begin + v.bytes;
    if (v.is_record) {
      if (num_records == 0 || num_records == header.unknown_count()) continue;
      end += (num_records - 1) * record_bytes;
    }
    if (static_cast<std::int64_t>(end) > extent.bytes) {
      extent = {static_cast<std::int64_t>(end), v.name};
    }
  }
  return extent;
}

}  // namespace trib::io
