#include "io/raster/gdal_dataset.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include <cpl_conv.h>
#include <cpl_error.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gdal_priv.h>

#include "io/file_kind.h"
#include "io/hdf5_lock.h"
#include "io/opening_file.h"
#include "io/raster/jpeg2000_file.h"
#include "io/raster/raw_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Pixels are read once and straight to where they are wanted: the cache only has to hold the blocks
// that neighbouring windows of the files in use have in common.
constexpr std::int64_t kBlockCacheBytes = std::int64_t{128} << 20;

constexpr std::size_t kMessagesKept = 3;

// Drivers that call libhdf5, libnetcdf or libhdf4. A virtual raster may have such files as sources.
constexpr std::array<std::string_view, 10> kLockedDrivers = {
    "netCDF", "HDF5", "HDF5Image", "HDF4", "HDF4Image", "BAG", "S102", "GMT", "KEA", "VRT"};

bool is_locked(std::string_view driver) {
  return std::find(kLockedDrivers.begin(), kLockedDrivers.end(), driver) != kLockedDrivers.end();
}

/// Names of the drivers that need no lock, as GDALOpenEx wants them.
const std::vector<const char*>& lock_free_drivers() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> found;
    GDALDriverManager* manager = GetGDALDriverManager();
    for (int i = 0; i < manager->GetDriverCount(); ++i) {
      GDALDriver* driver = manager->GetDriver(i);
      const char* name = driver->GetDescription();
      if (driver->GetMetadataItem(GDAL_DCAP_RASTER) != nullptr && !is_locked(name)) {
        found.push_back(name);
      }
    }
    found.push_back(nullptr);
    return found;
  }();
  return names;
}

/// Inside archives and on remote storage, looking for side files (.aux.xml, .msk, .tfw) costs more
/// than opening the file itself; for local files it costs next to nothing.
class SideFiles {
 public:
  explicit SideFiles(bool wanted) {
    CPLSetThreadLocalConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", wanted ? "TRUE" : "EMPTY_DIR");
  }
  ~SideFiles() { CPLSetThreadLocalConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", nullptr); }
  SideFiles(const SideFiles&) = delete;
  SideFiles& operator=(const SideFiles&) = delete;
};

GDALDataset* open(const std::string& path, const char* const* drivers, bool side_files,
                  std::optional<int> overview) {
  const SideFiles scope(side_files);
  const std::string level = fmt::format("OVERVIEW_LEVEL={}", overview.value_or(0));
  const std::array<const char*, 2> options = {overview ? level.c_str() : nullptr, nullptr};
  return GDALDataset::Open(path.c_str(), GDAL_OF_RASTER | GDAL_OF_READONLY | GDAL_OF_VERBOSE_ERROR,
                           drivers, options.data());
}

// The file in GDAL's name of a part of it, such as NETCDF:"f.nc":t2m; another name as it is.
std::string file_of_part(const std::string& name) {
  const std::size_t begin = name.find('"'), end = name.rfind('"');
  return begin == end ? name : name.substr(begin + 1, end - begin - 1);
}

void CPL_STDCALL collect_error(CPLErr severity, CPLErrorNum, const char* message) {
  if (severity < CE_Failure) return;
  static_cast<GdalErrors*>(CPLGetErrorHandlerUserData())->add(message);
}

}  // namespace

void prepare_gdal() {
  static const bool prepared = [] {
    GDALAllRegister();
    CPLSetConfigOption("GDAL_NUM_THREADS", "1");
    // A JPEG cut short is grey below the cut, with a warning only.
    CPLSetConfigOption("GDAL_ERROR_ON_LIBJPEG_WARNING", "TRUE");
    if (CPLGetConfigOption("GDAL_CACHEMAX", nullptr) == nullptr) {
      GDALSetCacheMax64(kBlockCacheBytes);
    }
    return true;
  }();
  static_cast<void>(prepared);
}

GdalErrors::GdalErrors() {
  CPLPushErrorHandlerEx(collect_error, this);
}

GdalErrors::~GdalErrors() {
  CPLPopErrorHandler();
}

void GdalErrors::add(const std::string& message) {
  if (messages_.size() < kMessagesKept &&
      std::find(messages_.begin(), messages_.end(), message) == messages_.end()) {
    messages_.push_back(message);
  }
}

