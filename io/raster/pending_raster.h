// A raster file on its way: made under another name and renamed when it is whole.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/raster/raster_writer.h"

class GDALDataset;

namespace trib::io {

/// The steps of writing a raster; each throws RuntimeError naming the file. Without commit() the
/// file is removed.
class PendingRaster {
 public:
  PendingRaster(const std::string& path, const RasterStorage& storage);
  ~PendingRaster();
  PendingRaster(const PendingRaster&) = delete;
  PendingRaster& operator=(const PendingRaster&) = delete;

  const std::string& path() const { return path_; }
  /// Make a dataset with bands of the storage's type.
  std::unique_ptr<GDALDataset> create(const char* driver, const std::string& name,
                                      const Extent& extent, int bands, char** options) const;
  /// Give a dataset its place and its bands their names, units, wavelengths and coding.
  void describe(GDALDataset& dataset, const std::vector<Channel>& channels,
                const GeoReference* geo) const;
  /// Store pixels [band, y, x] of a window.
  void fill(GDALDataset& dataset, const Window& window, const float* data_cyx) const;
  /// Write the file with all that `from` holds.
  void copy(GDALDataset& from) const;
  void commit();

 private:
  void encode(const float* values, std::vector<float>& stored) const;
  [[noreturn]] void fail(const std::string& reason) const;

  std::string path_;
  std::string temporary_;
  RasterStorage storage_;
  bool committed_ = false;
};

}  // namespace trib::io
