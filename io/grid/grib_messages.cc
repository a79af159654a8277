#include "io/grid/grib_messages.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

class GribScanner {
 public:
  explicit GribScanner(const std::string& path)
      : path_(path),
        file_(path, std::ios::binary),
        size_(static_cast<std::int64_t>(std::filesystem::file_size(path))) {}

  GribScan scan() {
    // A few bytes of padding between messages are common, at the end too.
    for (std::int64_t at = 0; (at = next_message(at)) >= 0;) {
      ++message_;
      const int edition = byte(at + 7);
      if (edition == 1) {
        at = edition_1(at);
      } else if (edition == 2) {
        at = edition_2(at);
      } else {
        fail(fmt::format("is of edition {}, expected 1 or 2", edition));
      }
      result_.end = at;
    }
    if (result_.fields.empty()) throw DataError(fmt::format("{}: holds no GRIB message", path_));
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: GRIB message {} {}", path_, message_, what));
  }

  std::uint64_t number(std::int64_t at, int bytes) {
    char data[8];
    if (at + bytes > size_) fail("is truncated");
    file_.seekg(at);
    if (!file_.read(data, bytes)) fail("cannot be read");
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(data[i]);
    return value;
  }
  int byte(std::int64_t at) { return static_cast<int>(number(at, 1)); }

  // Where the next "GRIB" stands within a kilobyte, -1 if there is none.
  std::int64_t next_message(std::int64_t from) {
    constexpr std::int64_t kMostPadding = 1024;
    std::string data(static_cast<std::size_t>(std::min(kMostPadding, size_ - from)), '\0');
    file_.seekg(from);
    if (data.empty() || !file_.read(data.data(), static_cast<std::streamsize>(data.size()))) {
      return -1;
    }
    const std::size_t found = data.find("GRIB");
    return found == std::string::npos ? -1 : from + static_cast<std::int64_t>(found);
  }

  void check_end(std::int64_t end, std::int64_t begin) {
    if (end < begin + 16 || end > size_) fail("is truncated");
    if (number(end - 4, 4) != 0x37373737) fail("does not end as GRIB messages do: it is damaged");
  }

  std::int64_t edition_1(std::int64_t begin) {
    const std::int64_t end = begin + static_cast<std::int64_t>(number(begin + 4, 3));
    check_end(end, begin);
    const std::int64_t product = begin + 8;
    const auto product_length = static_cast<std::int64_t>(number(product, 3));
    GribField field{message_};
    constexpr int kHasGrid = 0x80;
    if ((byte(product + 7) & kHasGrid) != 0) {
      const std::int64_t grid = product + product_length;
      constexpr std::uint64_t kReduced = 0xffff;  // as the number of columns
      field.is_lat_lon = byte(grid + 5) == 0 && number(grid + 6, 2) != kReduced;
      // GDAL would take the mark of a step that is not given for 65.535 degrees.
      constexpr std::uint64_t kNotGiven = 0xffff;
      if (field.is_lat_lon &&
          (number(grid + 23, 2) == kNotGiven || number(grid + 25, 2) == kNotGiven)) {
        fail("does not give the steps of its grid; convert it with cdo -f nc4 copy IN OUT.nc");
      }
    }
    // Octets 41 and up are the centre's own; ECMWF numbers members there.
    constexpr int kEcmwf = 98;
    if (byte(product + 4) == kEcmwf && product_length >= 50) field.member = byte(product + 49);
    result_.fields.push_back(field);
    return end;
  }

  std::int64_t edition_2(std::int64_t begin) {
    const auto length = number(begin + 8, 8);
    if (length > static_cast<std::uint64_t>(size_)) fail("is truncated");
    const std::int64_t end = begin + static_cast<std::int64_t>(length);
    check_end(end, begin);
    bool is_lat_lon = false;
    for (std::int64_t section = begin + 16; section + 4 < end;) {
      const auto section_length = static_cast<std::int64_t>(number(section, 4));
      const int kind = byte(section + 4);
      if (section_length < 5 || section + section_length > end - 4) {
        fail("has a section of impossible length: it is damaged");
      }
      if (kind == 3) {
        is_lat_lon = number(section + 12, 2) == 0;
      } else if (kind == 4) {
        // Templates of ensemble members, at a time and over a period.
        const auto product = number(section + 7, 2);
        const bool has_member = (product == 1 || product == 11) && section_length > 36;
        result_.fields.push_back({message_, is_lat_lon, has_member ? byte(section + 35) : 0});
      }
      section += section_length;
    }
    return end;
  }

  const std::string& path_;
  std::ifstream file_;
  std::int64_t size_;
  std::int64_t message_ = 0;
  GribScan result_;
};

}  // namespace

GribScan scan_grib(const std::string& path) {
  return GribScanner(path).scan();
}

}  // namespace trib::io
