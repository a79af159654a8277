// Windows and points that are given one by one, in a graph or in a table.
#pragma once

#include <string>
#include <vector>

#include "io/image_source.h"
#include "pipeline/stages/window_sampling.h"

namespace trib::pipeline {

/// Windows of the images of `source`, in pixels of their files. `given` is either one table
/// ("NAME.csv") with columns path, y, x, height, width and perhaps label, or texts
/// "y,x,height,width" (of every file) and "path,y,x,height,width". A path may leave out leading
/// folders. Throws ConfigError for a text that is none of these, DataError naming the line for a
/// path that is no image's and a window that does not lie in its image.
std::vector<ListedWindow> list_windows(const std::vector<std::string>& given,
                                       const io::ImageSource& source);

/// Windows of `size` around points; at the border of an image they are moved to lie within it.
/// `given` is texts "x,y" and "path,x,y" in pixels, or one table with perhaps a label and columns
/// - path, x, y: column and row, from 0, in pixels of the file;
/// - path, x, y, crs: coordinates in the reference system named in the row;
/// - path, lon, lat: degrees on WGS 84.
/// Where coordinates are given, path may be left out: a point is then one of every image it lies
/// in. Throws as list_windows(), and if there is no image that any of the points lies in.
std::vector<ListedWindow> list_points(const std::vector<std::string>& given, io::Extent size,
                                      const io::ImageSource& source);

}  // namespace trib::pipeline
