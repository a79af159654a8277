// The face every reader shows: a numbered list of images with the same channels.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// Height and width in pixels.
struct Extent {
  std::int64_t height = 0, width = 0;
  bool operator==(const Extent&) const = default;
};

/// Where a read leaves the pixels, and what becomes of them on the way.
struct PixelTarget {
  float* data_cyx;  ///< [kept channels, height, width] of the window, contiguous
  std::span<const Affine> affine = {};  ///< of each kept channel; empty: physical values
};

/// A set of files opened for reading. Opening reads headers only and selects channels; reads touch
/// the selected channels and the window asked for, and nothing else.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  /// Selected channels in the order of the images' first axis. Each has a name of its own.
  virtual const std::vector<Channel>& channels() const = 0;
  /// Keep only these of the channels: positions in channels(), ascending, perhaps none. To be
  /// called before the first read; read() then touches no other. What is known of the images (their
  /// number, extents, times, files) stays that of all channels. Throws RuntimeError for positions
  /// that do not ascend or are not there.
  virtual void keep_channels(std::span<const std::int64_t> channels) = 0;
  /// Number of images.
  virtual std::int64_t size() const = 0;
  virtual Extent extent(std::int64_t index) const = 0;
  /// What is known of an image before it is read (file, window, time, label). Touches no file and
  /// takes no lock that reads hold, unless the source says otherwise.
  virtual Provenance provenance(std::int64_t index) const = 0;
  /// Class of an image or of a window of it, found without reading channels: the image's own,
  /// unless the source has labels pixel by pixel. Throws DataError if those cannot be read.
  virtual std::int32_t label(std::int64_t index, const std::optional<Window>& /*window*/) const {
    return provenance(index).label;
  }
  /// Grid shared by all images, null if they are not on a latitude-longitude grid.
  virtual std::shared_ptr<const LatLonGrid> grid() const { return nullptr; }

  /// Images of one group lie in the same stored chunks: read one after another, those are decoded
  /// once. Each image is a group of its own unless the reader knows better.
  virtual std::int64_t group(std::int64_t index) const { return index; }

  /// Read one image, or a window of it, to where the caller wants it. May be called from several
  /// threads. If no channel is kept, no pixels are read. Throws DataError naming the file and the
  /// channel; the target may have been written to in part then.
  virtual Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                               const PixelTarget& target) const = 0;
  /// The same into memory of its own. Without any channel the image is [0, height, width].
  Image read(std::int64_t index, const std::optional<Window>& window = {}) const;

  /// Bytes read() has decoded so far: of the values of the kept channels in the windows asked for,
  /// uncompressed, in the type they are stored in. What a library must decompress around them is
  /// not counted, since its caches decide how often that happens: HDF5 and NetCDF inflate whole
  /// chunks, GDAL whole blocks. Where those hold several channels (chunks that span the channel
  /// axis, pixel-interleaved rasters), sources that share the channels each decompress all of them
  /// and keep their own.
  virtual std::int64_t bytes_decoded() const = 0;
  /// Most bytes that the caches of open files hold, as the memory ledger counts them.
  virtual std::int64_t cache_bytes() const { return 0; }
  /// Let them hold no more than this. To be called before the first read.
  virtual void limit_cache(std::int64_t /*bytes*/) {}

 protected:
  /// The window, or all of the image if there is none. Throws DataError naming the file if it does
  /// not lie within.
  Window checked_window(std::int64_t index, const std::optional<Window>& window) const;
};

/// Replace shell wildcards (*, ?, [..], {a,b}) in `patterns` by the files they match, sorted.
/// Works inside GDAL's /vsizip/ too. Names without wildcards that are among `untouched` are taken
/// as they are: to look at such a file may take for ever. Throws DataError naming a pattern that
/// matches nothing.
std::vector<std::string> expand_files(const std::vector<std::string>& patterns,
                                      const std::vector<std::string>& untouched = {});

/// A file's contents for people: what `trib inspect` prints.
struct FileReport {
  std::string format;  ///< "GeoTIFF", "NetCDF-4", "HDF5", ...
  struct Variable {
    std::string name, dtype, shape, chunks, filters, note;
  };
  std::vector<Variable> variables;
  std::vector<std::pair<std::string, std::string>> facts;  ///< size, georeference, times, levels
  std::vector<Channel> channels;                           ///< what the reader would offer
};

/// Look into a file with the reader that fits its contents. Throws DataError.
FileReport inspect_file(const std::string& path);

}  // namespace trib::io
