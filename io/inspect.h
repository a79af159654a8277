// A file's contents for people, with the cost of reading it.
#pragma once

#include <string>

#include "io/image_source.h"

namespace trib::io {

/// Look into a file as inspect_file(path) does, which predicts what windows of 128 x 128 pixels
/// cost; here they are of another size. Throws DataError.
FileReport inspect_file(const std::string& path, const Extent& window);

}  // namespace trib::io
