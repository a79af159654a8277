// GDAL with its edges taken off: errors are exceptions, handles are owned, locks are held.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/hdf5_lock.h"

class GDALDataset;

namespace trib::io {

/// Collects what GDAL reports in this thread during its life, instead of printing it.
class GdalErrors {
 public:
  GdalErrors();
  ~GdalErrors();
  GdalErrors(const GdalErrors&) = delete;
  GdalErrors& operator=(const GdalErrors&) = delete;

  bool any() const { return !messages_.empty(); }
  /// The first few distinct messages, or "GDAL gives no reason".
  std::string text() const;
  void add(const std::string& message);

 private:
  std::vector<std::string> messages_;
};

/// One GDAL dataset, opened for reading and used by one thread at a time. Datasets are never shared
/// (no GDAL_OF_SHARED) and GDAL starts no threads of its own: in GDAL 3.6 its threaded reading of
/// band-interleaved TIFF crashes.
class GdalDataset {
 public:
  /// Open a raster of any format, or one of its overviews in its place, counted from 0. `driver`
  /// names the driver to try first, may be empty. Throws DataError with the file and GDAL's
  /// message.
  explicit GdalDataset(const std::string& path, const std::string& driver = "",
                       std::optional<int> overview = {});
  /// A dataset made out of another one, such as a warped one; owns both.
  GdalDataset(std::unique_ptr<GdalDataset> source, GDALDataset* made);
  ~GdalDataset();
  GdalDataset(const GdalDataset&) = delete;
  GdalDataset& operator=(const GdalDataset&) = delete;

  GDALDataset& gdal() const { return *dataset_; }
  const std::string& path() const { return path_; }
  const std::string& driver() const { return driver_; }
  /// Hold this around every use of gdal(): the HDF5 family's lock if the driver needs it.
  std::unique_lock<Hdf5Lock> lock() const;

 private:
  void check_contents();

  std::unique_ptr<GdalDataset> source_;  // outlives the dataset made out of it
  std::string path_, driver_;
  GDALDataset* dataset_ = nullptr;
  bool needs_lock_ = false;
};

/// Idle datasets, kept for the next reader of the same; the least recently used are closed.
class GdalPool {
 public:
  using Open = std::function<std::unique_ptr<GdalDataset>()>;

  explicit GdalPool(std::size_t capacity) : capacity_(capacity) {}

  /// Take an idle dataset that was given back under `key`, or open one. A dataset that failed is
  /// not given back.
  std::unique_ptr<GdalDataset> take(const std::string& key, const Open& open);
  void give_back(const std::string& key, std::unique_ptr<GdalDataset> dataset);
  /// The same for files as they are, by their path.
  std::unique_ptr<GdalDataset> take(const std::string& path, const std::string& driver);
  void give_back(std::unique_ptr<GdalDataset> dataset);

 private:
  using Entry = std::pair<std::string, std::unique_ptr<GdalDataset>>;
  std::size_t capacity_;
  std::mutex mutex_;
  std::list<Entry> idle_;  // most recently used first
};

/// Register the drivers and set GDAL's process-wide options, once.
void prepare_gdal();

}  // namespace trib::io
