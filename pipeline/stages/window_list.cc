#include "pipeline/stages/window_list.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "io/csv_table.h"
#include "io/raster/geo_locator.h"
#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

/// The images of a source by the ends of their files' paths.
class ImagesByPath {
 public:
  explicit ImagesByPath(const io::ImageSource& source) : source_(source) {
    for (std::int64_t i = 0; i < source.size(); ++i)
      by_file_[source.provenance(i).file].push_back(i);
    for (const auto& [file, images] : by_file_) {
      for (std::size_t start = 0;;) {
        by_end_[file.substr(start)].push_back(&file);
        const std::size_t slash = file.find('/', start);
        if (slash == std::string::npos) break;
        start = slash + 1;
      }
    }
  }

  /// Images of the files whose path ends in `path`. `place` begins the message if there is none.
  std::vector<std::int64_t> find(const std::string& path, const std::string& place) const {
    const auto files = by_end_.find(path);
    if (files == by_end_.end()) {
      throw DataError(fmt::format("{}: no image is read from a file '{}'", place, path));
    }
    std::vector<std::int64_t> images;
    for (const std::string* file : files->second) {
      const auto& own = by_file_.at(*file);
      images.insert(images.end(), own.begin(), own.end());
    }
    std::sort(images.begin(), images.end());
    return images;
  }

  std::vector<std::int64_t> all() const {
    std::vector<std::int64_t> images(static_cast<std::size_t>(source_.size()));
    std::iota(images.begin(), images.end(), std::int64_t{0});
    return images;
  }

  const io::ImageSource& source() const { return source_; }

 private:
  const io::ImageSource& source_;
  std::unordered_map<std::string, std::vector<std::int64_t>> by_file_;
  std::unordered_map<std::string, std::vector<const std::string*>> by_end_;
};

bool is_table(const std::vector<std::string>& given) {
  return given.size() == 1 && given.front().ends_with(".csv");
}

bool contains(const io::Window& outer, const io::Window& w) {
  return w.height > 0 && w.width > 0 && w.y >= outer.y && w.x >= outer.x &&
         w.y + w.height <= outer.y + outer.height && w.x + w.width <= outer.x + outer.width;
}

/// A number of pixels that can be added to others. No image is that large.
template <class Number>
std::int64_t pixels(Number number) {
  return static_cast<std::int64_t>(
      std::clamp(number, static_cast<Number>(-1e15), static_cast<Number>(1e15)));
}

/// Add a window of a file to those of its images that hold all of it.
void add_window(const ImagesByPath& images, const std::vector<std::int64_t>& of,
                const io::Window& window, std::int32_t label, const std::string& place,
                std::vector<ListedWindow>& list) {
  const std::size_t before = list.size();
  for (const std::int64_t image : of) {
    const io::Window area = images.source().provenance(image).window;
    if (!contains(area, window)) continue;
    list.push_back(
        {image, {window.y - area.y, window.x - area.x, window.height, window.width}, label});
  }
  if (list.size() == before) {
    const io::Provenance first = images.source().provenance(of.front());
    throw DataError(fmt::format(
        "{}: the window [y {}..{}, x {}..{}) does not lie in {} with rows {}..{}, columns {}..{}",
        place, window.y, window.y + window.height, window.x, window.x + window.width, first.file,
        first.window.y, first.window.y + first.window.height - 1, first.window.x,
        first.window.x + first.window.width - 1));
  }
}

/// Add a window around a place in pixels of a file, counted from its corner. Whether there is an
/// image that holds the place.
bool add_point(const ImagesByPath& images, std::int64_t image, double x, double y, io::Extent size,
               std::int32_t label, const std::string& place, std::vector<ListedWindow>& list) {
  const io::Provenance from = images.source().provenance(image);
  const io::Window& area = from.window;
  const double column = std::floor(x) - static_cast<double>(area.x);
  const double row = std::floor(y) - static_cast<double>(area.y);
  if (!(column >= 0 && row >= 0 && column < static_cast<double>(area.width) &&
        row < static_cast<double>(area.height))) {
    return false;
  }
  if (size.height > area.height || size.width > area.width) {
    throw DataError(fmt::format("{}: a window of {}x{} does not fit into {} of {}x{}", place,
                                size.height, size.width, from.file, area.height, area.width));
  }
  const auto first = [](double at, std::int64_t length, std::int64_t of) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(at) - length / 2, 0, of - length);
  };
  list.push_back({image,
                  {first(row, size.height, area.height), first(column, size.width, area.width),
                   size.height, size.width},
                  label});
  return true;
}

/// The numbers after an optional path in "path,1,2".
struct PathAndNumbers {
  std::optional<std::string> path;
  std::vector<double> numbers;
};

PathAndNumbers parse(const std::string& text, std::size_t numbers, const char* expected) {
  std::vector<std::string> fields = io::split_csv_line(text);
  PathAndNumbers parsed;
  if (fields.size() == numbers + 1) {
    parsed.path = fields.front();
    fields.erase(fields.begin());
  }
  for (const std::string& field : fields) {
    const std::size_t start = field.find_first_not_of(' ');
    double value = 0;
    const char* const begin = field.data() + (start == std::string::npos ? 0 : start);
    const auto [end, error] = std::from_chars(begin, field.data() + field.size(), value);
    if (fields.size() != numbers || error != std::errc{} || !std::isfinite(value) ||
        end != field.data() + field.size()) {
      throw ConfigError(fmt::format("expected {}, found '{}'", expected, text));
    }
    parsed.numbers.push_back(value);
  }
  return parsed;
}

