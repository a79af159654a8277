// Rasters of any format GDAL reads: GeoTIFF, JPEG 2000, ENVI, JPEG and PNG scenes, virtual rasters.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

struct RasterOptions {
  /// Files to read, each a pattern or a table that lists files (see list_files). Paths inside
  /// archives work: "/vsizip/eurosat.zip/*/*.jpg". So do GDAL's names of parts of files:
  /// 'NETCDF:"f.nc":t2m'.
  std::vector<std::string> files;

  /// Files of these that are not there to be read: images and scenes they belong to are left out.
  /// They count where folders are numbered as classes.
  std::vector<std::string> without;

  /// Scenes with one file a band: "NAME=pattern" for each band, which becomes a channel of that
  /// name (see group_scenes). Bands of other grids are brought onto that of `reference_band`, the
  /// first if left empty.
  std::vector<std::string> bands;
  std::string reference_band;

  /// Take all files as one image; where they overlap, later ones (by path) lie on top, but for
  /// their missing pixels.
  bool mosaic = false;

  /// Bring images onto another grid while they are read. `crs` is a reference system as GDAL knows
  /// it; `resolution` the width and height of pixels in it (that of the first file if left out).
  /// Images take the pixels of one lattice that they lie in, so that neighbours fit together; with
  /// `bounds` [left, bottom, right, top], or with `align_to`, a file whose grid is taken, all have
  /// one place. A coarser grid is made of the files' overviews where they have them.
  std::string crs;
  std::optional<std::array<double, 2>> resolution;
  std::optional<std::array<double, 4>> bounds;
  std::string align_to;
  /// Or read each file at a fraction of its size: one pixel for this many along each side.
  std::int64_t decimate = 1;
  /// One of resampling_methods(), wherever pixels are made of others.
  std::string resampling = "bilinear";

  /// Channels to read, in this order (see select_channels). A channel's name is the band's
  /// description, else its wavelength ("550.2nm"), else "B01", "B02", ... Empty: all channels but
  /// alpha bands, which say where pixels are missing. Every file must offer the channels selected
  /// in the first one, by name.
  std::vector<std::string> channels;

  /// Read only this rectangle of every image; it must lie inside all of them.
  std::optional<Window> window;

  /// Cut each image (or the window) into tiles of this size from the top left, each an image of its
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

  /// Where class labels come from: "" for none but those of the tables of files, "folder" for the
  /// index of the file's folder among all folder names, sorted (see folder_classes), the path of a
  /// table (".csv", see labels_from_table), or a raster of classes, in which '*' stands for the
  /// name of the image's file without its ending. An image or window then has the class of most of
  /// its pixels, -1 if it has none.
  std::string label_from;

  /// Most bytes of decoded blocks of TIFF files that are kept for the next windows. Should hold the
  /// blocks that windows read about the same time have in common; what the files hold at most.
  std::int64_t chunk_cache_bytes = 512'000'000;
};

/// Open rasters for reading. All headers are read, in parallel, so that mistakes show now and
/// extents are exact; pixels are read and decoded only when asked for, and only of the selected
/// bands and the window. Provenance::window and ::geo refer to the pixels of the file, or of the
/// grid it is brought onto; ::file is the first of several. Throws ConfigError for an unknown
/// channel and options that select nothing, DataError for a file that cannot be opened or lacks a
/// channel or a label, or does not contain the window.
std::unique_ptr<ImageSource> open_raster(const RasterOptions& options);

/// Describe a raster for people; nullopt if no GDAL driver knows its format.
/// Throws DataError if the file is missing or damaged.
std::optional<FileReport> inspect_raster(const std::string& path,
                                         const Extent& window = {128, 128});

}  // namespace trib::io
