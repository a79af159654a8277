// Rasters of any format GDAL reads: GeoTIFF, JPEG 2000, ENVI, JPEG and PNG scenes, virtual rasters.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

struct RasterOptions {
  /// Files to read, each a pattern (see expand_files). Paths inside archives work:
  /// "/vsizip/eurosat.zip/*/*.jpg". So do GDAL's names of parts of files: 'NETCDF:"f.nc":t2m'.
  std::vector<std::string> files;

  /// Channels to read, in this order (see select_channels). A channel's name is the band's
  /// description, else its wavelength ("550.2nm"), else "B01", "B02", ... Empty: all channels.
  /// Every file must offer the channels selected in the first one, by name.
  std::vector<std::string> channels;

  /// Read only this rectangle of every file; it must lie inside all of them.
  std::optional<Window> window;

  /// Cut each file (or the window) into tiles of this size from the top left, each an image of its
  /// own. Choose a multiple of the files' block size: other sizes decode blocks several times.
  std::optional<Extent> tile;

  /// Keep the smaller tiles at the right and lower border, which are dropped otherwise. Models want
  /// images of one size, so keep them only to apply a model to the whole of a scene.
  bool keep_partial_tiles = false;

  /// Stored value that means "missing", in place of what the files say. Use it where files say
  /// nothing or something wrong; NaN if no stored value is missing. Missing pixels become NaN.
  std::optional<double> nodata;

  /// Multiply by the band's scale and add its offset, as the file says. Turn it off to get stored
  /// values.
  bool apply_scale = true;

  /// Where class labels come from: "" for none, "folder" for the index of the file's folder among
  /// all folder names, sorted (see folder_classes), or else the path of a table (see
  /// labels_from_table).
  std::string label_from;
};

/// Open rasters for reading. All headers are read, in parallel, so that mistakes show now and
/// extents are exact; pixels are read and decoded only when asked for, and only of the selected
/// bands and the window. Provenance::geo refers to the pixels of the file and is known after a
/// read() of some channel. Throws ConfigError for an unknown channel and options that select
/// nothing, DataError for a file that cannot be opened or lacks a channel or a label, or does not
/// contain the window.
std::unique_ptr<ImageSource> open_raster(const RasterOptions& options);

/// Describe a raster for people; nullopt if no GDAL driver knows its format.
/// Throws DataError if the file is missing or damaged.
std::optional<FileReport> inspect_raster(const std::string& path,
                                         const Extent& window = {128, 128});

}  // namespace trib::io