/// Adds the points of a table that are given by coordinates.
class PlacedPoints {
 public:
  PlacedPoints(const ImagesByPath& images, io::Extent size) : images_(images), size_(size) {
    // Once and not for each point.
    for (std::int64_t i = 0; i < images.source().size(); ++i) {
      geo_.push_back(images.source().provenance(i).geo);
    }
  }

  /// Whether there is an image among `of` that holds the point.
  bool add(const std::vector<std::int64_t>& of, bool is_named, const std::string& crs, double x,
           double y, std::int32_t label, const std::string& place,
           std::vector<ListedWindow>& list) {
    bool found = false;
    for (const std::int64_t image : of) {
      const auto& geo = geo_[static_cast<std::size_t>(image)];
      if (geo == nullptr) {
        if (!is_named) continue;
        throw DataError(fmt::format("{}: {} has no georeference to find coordinates in", place,
                                    images_.source().provenance(image).file));
      }
      const auto pixel = locator_.pixel_of(*geo, crs, x, y);
      if (!pixel) continue;
      found |= add_point(images_, image, (*pixel)[0], (*pixel)[1], size_, label, place, list);
    }
    return found;
  }

 private:
  const ImagesByPath& images_;
  io::Extent size_;
  io::GeoLocator locator_;
  std::vector<std::shared_ptr<const io::GeoReference>> geo_;
};

std::vector<ListedWindow> points_of_table(const std::string& path, io::Extent size,
                                          const ImagesByPath& images) {
  const io::CsvTable table(path);
  const bool degrees = table.has("lon") || table.has("lat");
  const std::string x_name = degrees ? "lon" : "x", y_name = degrees ? "lat" : "y";
  table.require(x_name);
  table.require(y_name);
  const bool in_pixels = !degrees && !table.has("crs");
  if (in_pixels) table.require("path");
  const bool is_named = table.has("path"), is_labelled = table.has("label");
  const std::vector<std::int64_t> all = images.all();
  std::optional<PlacedPoints> placed;
  if (!in_pixels) placed.emplace(images, size);
  std::vector<ListedWindow> list;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string place = table.place(row);
    const double x = table.number(row, x_name), y = table.number(row, y_name);
    const std::int32_t label = is_labelled ? table.label(row, "label") : -1;
    const std::vector<std::int64_t> of =
        is_named ? images.find(table.text(row, "path"), place) : all;
    bool found = false;
    if (in_pixels) {
      for (const std::int64_t image : of) {
        found |= add_point(images, image, x, y, size, label, place, list);
      }
    } else {
      const std::string crs = degrees ? "EPSG:4326" : table.text(row, "crs");
      found = placed->add(of, is_named, crs, x, y, label, place, list);
    }
    if (!found && is_named) {
      throw DataError(fmt::format("{}: the point {}, {} does not lie in '{}'", place, x, y,
                                  table.text(row, "path")));
    }
  }
  if (list.empty()) {
    throw DataError(fmt::format("{}: none of {} points lies in an image", path, table.rows()));
  }
  return list;
}

}  // namespace

std::vector<ListedWindow> list_windows(const std::vector<std::string>& given,
                                       const io::ImageSource& source) {
  const ImagesByPath images(source);
  std::vector<ListedWindow> list;
  if (is_table(given)) {
    const io::CsvTable table(given.front());
    for (const char* column : {"path", "y", "x", "height", "width"}) table.require(column);
    const bool is_labelled = table.has("label");
    for (std::size_t row = 0; row < table.rows(); ++row) {
      add_window(images, images.find(table.text(row, "path"), table.place(row)),
                 {pixels(table.integer(row, "y")), pixels(table.integer(row, "x")),
                  pixels(table.integer(row, "height")), pixels(table.integer(row, "width"))},
                 is_labelled ? table.label(row, "label") : -1, table.place(row), list);
    }
    return list;
  }
  const std::vector<std::int64_t> all = images.all();
  for (const std::string& text : given) {
    const PathAndNumbers one = parse(text, 4, "'y,x,height,width' or 'path,y,x,height,width'");
    const io::Window window{pixels(one.numbers[0]), pixels(one.numbers[1]), pixels(one.numbers[2]),
                            pixels(one.numbers[3])};
    const std::string place = fmt::format("windows: '{}'", text);
    if (one.path) {
      add_window(images, images.find(*one.path, place), window, -1, place, list);
    } else {
      for (const std::int64_t image : all) {
        add_window(images, {image}, window, -1, place, list);
      }
    }
  }
  return list;
}

std::vector<ListedWindow> list_points(const std::vector<std::string>& given, io::Extent size,
                                      const io::ImageSource& source) {
  const ImagesByPath images(source);
  if (is_table(given)) return points_of_table(given.front(), size, images);
  std::vector<ListedWindow> list;
  const std::vector<std::int64_t> all = images.all();
  for (const std::string& text : given) {
    const PathAndNumbers one = parse(text, 2, "'x,y' or 'path,x,y'");
    const std::string place = fmt::format("points: '{}'", text);
    const std::vector<std::int64_t> of = one.path ? images.find(*one.path, place) : all;
    bool found = false;
    for (const std::int64_t image : of) {
      found |= add_point(images, image, one.numbers[0], one.numbers[1], size, -1, place, list);
    }
    if (!found) throw DataError(fmt::format("{}: the point does not lie in the image", place));
  }
  return list;
}

}  // namespace trib::pipeline
