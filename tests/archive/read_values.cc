// Print what our readers make of files: channels, shape, times and sampled values.
//
//   read_values raster|cube|grid FILE...
//
// Lines, with fields separated by tabs:
//   images N                       channel I NAME UNITS WAVELENGTH_NM
//   latitudes V...  longitudes V...  (grids only, as the rows and columns of images)
//   image I FILE HEIGHT WIDTH TIME
//   value IMAGE CHANNEL Y X VALUE   (nan where missing)
// Images, channels and pixels are spread evenly; first and last are among them. A window that
// differs from the same part of the whole image ends the program with status 4, any error of a
// reader with 3 and its text on stderr.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "io/cube/cube_source.h"
#include "io/grid/grid_source.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"

namespace {

using namespace trib;

constexpr std::int64_t kImages = 5, kChannels = 12, kRows = 9, kColumns = 9;

// At most `wanted` positions of 0..count-1, first and last among them.
std::vector<std::int64_t> spread(std::int64_t count, std::int64_t wanted) {
  std::set<std::int64_t> positions;
  for (std::int64_t i = 0; i < wanted; ++i) {
    positions.insert(wanted == 1 ? 0 : (count - 1) * i / (wanted - 1));
  }
  return {positions.begin(), positions.end()};
}

std::unique_ptr<io::ImageSource> open(const std::string& reader,
                                      const std::vector<std::string>& files) {
  if (reader == "cube") {
    io::CubeOptions options;
    options.files = files;
    return io::open_cube(options);
  }
  if (reader == "grid") {
    io::GridOptions options;
    options.files = files;
    options.allow_empty_fields = true;
    return io::open_grid(options);
  }
  if (reader != "raster") throw ConfigError(fmt::format("unknown reader '{}'", reader));
  io::RasterOptions options;
  options.files = files;
  return io::open_raster(options);
}

void print_axis(const char* name, const std::vector<double>& values) {
  std::string line = name;
  for (const double v : values) line += fmt::format("\t{:.17g}", v);
  std::cout << line << "\n";
}

// Whether the middle of an image, read alone, is that of the whole.
bool window_agrees(const io::ImageSource& source, std::int64_t index, const io::Image& whole) {
  const std::int64_t height = whole.data_cyx.dim(1), width = whole.data_cyx.dim(2);
  const io::Window w{height / 3, width / 3, std::max<std::int64_t>(1, height / 3),
                     std::max<std::int64_t>(1, width / 3)};
  const io::Image part = source.read(index, w);
  const auto row_bytes = static_cast<std::size_t>(w.width) * sizeof(float);
  for (std::int64_t c = 0; c < whole.data_cyx.dim(0); ++c) {
    for (std::int64_t y = 0; y < w.height; ++y) {
      const float* of_whole = whole.data_cyx.data<float>() + (c * height + w.y + y) * width + w.x;
      const float* of_part = part.data_cyx.data<float>() + (c * w.height + y) * w.width;
      if (std::memcmp(of_whole, of_part, row_bytes) != 0) return false;
    }
  }
  return true;
}

int print_values(const io::ImageSource& source) {
  const std::vector<io::Channel>& channels = source.channels();
  std::cout << "images\t" << source.size() << "\n";
  for (std::size_t c = 0; c < channels.size(); ++c) {
    std::cout << fmt::format("channel\t{}\t{}\t{}\t{:.9g}\n", c, channels[c].name,
                             channels[c].units, channels[c].wavelength_nm);
  }
  if (const auto grid = source.grid()) {
    print_axis("latitudes", grid->latitudes);
    print_axis("longitudes", grid->longitudes);
  }
  for (const std::int64_t index : spread(source.size(), kImages)) {
    const io::Image image = source.read(index);
    const std::int64_t height = image.data_cyx.dim(1), width = image.data_cyx.dim(2);
    std::cout << fmt::format("image\t{}\t{}\t{}\t{}\t{:.17g}\n", index, image.provenance.file,
                             height, width, image.provenance.time);
    for (const std::int64_t c : spread(std::ssize(channels), kChannels)) {
      for (const std::int64_t y : spread(height, kRows)) {
        for (const std::int64_t x : spread(width, kColumns)) {
          const float value = image.data_cyx.data<float>()[(c * height + y) * width + x];
          std::cout << fmt::format("value\t{}\t{}\t{}\t{}\t{:.9g}\n", index, c, y, x, value);
        }
      }
    }
    if (!window_agrees(source, index, image)) {
      std::cerr << image.provenance.file << ": a window differs from the whole image\n";
      return 4;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: read_values raster|cube|grid FILE...\n";
    return 2;
  }
  try {
    return print_values(*open(argv[1], {argv + 2, argv + argc}));
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 3;
  }
}