std::string GdalErrors::text() const {
  return messages_.empty() ? "GDAL gives no reason" : fmt::format("{}", fmt::join(messages_, "; "));
}

GdalDataset::GdalDataset(const std::string& path, const std::string& driver,
                         std::optional<int> overview)
    : path_(path) {
  const OpeningFile opening(path, file_of_part(path));
  prepare_gdal();
  const auto name_driver = [&] {
    // Of an overview GDAL may not say it.
    GDALDriver* const used = dataset_->GetDriver();
    driver_ = used != nullptr ? used->GetDescription() : driver;
  };
  if (!is_locked(driver)) {
    const GdalErrors quiet;
    const bool side_files = !path.starts_with("/vsi");
    if (!driver.empty()) {
      const std::array<const char*, 2> only = {driver.c_str(), nullptr};
      dataset_ = open(path, only.data(), side_files, overview);
    }
    if (dataset_ == nullptr) {
      dataset_ = open(path, lock_free_drivers().data(), side_files, overview);
    }
    if (dataset_ != nullptr) {
      name_driver();
      if (!is_mistaken_for_raw(path, driver_)) {
        check_contents();
        return;
      }
      GDALClose(dataset_);
    }
  }
  const std::lock_guard guard(hdf5_family_lock());
  const GdalErrors errors;
  dataset_ = open(path, nullptr, true, overview);
  if (dataset_ == nullptr) {
    const bool is_archive =
        std::filesystem::is_regular_file(path) && file_kind(path) == FileKind::zip;
    throw DataError(is_archive ? fmt::format("{0}: is a ZIP archive; name the files in it, such as "
                                             "'/vsizip/{{{0}}}/*.tif'",
                                             path)
                               : fmt::format("{}: cannot be opened: {}", path, errors.text()));
  }
  name_driver();
  needs_lock_ = is_locked(driver_);
  check_contents();
}

GdalDataset::GdalDataset(std::unique_ptr<GdalDataset> source, GDALDataset* made)
    : source_(std::move(source)),
      path_(source_->path_),
      driver_(source_->driver_),
      dataset_(made),
      needs_lock_(source_->needs_lock_) {}

void GdalDataset::check_contents() {
  try {
    check_raw_file(*dataset_, path_);
    if (driver_ == "JP2OpenJPEG") check_jpeg2000_file(path_);
    // libnetcdf reads zeros past the end of classic files.
    const std::string file = file_of_part(path_);
    if (std::filesystem::is_regular_file(file) && file_kind(file) == FileKind::netcdf_classic) {
      check_netcdf_file(file);
    }
  } catch (...) {
    GDALClose(dataset_);  // no destructor will
    throw;
  }
}

GdalDataset::~GdalDataset() {
  try {
    const auto guard = lock();
    const GdalErrors quiet;
    GDALClose(dataset_);
  } catch (const DataError&) {
    return;  // a thread that hangs has the lock: it stays open
  }
}

std::unique_lock<Hdf5Lock> GdalDataset::lock() const {
  if (!needs_lock_) return {};
  return std::unique_lock(hdf5_family_lock());
}

std::unique_ptr<GdalDataset> GdalPool::take(const std::string& key, const Open& open) {
  {
    const std::lock_guard guard(mutex_);
    const auto found = std::find_if(idle_.begin(), idle_.end(),
                                    [&](const Entry& entry) { return entry.first == key; });
    if (found != idle_.end()) {
      std::unique_ptr<GdalDataset> dataset = std::move(found->second);
      idle_.erase(found);
      return dataset;
    }
  }
  return open();
}

void GdalPool::give_back(const std::string& key, std::unique_ptr<GdalDataset> dataset) {
  std::unique_ptr<GdalDataset> oldest;  // closed after the mutex is free again
  const std::lock_guard guard(mutex_);
  idle_.emplace_front(key, std::move(dataset));
  if (idle_.size() > capacity_) {
    oldest = std::move(idle_.back().second);
    idle_.pop_back();
  }
}

std::unique_ptr<GdalDataset> GdalPool::take(const std::string& path, const std::string& driver) {
  return take(path, [&] { return std::make_unique<GdalDataset>(path, driver); });
}

void GdalPool::give_back(std::unique_ptr<GdalDataset> dataset) {
  const std::string path = dataset->path();
  give_back(path, std::move(dataset));
}

}  // namespace trib::io
