// How `trib inspect` prints a file's contents.
#pragma once

#include <string>

#include "io/image_source.h"

namespace trib::pipeline {

std::string inspect_text(const io::FileReport& report);

/// Read "128x256" (height, width) or "128". Throws ConfigError.
io::Extent parse_window(const std::string& text);

}  // namespace trib::pipeline
