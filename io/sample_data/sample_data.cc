#include "io/sample_data/sample_data.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "io/sample_data/writers.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

void check(const char* option, int value, int least, int most) {
  if (value < least || value > most) {
    throw ConfigError(
        fmt::format("sample data: {} must lie in {} .. {}, found {}", option, least, most, value));
  }
}

std::string make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw RuntimeError(fmt::format("cannot make folder {}: {}", folder.string(), error.message()));
  }
  return folder.string();
}

}  // namespace

std::vector<std::string> write_sample_data(const std::string& directory,
                                           const SampleDataOptions& options) {
  check("scenes", options.scenes, 0, 100);
  check("scene_size", options.scene_size, 32, 4096);
  check("time_steps", options.time_steps, 2, 4 * 365);
  check("time_steps modulo 2", options.time_steps % 2, 0, 0);
  check("fields", options.fields, 0, 1000);
  check("field_size", options.field_size, 16, 1024);
  check("bands", options.bands, 16, 1024);

  const std::filesystem::path root(directory);
  make_folder(root / "satellite" / "classes");
  std::vector<std::string> files = write_satellite((root / "satellite").string(), options);
  for (std::string& file : write_era5(make_folder(root / "era5"), options)) {
    files.push_back(std::move(file));
  }
  for (std::string& file : write_hyperspectral(make_folder(root / "hyperspectral"), options)) {
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace trib::io
